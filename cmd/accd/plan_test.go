package main

import (
	"testing"

	"accd/netcfg"
	"accd/policy"
)

// Taps have a queue for each processor, unless the configuration says otherwise, and on
// the largest machines as many as a tap can have.
func TestQueues(t *testing.T) {
	defer func(n int) { processors = n }(processors)
	for _, c := range []struct{ processors, configured, want int }{
		{2, 0, 2}, {2, 8, 8}, {netcfg.MaxQueues, 0, netcfg.MaxQueues}, {1024, 0, netcfg.MaxQueues}, {1024, 3, 3},
	} {
		processors = c.processors
		if got := queues(&policy.Steer{Queues: c.configured}); got != c.want {
			t.Errorf("%d queues with %d processors and %d configured, want %d", got, c.processors, c.configured, c.want)
		}
	}
}
