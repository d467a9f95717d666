package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// leastShare is the part of a measurement that a peer's program must have spent
// with it to have had a part in it.
const leastShare = 100

// plan is what a run is to do.
type plan struct {
	peers    []*peer
	measures []*measure
	rounds   int
	quick    bool
	repeat   int // how often a disturbed trial is made again at most
	window
	progress io.Writer
}

// run makes all trials: for each measure the peers in turn, round after round,
// so that what changes on the machine meanwhile meets all of them.
func (p *plan) run(ctx context.Context, r *results) error {
	for _, f := range []frames{superpackets, mtuFrames} {
		if err := p.group(ctx, f, r); err != nil {
			return err
		}
	}
	r.compare()
	return nil
}

// group makes the trials of the measures with one kind of frames. Every peer has
// a network of its own for as long. It is cleaned up when ctx ends.
func (p *plan) group(ctx context.Context, f frames, r *results) (err error) {
	var todo []*measure
	for _, m := range p.measures {
		if m.frames == f {
			todo = append(todo, m)
		}
	}
	if len(todo) == 0 {
		return nil
	}
	var sites []*site
	defer func() {
		for _, s := range sites {
			err = errors.Join(err, s.close())
		}
	}()
	for _, peer := range p.peers {
		s, err := newSite(peer, f)
		if err != nil {
			return err
		}
		sites = append(sites, s)
	}
	for _, m := range todo {
		rounds := p.rounds
		if p.quick && m.steady {
			rounds = 1
		}
		for round := range rounds {
			for _, s := range sites {
				if err := context.Cause(ctx); err != nil {
					return err
				}
				t, err := p.trial(m, s, r.Machine.Cores)
				if err != nil {
					return fmt.Errorf("%s, %s, round %d: %w", m.title(), s.peer.name, round+1, err)
				}
				r.add(m, s.peer.name, t)
			}
		}
	}
	return nil
}

// trial makes one run of a measure on one site, again if it was disturbed.
func (p *plan) trial(m *measure, s *site, cores int) (t *trial, err error) {
	for range 1 + p.repeat {
		if m.fresh {
			if err := s.restart(); err != nil {
				return nil, err
			}
		}
		t = &trial{site: s, window: p.window, values: map[string]float64{}}
		begin := time.Now()
		if err := m.run(t); err != nil {
			return nil, errors.Join(err, s.box.ended())
		}
		if s.box != nil && t.program < t.wall/leastShare {
			return nil, fmt.Errorf("the program used %v of CPU in %v: what was measured passed it by", t.program, t.wall)
		}
		fmt.Fprintf(p.progress, "%-40s %-18s %5.1f s  ", m.title(), s.peer.name, time.Since(begin).Seconds())
		for _, x := range m.metrics {
			if v, ok := t.values[x.key]; ok {
				fmt.Fprintf(p.progress, "  %s %s", number(v), x.unit)
			}
		}
		if !t.disturbed(cores) {
			fmt.Fprintln(p.progress)
			break
		}
		fmt.Fprintf(p.progress, "  disturbed: other programs used %d ms of CPU, %s most, other machines %d ms\n", t.foreign.Milliseconds(), t.busiest, t.stolen.Milliseconds())
	}
	return t, nil
}
