package main

import (
	"math"
	"runtime/debug"
	"testing"
)

// The collector obeys limits.memory, and the environment before it.
func TestTuneCollector(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(math.MaxInt64))
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "1GiB")
	tuneCollector(1 << 30)
	if percent, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(-1); percent != collectAt || limit != math.MaxInt64 {
		t.Errorf("GOGC %d, limit %d", percent, limit)
	}
	t.Setenv("GOGC", "50")
	t.Setenv("GOMEMLIMIT", "")
	tuneCollector(1 << 30)
	if percent, limit := debug.SetGCPercent(-1), debug.SetMemoryLimit(-1); percent != 100 || limit != 2<<30+collectRoom {
		t.Errorf("GOGC %d, limit %d", percent, limit)
	}
}
