package main

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What a process used that ended meanwhile counts with who reaped it, and only
// what was used meanwhile.
func TestForeignTime(t *testing.T) {
	const s = time.Second
	before := clocks{at: time.Unix(100, 0), machine: 50 * s, foreign: map[int]process{
		1: {"shell", 10 * s}, 2: {"old", 7 * s}, 3: {"other", 4 * s},
	}}
	after := clocks{at: time.Unix(102, 0), machine: 54 * s, foreign: map[int]process{
		1: {"shell", 18 * s}, 3: {"other", 4 * s}, 4: {"new", s / 2},
	}}
	got := after.since(before)
	if want := (usage{wall: 2 * s, machine: 4*s - s - s/2, foreign: s + s/2, busiest: "shell"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if !got.disturbed(2) || got.disturbed(32) {
		t.Errorf("1.5 of 4 s of CPU disturb: %t, 1.5 of 64 s: %t; want true, false", got.disturbed(2), got.disturbed(32))
	}
}

// What this process uses is the program's where it is the program, and the machine's, and
// that of no foreign process.
func TestClocks(t *testing.T) {
	const work = 200 * time.Millisecond
	spent := func() time.Duration {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	self := os.Getpid()
	before, err := readClocks(self)
	if err != nil {
		t.Fatal(err)
	}
	for begin := spent(); spent()-begin < work; {
	}
	after, err := readClocks(self)
	if err != nil {
		t.Fatal(err)
	}
	u := after.since(before)
	if u.wall <= 0 || u.program < work || u.machine <= 0 || u.stolen < 0 {
		t.Errorf("%v of work are %+v", work, u)
	}
	if _, ok := after.foreign[1]; !ok {
		t.Error("process 1 is not among the foreign ones")
	}
	if _, ok := after.foreign[self]; ok {
		t.Error("this process is among the foreign ones")
	}
}
