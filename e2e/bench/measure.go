package main

import (
	"slices"
	"strings"
	"time"
)

// metric is one number of a measure.
type metric struct {
	key, label, unit string
	less             bool // less is better
	beyond           bool // what counts is the difference to the baseline
}

// measure is something that is done to a site, and the numbers it gives.
type measure struct {
	key, label string
	frames     frames
	fresh      bool // the program must have seen nothing before
	steady     bool // rounds hardly differ: a quick run makes one
	metrics    []metric
	run        func(*trial) error
}

var measures = []measure{
	{key: "idle", label: "an idle connection", frames: superpackets, fresh: true, steady: true, metrics: idleMetrics, run: idle},
	{key: "bulk1", label: "one stream", frames: superpackets, metrics: bulkMetrics, run: bulk(1)},
	{key: "bulk8", label: "eight streams", frames: superpackets, metrics: slices.Concat(bulkMetrics, gcMetrics), run: bulk(8)},
	{key: "connections", label: "short connections", frames: superpackets, metrics: slices.Concat(connectionMetrics, gcMetrics), run: connections},
	{key: "round-trip", label: "one-byte round trip", frames: superpackets, metrics: latencyMetrics, run: roundTrip},
	{key: "first-byte", label: "first byte of a new connection", frames: superpackets, metrics: latencyMetrics, run: firstByte},
	{key: "beside", label: "one-byte round trip beside eight streams", frames: superpackets, metrics: latencyMetrics, run: beside(8)},
	{key: "bulk1-mtu", label: "one stream", frames: mtuFrames, metrics: bulkMetrics, run: bulk(1)},
	{key: "bulk8-mtu", label: "eight streams", frames: mtuFrames, metrics: bulkMetrics, run: bulk(8)},
}

// window is how long things take.
type window struct {
	warmUp, measured time.Duration
}

// trial is one run of a measure on one site.
type trial struct {
	*site
	window
	values map[string]float64 // by the metrics' keys
	usage
}

// meter measures what the machine does while f runs.
func (t *trial) meter(f func() error) error {
	before, err := readClocks(t.box.pid())
	if err != nil {
		return err
	}
	if err := f(); err != nil {
		return err
	}
	after, err := readClocks(t.box.pid())
	t.usage = after.since(before)
	return err
}

// title is the measure's name for people.
func (m *measure) title() string {
	if strings.HasPrefix(m.key, "bulk") {
		return m.label + ", " + string(m.frames)
	}
	return m.label
}
