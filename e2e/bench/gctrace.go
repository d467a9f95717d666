package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// collections is what a Go program's garbage collections cost.
type collections struct {
	count   int
	cpu     time.Duration // without what idle processors did
	longest time.Duration // the longest time that the world stood still
}

// gcLine is a line of GODEBUG=gctrace=1 (package runtime): wall clock times in
// ms of the pause at the begin, the concurrent part and the pause at the end,
// then the CPU times, those of the concurrent part split in assist, background
// and idle.
var gcLine = regexp.MustCompile(`(?m)^gc \d+ @.*: ([\d.]+)\+([\d.]+)\+([\d.]+) ms clock, ([\d.]+)\+([\d.]+)/([\d.]+)/([\d.]+)\+([\d.]+) ms cpu,`)

// gcPause is the key of a metric of which the worst round counts.
const gcPause = "gc-pause"

// gcMetrics are those of a program in Go that tells.
var gcMetrics = []metric{
	{key: "gc", label: "GC, share of the program's CPU", unit: "%", less: true},
	{key: gcPause, label: "GC, longest pause", unit: "µs", less: true},
}

// collected adds the collections since the program had written so many bytes, if
// it tells of them, to the values of the trial.
func (t *trial) collected(begin int64) error {
	if !t.peer.gcTrace {
		return nil
	}
	said, err := os.ReadFile(t.box.log)
	if err != nil {
		return err
	}
	c, err := readGCTrace(string(said[begin:]))
	if err != nil {
		return err
	}
	t.values["gc"] = 100 * c.cpu.Seconds() / t.program.Seconds()
	t.values[gcPause] = float64(c.longest.Microseconds())
	return nil
}

// logged is what the box's program has written so far, in bytes.
func (t *trial) logged() (int64, error) {
	if t.box == nil {
		return 0, nil
	}
	s, err := os.Stat(t.box.log)
	if err != nil {
		return 0, err
	}
	return s.Size(), nil
}

// readGCTrace sums up what a program said of its collections.
func readGCTrace(said string) (c collections, err error) {
	for _, m := range gcLine.FindAllStringSubmatch(said, -1) {
		var ms [8]float64
		for i, s := range m[1:] {
			if ms[i], err = strconv.ParseFloat(s, 64); err != nil {
				return c, fmt.Errorf("gctrace: %w", err)
			}
		}
		c.count++
		c.cpu += millis(ms[3] + ms[4] + ms[5] + ms[7])
		c.longest = max(c.longest, millis(max(ms[0], ms[2])))
	}
	if n := strings.Count("\n"+said, "\ngc "); n != c.count {
		return c, fmt.Errorf("gctrace: %d of %d lines are understood", c.count, n)
	}
	return c, nil
}

func millis(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }
