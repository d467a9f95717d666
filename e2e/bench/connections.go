package main

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// atOnce is the number of clients that connect at the same time, and of threads
// that answer them.
const atOnce = 64

var connectionMetrics = []metric{
	{key: "rate", unit: "1/s"},
	{key: "cpu", label: "CPU of the box's program", unit: "µs", less: true},
	{key: "machine", label: "CPU of the whole machine", unit: "µs", less: true},
	{key: "failed", label: "failed", unit: "‰", less: true},
}

// mostFailed is the share of short connections that may fail, refused or reset.
const mostFailed = 0.05

// connections measures short connections: connect, one byte there and back,
// close.
func connections(t *trial) (err error) {
	l, at, err := t.net.listen()
	if err != nil {
		return err
	}
	defer l.close()
	var done, failed atomic.Int64
	var closing atomic.Bool
	servers, clients := newCrew(), newCrew()
	for range atOnce {
		servers.start(nil, func() error { return answerAll(l) })
	}
	for i := range atOnce {
		clients.start(t.net.client, func() error {
			for !closing.Load() {
				c, err := dial(clientAddr(i), at)
				if err == nil {
					err = c.ask()
					c.close()
				}
				if err == nil {
					done.Add(1)
				} else if n := failed.Add(1); float64(n) > mostFailed*float64(done.Load()+atOnce) {
					return fmt.Errorf("%d connections failed, %d did not, the last: %w", n, done.Load(), err)
				}
			}
			return nil
		})
	}
	time.Sleep(t.warmUp)
	var n, lost, begin int64
	err = t.meter(func() (err error) {
		begin, err = t.logged()
		from, lostBefore := done.Load(), failed.Load()
		time.Sleep(t.measured)
		n, lost = done.Load()-from, failed.Load()-lostBefore
		return err
	})
	closing.Store(true)
	err = errors.Join(err, clients.wait())
	l.shutdown()
	err = errors.Join(err, servers.wait())
	if err != nil {
		return err
	}
	if n == 0 {
		return errors.New("not one connection was done")
	}
	t.values["failed"] = 1000 * float64(lost) / float64(n+lost)
	t.values["rate"] = float64(n) / t.wall.Seconds()
	if t.box != nil {
		t.values["cpu"] = t.program.Seconds() / float64(n) * 1e6
	}
	t.values["machine"] = t.machine.Seconds() / float64(n) * 1e6
	return t.collected(begin)
}

// ask sends a byte and waits for one.
func (s socket) ask() error {
	var b [1]byte
	if err := s.write(b[:]); err != nil {
		return err
	}
	_, err := s.read(b[:])
	return err
}

// answer sends a byte back for every one that comes, until the stream ends.
func (s socket) answer() error {
	var b [1]byte
	for {
		_, err := s.read(b[:])
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = s.write(b[:])
		}
		if err != nil {
			return err
		}
	}
}

// answerAll answers connections one after another until the listener is shut down.
// What fails of one is for its client to tell.
func answerAll(l socket) error {
	for {
		c, err := l.accept()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		_ = c.answer()
		c.close()
	}
}
