package main

import (
	"fmt"
	"strings"
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

// A file may ask for as many queues as a tap can have, and for no more.
func TestMostQueues(t *testing.T) {
	for n, accepted := range map[int]bool{netcfg.MaxQueues: true, netcfg.MaxQueues + 1: false} {
		_, problems := policy.Parse("queues.yaml", fmt.Appendf(nil,
			"version: 1\nsteering: { taps: { queues: %d } }\nrules: [{ name: default, action: pass }]\n", n))
		if text := problems.String(); accepted != (problems.Errors() == 0) || !accepted && !strings.Contains(text, "queues") {
			t.Errorf("%d queues: %q", n, text)
		}
	}
}
