package cc

import "time"

// Quantum gives the bytes a sender that paces at rate should put into one
// superpacket: a millisecond's worth, 64 KiB at most, two segments at least
// (draft-ietf-ccwg-bbr, 5.6.3).
func Quantum(rate int64, mss int) int {
	return int(max(min(rate/1000, bbrMaxQuantum), 2*int64(mss)))
}

// initRate is InitPacingRate (5.6.2): the initial window over the round trip if
// one is known, else over a millisecond; or the bandwidth resumed with.
func (b *bbr) initRate() {
	if b.fullReached {
		b.setRateWithGain(1) // 5.4.1
		return
	}
	rtt := b.minRTT
	if rtt == 0 {
		rtt = time.Millisecond
	}
	b.paced = b.minRTT != 0
	b.rate = int64(b.gains[bbrStartup].pacing * max(float64(b.bw), float64(b.cwnd)/rtt.Seconds()))
}

// setRate is SetPacingRate (5.6.2).
func (b *bbr) setRate(a *Ack) {
	if rtt := max(a.SRTT, a.RTT); !b.paced && !b.fullReached && rtt > 0 {
		// The first round trip known replaces the nominal millisecond.
		b.paced = true
		b.rate = int64(b.gains[bbrStartup].pacing * float64(b.cwnd) / rtt.Seconds())
	}
	b.setRateWithGain(b.gains[b.state].pacing * b.makeUp())
}

// setRateWithGain is SetPacingRateWithGain (5.6.2): until the pipe was full
// once the rate only rises. While no sample has shown a bandwidth it stays: when
// everything was sent again there is none, and yet losses end startup.
func (b *bbr) setRateWithGain(gain float64) {
	if b.bw == 0 {
		return
	}
	rate := int64(gain * float64(b.bw) * (1 - b.margin))
	if b.fullReached || rate > b.rate {
		b.rate = max(rate, 1)
	}
}

// setCwnd is SetCwnd (5.6.4.6).
func (b *bbr) setCwnd(a *Ack) {
	limit := b.quantize(b.bdp(b.bw, b.gains[b.state].cwnd) + int(b.extraAcked.max()))
	switch {
	case b.fullReached:
		b.cwnd = min(b.cwnd+a.Acked, limit)
	case b.cwnd < limit || a.Delivered < int64(b.initial):
		b.cwnd += a.Acked
	}
	b.boundCwnd()
}

// boundCwnd is BoundCwndForProbeRTT (5.6.4.5) and BoundCwndForModel (5.6.4.7).
func (b *bbr) boundCwnd() {
	limit := noInflight
	switch b.state {
	case bbrDown, bbrRefill, bbrUp:
		limit = b.inflightLong
	case bbrCruise:
		limit = b.withHeadroom()
	case bbrProbingRTT:
		limit = min(b.withHeadroom(), b.probeRTTCwnd)
	}
	limit = max(min(limit, b.inflightShort), b.minPipe())
	b.cwnd = min(max(b.cwnd, b.minPipe()), limit)
}

// saveCwnd is SaveCwnd (5.6.4.4).
func (b *bbr) saveCwnd() {
	if b.recovering || b.state == bbrProbingRTT {
		b.priorCwnd = max(b.priorCwnd, b.cwnd)
	} else {
		b.priorCwnd = b.cwnd
	}
}

// restoreCwnd is RestoreCwnd (5.6.4.4).
func (b *bbr) restoreCwnd() {
	b.cwnd = max(b.cwnd, b.priorCwnd)
	b.boundCwnd()
}
