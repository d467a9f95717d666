package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// userHZ is the unit of times in /proc (USER_HZ of proc(5)).
const userHZ = 100

// usage is what the machine did during a measurement.
type usage struct {
	wall    time.Duration
	program time.Duration // CPU time of the box's program
	machine time.Duration // CPU time of everything but foreign processes, the kernel's own work included
	foreign time.Duration // CPU time of processes that are no part of the bench
	stolen  time.Duration // CPU time of other machines on the same host
	busiest string        // the foreign process that used most
}

// disturbed is the share of the machine that others may have before a
// measurement counts as disturbed.
const disturbed = 0.04

func (u usage) disturbed(cores int) bool {
	return (u.foreign + u.stolen).Seconds() > disturbed*float64(cores)*u.wall.Seconds()
}

// clocks are what the kernel counts since the machine or a process started.
type clocks struct {
	at                       time.Time
	program, machine, stolen time.Duration
	foreign                  map[int]process // by number
}

// process is a process that is no part of the bench.
type process struct {
	name  string
	spent time.Duration // with what it has reaped, so that nobody's time is lost with its end
}

// readClocks reads them; pid 0: there is no program.
func readClocks(pid int) (c clocks, err error) {
	if pid != 0 {
		if c.program, err = processTime(pid); err != nil {
			return c, err
		}
	}
	if c.machine, c.stolen, err = machineTime(); err != nil {
		return c, err
	}
	if c.foreign, err = foreignProcesses(); err != nil {
		return c, err
	}
	c.at = time.Now()
	return c, nil
}

// since gives what happened after an earlier reading.
func (c clocks) since(before clocks) usage {
	u := usage{wall: c.at.Sub(before.at), program: c.program - before.program, stolen: c.stolen - before.stolen}
	most := time.Duration(0)
	for pid, p := range c.foreign {
		spent := p.spent - before.foreign[pid].spent
		u.foreign += spent
		if spent > most {
			most, u.busiest = spent, p.name
		}
	}
	for pid, p := range before.foreign {
		if _, ok := c.foreign[pid]; !ok {
			u.foreign -= p.spent // whoever reaped it has it now
		}
	}
	u.foreign = max(0, u.foreign) // or nobody has
	u.machine = c.machine - before.machine - u.foreign
	return u
}

// processTime gives the CPU time of a process, to the nanosecond
// (clock_getcpuclockid(3)).
func processTime(pid int) (time.Duration, error) {
	const schedClock = 2
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|schedClock), &t); err != nil {
		return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// machineTime gives the time that the processors were busy, and that they were
// not this machine's.
func machineTime() (busy, stolen time.Duration, err error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	var user, nice, system, idle, iowait, irq, softirq, steal int64
	if _, err := fmt.Sscanf(line, "cpu %d %d %d %d %d %d %d %d", &user, &nice, &system, &idle, &iowait, &irq, &softirq, &steal); err != nil {
		return 0, 0, fmt.Errorf("/proc/stat: %w", err)
	}
	return ticks(user + nice + system + irq + softirq), ticks(steal), nil
}

func ticks(n int64) time.Duration { return time.Duration(n) * time.Second / userHZ }

// foreignProcesses gives all processes but this one, its descendants and the
// kernel's threads.
func foreignProcesses() (map[int]process, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	parent, all := map[int]int{}, map[int]process{}
	for _, d := range dirs {
		b, err := os.ReadFile(d + "/stat")
		if err != nil {
			continue // it has ended
		}
		pid, _ := strconv.Atoi(filepath.Base(d))
		// The command name, field 2, may hold blanks and parentheses.
		begin, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
		field := strings.Fields(string(b[end+1:]))
		if len(field) < 15 {
			return nil, fmt.Errorf("%s/stat has %d fields after the name, want 15", d, len(field))
		}
		parent[pid], _ = strconv.Atoi(field[1])
		spent := int64(0)
		for _, f := range field[11:15] { // utime, stime, cutime, cstime
			n, _ := strconv.ParseInt(f, 10, 64)
			spent += n
		}
		all[pid] = process{string(b[begin+1 : end]), ticks(spent)}
	}
	const kthreadd = 2
	self := os.Getpid()
	for pid := range all {
		p := pid
		for p != 0 && p != self && p != kthreadd {
			p = parent[p]
		}
		if p != 0 {
			delete(all, pid)
		}
	}
	return all, nil
}
