package main

import (
	"testing"
	"time"
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

// The clocks of this process are among nobody's.
func TestClocks(t *testing.T) {
	before, err := readClocks(1)
	if err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); time.Since(begin) < 50*time.Millisecond; {
	}
	after, err := readClocks(1)
	if err != nil {
		t.Fatal(err)
	}
	u := after.since(before)
	if u.wall < 50*time.Millisecond || u.program < 0 || u.stolen < 0 {
		t.Errorf("got %+v", u)
	}
	if _, ok := after.foreign[1]; !ok || len(after.foreign) == 0 {
		t.Error("process 1 is not among the foreign ones")
	}
}
