package main

import (
	"os"
	"runtime/debug"
)

// The table of flows lies outside the collector's heap, and packets allocate nothing;
// what does is the beginning of a custody. So the heap is small, and the collector's
// default, to run whenever it has doubled, has it run for nothing.
const (
	collectAt   = 200       // percent of what is alive that may come on top, as GOGC
	collectRoom = 512 << 20 // bytes beside the payload that is held
)

// tuneCollector keeps the collector rare as long as there is memory, for a daemon that
// may hold so many bytes of payload. GOGC and GOMEMLIMIT of the environment go before.
func tuneCollector(payload int64) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		// Of large buffers no second and third set is waited for. Twice, because a
		// limit that is met all the time would keep the collector running.
		debug.SetMemoryLimit(2*payload + collectRoom)
	}
}
