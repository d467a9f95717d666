package main

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"
)

// Every measure gives all its numbers, and leaves nothing behind that keeps the
// next from working.
func TestMeasures(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes network namespaces; run it with sudo")
	}
	p := &plan{rounds: 1, window: window{time.Millisecond, 30 * time.Millisecond}, progress: t.Output()}
	p.peers, _ = choose(baseline, peers, func(p *peer) string { return p.name })
	p.measures, _ = choose("", measures, func(m *measure) string { return m.key })
	r := new(results)
	if err := p.run(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	for _, m := range p.measures {
		for _, x := range m.metrics {
			c, ok := r.find(m.key + "." + x.key).Cells[baseline]
			ofProgram := x.key == "cpu" || x.key == "user" || x.key == "gc" || x.key == "gc-pause"
			if none := ofProgram || x.beyond; ok == none {
				t.Errorf("%s, %s: a value: %t", m.key, x.key, ok)
			}
			if ok && x.key != "machine" && x.key != "failed" && c.Median <= 0 {
				t.Errorf("%s, %s: %v", m.key, x.key, c.Median)
			}
		}
	}
}

// A run that is interrupted ends with the reason.
func TestInterrupted(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes network namespaces; run it with sudo")
	}
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	p := &plan{rounds: 1, progress: t.Output()}
	p.peers, _ = choose(baseline, peers, func(p *peer) string { return p.name })
	p.measures, _ = choose("bulk1", measures, func(m *measure) string { return m.key })
	if err := p.run(ctx, new(results)); !errors.Is(err, why) {
		t.Errorf("got %v, want %v", err, why)
	}
}

// Names are told when one is wrong.
func TestChoose(t *testing.T) {
	all := []string{"a", "b", "c"}
	self := func(s *string) string { return *s }
	got, err := choose("c,a", all, self)
	if err != nil || len(got) != 2 || *got[0] != "a" || *got[1] != "c" {
		t.Errorf("got %v, %v; want a and c", got, err)
	}
	if _, err := choose("a,d", all, self); err == nil || err.Error() != `"d" is none of a, b, c` {
		t.Errorf("got %v", err)
	}
}
