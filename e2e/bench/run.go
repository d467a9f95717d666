package main

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// plan is what a run is to do.
type plan struct {
	peers    []*peer
	measures []*measure
	rounds   int
	repeat   int // how often a disturbed trial is made again at most
	window
	progress io.Writer
}

// run makes all trials: for each measure the peers in turn, round after round,
// so that what changes on the machine meanwhile meets all of them.
func (p *plan) run(r *results) error {
	for _, f := range []frames{superpackets, mtuFrames} {
		if err := p.group(f, r); err != nil {
			return err
		}
	}
	r.compare()
	return nil
}

// group makes the trials of the measures with one kind of frames. Every peer has
// a network of its own for as long.
func (p *plan) group(f frames, r *results) (err error) {
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
		for round := range p.rounds {
			for _, s := range sites {
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
			return nil, errors.Join(err, s.sound())
		}
		fmt.Fprintf(p.progress, "%-32s %-18s %5.1f s  ", m.title(), s.peer.name, time.Since(begin).Seconds())
		for _, x := range m.metrics {
			if v, ok := t.values[x.key]; ok {
				fmt.Fprintf(p.progress, "  %s %s", number(v), x.unit)
			}
		}
		if !t.disturbed(cores) {
			fmt.Fprintln(p.progress)
			break
		}
		fmt.Fprintf(p.progress, "  disturbed: other programs used %d ms of CPU, other machines %d ms\n", t.foreign.Milliseconds(), t.stolen.Milliseconds())
	}
	return t, nil
}

// sound gives what the program said if it has ended.
func (s *site) sound() error {
	if s.box == nil {
		return nil
	}
	select {
	case <-s.box.done:
		return fmt.Errorf("%s has ended: %w\n%s", s.peer.name, errors.Join(s.box.err), s.said())
	default:
		return nil
	}
}
