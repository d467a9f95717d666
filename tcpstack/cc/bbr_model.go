package cc

import (
	"math"
	"time"

	"accd/tcpstack/mono"
)

// bbrModel is what bbr knows of the path (5.5): how fast it delivers, how long
// it is, and how its ACKs come in lumps.
type bbrModel struct {
	rounds round

	// The window was fully used in this round trip, or the one before
	// (C.is_cwnd_limited).
	limitedNow, limitedBefore bool

	maxBW cycleFilter // delivery rates of two ProbeBW cycles, bytes per second
	bw    int64       // maxBW bounded by recent losses, bytes per second

	minRTT    time.Duration // of the last minRTTWindow; 0: unknown
	minRTTAt  mono.Time     // when it was measured
	minRTTAge time.Duration // of the minRTT resumed with

	extraAcked     maxFilter // bytes beyond expectation, by round
	extraStart     mono.Time // of the interval measured
	extraDelivered int       // bytes in it
}

// updateMaxBW is UpdateMaxBw (5.5.5): samples limited by the application count
// only when they say more.
func (b *bbr) updateMaxBW(a *Ack) {
	b.rounds.acked(a)
	if b.rounds.begins {
		b.roundsSinceUp++
		b.limitedNow, b.limitedBefore = false, b.limitedNow
	}
	b.limitedNow = b.limitedNow || a.CwndLimited
	if a.Rate > 0 && (a.Rate >= b.maxBW.max() || !b.appLimited) {
		b.maxBW.update(a.Rate)
	}
}

// boundBW is BoundBWForModel (5.5.10.3).
func (b *bbr) boundBW() { b.bw = min(b.maxBW.max(), b.bwShort) }

// updateMinRTT is UpdateMinRTT (5.3.4.3). Two filters: the shorter one
// schedules ProbeRTT, and its result renews the longer one.
func (b *bbr) updateMinRTT(a *Ack) {
	b.probeRTTExpired = b.now.Sub(b.probeRTTMinAt) > max(b.probeRTTEvery, bbrProbeRTTRounds*b.minRTT)
	if b.probeRTTExpired && b.state != bbrProbingRTT {
		// Before a sample that may be inflated by a queue replaces minRTT.
		b.saveProbeRTTCwnd()
	}
	if a.RTT > 0 && (b.probeRTTMin == 0 || a.RTT < b.probeRTTMin || b.probeRTTExpired) {
		b.probeRTTMin, b.probeRTTMinAt = a.RTT, b.now
	}
	expired := b.now.Sub(b.minRTTAt) > b.minRTTWindow
	if b.probeRTTMin != 0 && (b.minRTT == 0 || b.probeRTTMin < b.minRTT || expired) {
		b.minRTT, b.minRTTAt = b.probeRTTMin, b.probeRTTMinAt
	}
}

// updateAggregation is UpdateACKAggregation (5.5.9): how much more than the
// bandwidth allows came at once. One ACK may stand for a superpacket.
func (b *bbr) updateAggregation(a *Ack) {
	expected := int(float64(b.bw) * b.now.Sub(b.extraStart).Seconds())
	if b.extraDelivered <= expected {
		b.extraDelivered, b.extraStart, expected = 0, b.now, 0
	}
	b.extraDelivered += a.Acked
	window := int64(1) // in Startup one round is remembered
	if b.fullReached {
		window = bbrExtraRounds
	}
	b.extraAcked.update(b.rounds.count, int64(min(b.extraDelivered-expected, b.cwnd)), window)
}

// bdp gives gain times the bandwidth-delay product in bytes (5.6.4.2,
// BDPMultiple), the initial window while no round trip is known.
func (b *bbr) bdp(bw int64, gain float64) int {
	if b.minRTT == 0 {
		return b.initial
	}
	return int(min(gain*float64(bw)*b.minRTT.Seconds(), math.MaxInt32))
}

// inflight gives the bytes to have in flight for gain times the
// bandwidth-delay product, offloads included (5.6.4.2, Inflight).
func (b *bbr) inflight(bw int64, gain float64) int { return b.quantize(b.bdp(bw, gain)) }

// quantize is QuantizationBudget (5.6.4.2).
func (b *bbr) quantize(inflight int) int {
	// 5.5.8: one quantum in the queue, one being cut, one unacknowledged.
	inflight = max(inflight, 3*Quantum(b.rate, b.mss), b.minPipe())
	if b.state == bbrUp {
		inflight += 2 * b.mss
	}
	return inflight
}

// target gives what the flow wants in flight: the bandwidth-delay product,
// unless congestion cut the window (5.3.3, TargetInflight).
func (b *bbr) target() int { return min(b.bdp(b.bw, 1), b.cwnd) }

func (b *bbr) minPipe() int { return bbrMinPipe * b.mss }

// cwndLimited reports whether the window was fully used of late.
func (b *bbr) cwndLimited() bool { return b.limitedNow || b.limitedBefore }
