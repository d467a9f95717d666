package main

import (
	"os"
	"runtime/debug"
)

// collectAt is how many percent of what is alive may come on top, as GOGC. The table
// of flows and payload lie outside the collector's heap, and packets allocate nothing;
// what does is the beginning of a custody. So the heap is small, and the collector's
// default, to run whenever it has doubled, has it run for nothing.
const collectAt = 200

// tuneCollector keeps the collector rare. GOGC of the environment goes before.
func tuneCollector() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
}
