package main

import (
	"runtime/debug"
	"testing"
)

// The collector obeys the environment before accd.
func TestTuneCollector(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	t.Setenv("GOGC", "")
	tuneCollector()
	if percent := debug.SetGCPercent(100); percent != collectAt {
		t.Errorf("GOGC %d, want %d", percent, collectAt)
	}
	t.Setenv("GOGC", "50")
	tuneCollector()
	if percent := debug.SetGCPercent(100); percent != 100 {
		t.Errorf("GOGC %d although the environment says something", percent)
	}
}
