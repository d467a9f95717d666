package main

import (
	"time"
)

// metric is one number of a measure.
type metric struct {
	key, label, unit string
	less             bool // less is better
}

// measure is something that is done to a site, and the numbers it gives.
type measure struct {
	key, label string
	frames     frames
	fresh      bool // the program must have seen nothing before
	metrics    []metric
	run        func(*trial) error
}

var bulkMetrics = []metric{
	{"rate", "", "Gbit/s", false},
	{"cpu", "CPU of the box's program", "s/GB", true},
	{"machine", "CPU of the whole machine", "s/GB", true},
}

var measures = []measure{
	{"bulk1", "one stream", superpackets, false, bulkMetrics, bulk(1)},
	{"bulk8", "eight streams", superpackets, false, append(bulkMetrics[:len(bulkMetrics):len(bulkMetrics)], gcMetrics...), bulk(8)},
	{"bulk1-mtu", "one stream", mtuFrames, false, bulkMetrics, bulk(1)},
	{"bulk8-mtu", "eight streams", mtuFrames, false, bulkMetrics, bulk(8)},
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
	m, err := startMeter(t.box.pid())
	if err != nil {
		return err
	}
	if err := f(); err != nil {
		return err
	}
	t.usage, err = m.stop()
	return err
}

// title is the measure's name for people.
func (m *measure) title() string { return m.label + ", " + string(m.frames) }
