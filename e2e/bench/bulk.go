package main

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// leastCarried is the share of the bytes that a peer's program must have moved
// itself for a bulk measure to count.
const leastCarried = 0.95

// downloads are streams from the server to the client.
type downloads struct {
	crew     *crew
	ends     []socket
	received atomic.Int64 // bytes, of all
	closing  atomic.Bool
}

// startDownloads starts n streams that go on until they are stopped.
func (s *site) startDownloads(n int) (*downloads, error) {
	l, at, err := s.net.listen()
	if err != nil {
		return nil, err
	}
	defer l.close()
	d := &downloads{crew: newCrew()}
	for i := range n {
		client, server, err := s.net.pair(l, clientAddr(i), at)
		if err != nil {
			return nil, errors.Join(err, d.stop())
		}
		d.ends = append(d.ends, client, server)
		d.crew.start(nil, func() error { return d.send(server) })
		d.crew.start(nil, func() error { return d.receive(client) })
	}
	return d, nil
}

func (d *downloads) send(s socket) error {
	chunk := make([]byte, 256<<10)
	for {
		if err := s.write(chunk); err != nil {
			return d.unless(err)
		}
	}
}

func (d *downloads) receive(s socket) error {
	room := make([]byte, 256<<10)
	for {
		n, err := s.read(room)
		if err != nil {
			return d.unless(err)
		}
		d.received.Add(int64(n))
	}
}

// unless gives the error of a stream that ended by itself.
func (d *downloads) unless(err error) error {
	if d.closing.Load() {
		return nil
	}
	return fmt.Errorf("a stream ended: %w", err)
}

// stop ends the streams.
func (d *downloads) stop() error {
	d.closing.Store(true)
	for _, s := range d.ends {
		s.shutdown()
	}
	err := d.crew.wait()
	for _, s := range d.ends {
		s.reset()
	}
	return err
}

var bulkMetrics = []metric{
	{key: "rate", unit: "Gbit/s"},
	{key: "cpu", label: "CPU of the box's program", unit: "s/GB", less: true},
	{key: "machine", label: "CPU of the whole machine", unit: "s/GB", less: true},
}

// bulk measures n downloads: their rate, and the CPU time they take.
func bulk(n int) func(*trial) error {
	return func(t *trial) (err error) {
		d, err := t.startDownloads(n)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, d.stop()) }()
		time.Sleep(t.warmUp)
		begin, err := t.logged()
		if err != nil {
			return err
		}
		// To ask the program takes time that is none of the streams'.
		before, err := t.carried()
		if err != nil {
			return err
		}
		var moved int64
		err = t.meter(func() error {
			from := d.received.Load()
			time.Sleep(t.measured)
			moved = d.received.Load() - from
			return nil
		})
		if err != nil {
			return err
		}
		after, err := t.carried()
		if err != nil {
			return err
		}
		if carried := after - before; t.peer.carried != nil && float64(carried) < leastCarried*float64(moved) {
			return fmt.Errorf("%s moved %d of %d bytes, the rest passed it by: this measures something else", t.peer.name, carried, moved)
		}
		if moved == 0 {
			return errors.New("not one byte arrived")
		}
		gb := float64(moved) / 1e9
		t.values["rate"] = gb * 8 / t.wall.Seconds()
		if t.box != nil {
			t.values["cpu"] = t.program.Seconds() / gb
		}
		t.values["machine"] = t.machine.Seconds() / gb
		return t.collected(begin)
	}
}

// carried gives what the peer's program has moved towards the client, in bytes.
func (s *site) carried() (int64, error) {
	if s.peer.carried == nil {
		return 0, nil
	}
	return s.peer.carried(s.net)
}
