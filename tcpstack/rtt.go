package tcpstack

import (
	"time"

	"accd/tcpstack/mono"
)

// Specification constants (RFC 6298).
const (
	rtoInitial = 1 * time.Second   // 2.1
	rtoMax     = 120 * time.Second // 2.5: at least 60 s; Linux's value
)

// Ours.
const (
	rtoFloor     = 200 * time.Millisecond // Linux's, where RFC 6298 (2.4) says 1 s
	minRTTWindow = 300 * time.Second      // how long a smallest round trip is believed; Linux's tcp_min_rtt_wlen
)

// rttState is the estimate of the round-trip time (RFC 6298) and its minimum.
type rttState struct {
	srtt, rttvar time.Duration // 0: no sample yet
	latest       time.Duration
	min          time.Duration // 0: no sample yet
	minAt        mono.Time     // when min was measured
	floor        time.Duration // smallest variance term of the RTO
	first        time.Duration // RTO without a sample; 0: rtoInitial
	backoff      int           // doublings of the RTO; Karn: kept until the next sample
}

func (r *rttState) init(now mono.Time, floor time.Duration, snap *Snapshot) {
	if floor == 0 {
		floor = rtoFloor
	}
	*r = rttState{srtt: snap.SRTT, rttvar: snap.RTTVar, min: snap.MinRTT, minAt: snap.MinRTTAt, floor: floor}
	if r.minAt == 0 {
		r.minAt = now
	}
}

// sample takes one measurement, from accd's own send time of a packet that was
// sent once (Karn; RFC 6298, 3).
func (r *rttState) sample(d time.Duration) {
	if d > rtoMax {
		return // no path is that long: the clock has leapt
	}
	d = max(d, time.Microsecond)
	r.latest = d
	r.backoff = 0 // RFC 6298, 5: a new measurement takes the backoff back
	if r.srtt == 0 {
		r.srtt, r.rttvar = d, d/2
		return
	}
	r.rttvar += ((r.srtt - d).Abs() - r.rttvar) / 4
	r.srtt += (d - r.srtt) / 8
}

// observe takes a measurement for the minimum: the round trip of the packet
// sent last among those an ACK is about, free of delayed-ACK time.
func (r *rttState) observe(now mono.Time, d time.Duration) {
	if d > rtoMax {
		return
	}
	d = max(d, time.Microsecond)
	if r.min == 0 || d <= r.min || now.Sub(r.minAt) > minRTTWindow {
		r.min, r.minAt = d, now
	}
}

// base gives the RTO without backoff. The variance term has Linux's floor of
// 200 ms rather than the sum one of 1 s (RFC 6298, 2.3 and 2.4): a delayed ACK
// must not look like a loss.
func (r *rttState) base() time.Duration {
	if r.srtt == 0 {
		return max(r.first, rtoInitial)
	}
	return min(r.srtt+max(4*r.rttvar, r.floor), rtoMax)
}

// rto gives the RTO with its exponential backoff (RFC 6298, 5.5).
func (r *rttState) rto() time.Duration {
	d := r.base()
	for range r.backoff {
		d *= 2
		if d >= rtoMax {
			return rtoMax
		}
	}
	return d
}
