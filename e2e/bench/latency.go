package main

import (
	"errors"
	"time"
)

var latencyMetrics = []metric{
	{key: "p50", label: "p50", unit: "µs", less: true},
	{key: "p99", label: "p99", unit: "µs", less: true},
}

// roundTrip measures how long a byte takes there and back on an established
// connection.
func roundTrip(t *trial) error {
	l, at, err := t.net.listen()
	if err != nil {
		return err
	}
	defer l.close()
	client, server, err := t.net.pair(l, clientAddr(0), at)
	if err != nil {
		return err
	}
	both := newCrew()
	both.start(nil, server.answer)
	both.start(nil, func() error {
		defer client.shutdown()
		return t.repeat(client.ask)
	})
	err = both.wait()
	client.reset()
	server.reset()
	return err
}

// firstByte measures how long a new connection takes until the answer to its
// first byte is there.
func firstByte(t *trial) error {
	l, at, err := t.net.listen()
	if err != nil {
		return err
	}
	defer l.close()
	both := newCrew()
	// While one still sees the last connection off, another takes the next.
	for range 4 {
		both.start(nil, func() error { return answerAll(l) })
	}
	both.start(t.net.client, func() error {
		defer l.shutdown()
		i := 0
		return t.repeat(func() error {
			i++
			c, err := dial(clientAddr(i), at)
			if err != nil {
				return err
			}
			defer c.close()
			return c.ask()
		})
	})
	return both.wait()
}

// beside measures a round trip beside n downloads.
func beside(n int) func(*trial) error {
	return func(t *trial) (err error) {
		d, err := t.startDownloads(n)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, d.stop()) }()
		return roundTrip(t)
	}
}

// repeat does something again and again, and keeps how long it took each time.
func (t *trial) repeat(f func() error) error {
	var times []time.Duration
	until := func(end time.Time) error {
		for begin := time.Now(); begin.Before(end); {
			if err := f(); err != nil {
				return err
			}
			now := time.Now()
			times, begin = append(times, now.Sub(begin)), now
		}
		return nil
	}
	if err := until(time.Now().Add(t.warmUp)); err != nil {
		return err
	}
	times = times[:0]
	if err := t.meter(func() error { return until(time.Now().Add(t.measured)) }); err != nil {
		return err
	}
	t.values["p50"], t.values["p99"] = percentile(times, 50), percentile(times, 99)
	return nil
}
