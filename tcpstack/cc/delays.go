package cc

import (
	"time"

	"accd/tcpstack/mono"
)

// delays are the delay filters of LEDBAT (RFC 6817, 2.4.2 and 3.4.2), of round
// trips, as LEDBAT++ has it: the base delay is the smallest of the last ten
// minutes, by minute, and the current delay the smallest of the last four
// samples.
type delays struct {
	history [delayHistory]time.Duration // smallest of each epoch, latest first; 0: none
	epoch   mono.Time                   // when the latest one began; 0: not yet
	current [delaySamples]time.Duration // 0: none
	next    int                         // of current, to be overwritten
	round   int64                       // the latest, by number
	peak    [2]time.Duration            // longest of it and of the one before; 0: none
}

// RFC 6817, 2.5: BASE_HISTORY and CURRENT_FILTER.
const (
	delayHistory = 10
	delayEpoch   = time.Minute
	delaySamples = 4
)

// delayNoise is a queueing delay that means nothing: timers and aggregation.
const delayNoise = 2 * time.Millisecond

// remember takes a round trip measured by an earlier controller.
func (d *delays) remember(rtt time.Duration) { d.history[0] = rtt }

// observe takes a sample of the round trip with a number; 0 is none.
func (d *delays) observe(now mono.Time, rtt time.Duration, round int64) {
	if rtt <= 0 {
		return
	}
	if round != d.round {
		d.round = round
		d.peak[1], d.peak[0] = d.peak[0], 0
	}
	d.peak[0] = max(d.peak[0], rtt)
	switch {
	case d.epoch == 0:
		d.epoch = now
	case now.Sub(d.epoch) >= delayEpoch:
		d.epoch = now
		copy(d.history[1:], d.history[:])
		d.history[0] = 0
	}
	if h := &d.history[0]; *h == 0 || rtt < *h {
		*h = rtt
	}
	d.current[d.next] = rtt
	d.next = (d.next + 1) % delaySamples
}

// base gives the smallest round trip of the history; 0: none.
func (d *delays) base() time.Duration { return smallest(d.history[:]) }

// queue gives the current queueing delay; 0 also if nothing is known.
func (d *delays) queue() time.Duration { return max(0, smallest(d.current[:])-d.base()) }

// longest gives the longest queueing delay of this round trip and the one before.
// Where the queue has just overflowed that is all of it, whoever measures.
func (d *delays) longest() time.Duration { return max(0, max(d.peak[0], d.peak[1])-d.base()) }

// smallest gives the smallest of what is set.
func smallest(ds []time.Duration) (least time.Duration) {
	for _, v := range ds {
		if v != 0 && (least == 0 || v < least) {
			least = v
		}
	}
	return least
}
