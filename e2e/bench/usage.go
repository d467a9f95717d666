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
}

// disturbed is the share of the machine that others may have before a
// measurement counts as disturbed.
const disturbed = 0.04

func (u usage) disturbed(cores int) bool {
	return (u.foreign + u.stolen).Seconds() > disturbed*float64(cores)*u.wall.Seconds()
}

// meter reads the clocks before and after.
type meter struct {
	pid int
	at  time.Time
	usage
}

func startMeter(pid int) (*meter, error) {
	m := &meter{pid: pid}
	var err error
	if m.usage, err = readClocks(pid); err != nil {
		return nil, err
	}
	m.at = time.Now()
	return m, nil
}

func (m *meter) stop() (usage, error) {
	wall := time.Since(m.at)
	u, err := readClocks(m.pid)
	foreign := max(0, u.foreign-m.foreign) // a process that ended unseen takes its time along
	return usage{wall, u.program - m.program, u.machine - m.machine - foreign, foreign, u.stolen - m.stolen}, err
}

func readClocks(pid int) (u usage, err error) {
	if pid != 0 {
		if u.program, err = processTime(pid); err != nil {
			return u, err
		}
	}
	if u.machine, u.stolen, err = machineTime(); err != nil {
		return u, err
	}
	u.foreign, err = foreignTime()
	return u, err
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

// foreignTime gives the CPU time of all processes but this one, its descendants
// and the kernel's threads. What a process reaped is its own, so that nobody's
// time is lost with its end.
func foreignTime() (time.Duration, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	parent, spent := map[int]int{}, map[int]int64{}
	for _, d := range dirs {
		b, err := os.ReadFile(d + "/stat")
		if err != nil {
			continue // it has ended
		}
		pid, _ := strconv.Atoi(filepath.Base(d))
		// The command name, field 2, may hold blanks and parentheses.
		field := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if len(field) < 15 {
			return 0, fmt.Errorf("%s/stat has %d fields after the name, want 15", d, len(field))
		}
		parent[pid], _ = strconv.Atoi(field[1])
		for _, f := range field[11:15] { // utime, stime, cutime, cstime
			n, _ := strconv.ParseInt(f, 10, 64)
			spent[pid] += n
		}
	}
	const kthreadd = 2
	self, total := os.Getpid(), int64(0)
	for pid, n := range spent {
		p := pid
		for p != 0 && p != self && p != kthreadd {
			p = parent[p]
		}
		if p == 0 {
			total += n
		}
	}
	return ticks(total), nil
}
