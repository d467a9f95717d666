package lab

import (
	"context"
	"errors"
	"fmt"

	"accd/netcfg"
	"accd/netcfg/netlab"
	"accd/terminator/link"
)

// Cable is an emulated link between two namespaces: a tap in each, and an
// Emulator between them.
type Cable struct {
	taps     [2]link.Queue
	emulator *Emulator
	stop     context.CancelFunc
	done     chan error // what Run of the emulator gave
}

// NewCable makes the taps, gives them their addresses and joins them by a
// perfect link. Set makes it worse. The taps always have their offloads on.
func NewCable(a, b netlab.End) (*Cable, error) {
	c := new(Cable)
	for i, e := range []netlab.End{a, b} {
		err := e.NS.Do(func() (err error) {
			c.taps[i], err = newTap(e)
			return err
		})
		if err == nil {
			err = e.NS.Up(e.Dev, e.Addrs...)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lab: cable: %w", err), c.Close())
		}
	}
	if err := c.Set(Path{}, Path{}); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func newTap(e netlab.End) (link.Queue, error) {
	o := netcfg.TapOptions{Name: e.Dev, MTU: e.MTU}
	if o.MTU == 0 {
		o.MTU = 1500
	}
	t, err := netcfg.OpenTap(o)
	if err != nil {
		return nil, err
	}
	q, err := link.NewTap(t.Files[0], t.MTU, t.Offload)
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return q, nil
}

// Set replaces what the cable does to frames, and starts its counters and the
// numbers of its segments anew. Frames under way are lost.
func (c *Cable) Set(aToB, bToA Path) error {
	e, err := NewEmulator(c.taps[0], c.taps[1], aToB, bToA)
	if err != nil {
		return err
	}
	if err := c.halt(); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	c.emulator, c.stop, c.done = e, stop, make(chan error, 1)
	go func() { c.done <- e.Run(ctx) }()
	return nil
}

// Stats gives the counters of both directions since Set, with which it must not
// run at the same time.
func (c *Cable) Stats() (aToB, bToA Stats) { return c.emulator.Stats() }

// halt stops the emulator and gives what went wrong in it.
func (c *Cable) halt() error {
	if c.stop == nil {
		return nil
	}
	c.stop()
	c.stop = nil
	return <-c.done
}

// Close removes the taps.
func (c *Cable) Close() error {
	errs := []error{c.halt()}
	for _, t := range c.taps {
		if t != nil {
			errs = append(errs, t.Close())
		}
	}
	c.taps = [2]link.Queue{}
	return errors.Join(errs...)
}
