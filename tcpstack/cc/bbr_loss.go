package cc

import (
	"math"
	"time"
)

// bbrLosses is what losses say about the path: a long-term bound on what may be
// in flight, found by probing, and short-term bounds that follow the delivery
// of the last round trip (5.5.10).
type bbrLosses struct {
	inflightLong  int   // bytes; noInflight: none known
	bwShort       int64 // bytes per second; noBandwidth: none
	inflightShort int   // bytes; noInflight: none

	// The delivery of the current loss round.
	bwLatest       int64 // bytes per second
	inflightLatest int   // bytes delivered in one round trip
	roundDelivered int64 // total delivered when it began
	roundStart     bool  // the latest ACK began one
	lossInRound    bool
	ecnInRound     bool          // CE marks are not random
	roundRTT       time.Duration // smallest sample in it; 0: none
	lossInAck      bool          // since the latest ACK
	lossAcks       int           // ACKs with losses, for startup

	undo struct { // before the recovery episode (5.5.11.1)
		state         bbrState // to return to; bbrStates: none
		bwShort       int64
		inflightShort int
		inflightLong  int
	}
}

// updateLatestDelivery is UpdateLatestDeliverySignals (5.5.10.3).
func (b *bbr) updateLatestDelivery(a *Ack) {
	b.bwLatest = max(b.bwLatest, a.Rate)
	b.inflightLatest = max(b.inflightLatest, int(a.Delivered-a.PriorDelivered))
	b.roundStart = a.PriorDelivered >= b.roundDelivered
	if b.roundStart {
		b.roundDelivered = a.Delivered
	}
}

// advanceLatestDelivery is AdvanceLatestDeliverySignals (5.5.10.3).
func (b *bbr) advanceLatestDelivery(a *Ack) {
	if b.roundStart {
		b.bwLatest, b.inflightLatest = a.Rate, int(a.Delivered-a.PriorDelivered)
	}
}

// updateCongestion is UpdateCongestionSignals (5.5.10.3).
func (b *bbr) updateCongestion(a *Ack) {
	b.updateMaxBW(a)
	if b.lossInAck {
		b.lossInAck = false
		b.lossAcks++
	}
	if a.RTT > 0 && (b.roundRTT == 0 || a.RTT < b.roundRTT) {
		b.roundRTT = a.RTT
	}
	if !b.roundStart {
		return // wait until the end of the round trip
	}
	if b.lossInRound && !b.probingUp() && b.congested(a) {
		b.lowerBounds()
	}
	if b.state == bbrCruise {
		b.shared = b.queued()
	}
	b.clear = !b.queued() && !b.ecnInRound
	b.lossInRound, b.ecnInRound, b.roundRTT = false, false, 0
}

// congested reports whether the losses of the round trip that ends speak of
// congestion. The draft takes every loss for it, and slows down by the share
// lost, every round trip until the next probe; with one random loss in a
// hundred packets that costs a quarter of the bandwidth. Here losses below the
// threshold count only if a queue stood through the whole round trip, and one
// that is not our own, left by Startup or Up.
func (b *bbr) congested(a *Ack) bool {
	if b.ecnInRound || b.tooHigh(a.LostTotal-a.PriorLost, a.TxInFlight) {
		return true
	}
	own := b.state == bbrDrain || b.state == bbrDown
	return b.queued() && (!own || b.queueGain == 1)
}

// queued reports that a queue stood through the whole of the round trip.
func (b *bbr) queued() bool { return float64(b.roundRTT) >= b.queueGain*float64(b.minRTT) }

// lowerBounds is AdaptLowerBoundsFromCongestion (5.5.10.3): slow down to what
// the path delivered in the last round trip, once a round.
func (b *bbr) lowerBounds() {
	if b.bwShort == noBandwidth {
		b.bwShort = b.maxBW.max()
	}
	if b.inflightShort == noInflight {
		b.inflightShort = b.cwnd
		if b.recovering {
			b.inflightShort = max(b.cwnd, b.priorCwnd) // a timeout may have cut cwnd to nothing
		}
	}
	b.bwShort = max(b.bwLatest, int64(b.beta*float64(b.bwShort)))
	b.inflightShort = max(b.inflightLatest, int(b.beta*float64(b.inflightShort)))
}

func (b *bbr) resetShortTerm() { b.bwShort, b.inflightShort = noBandwidth, noInflight }

func (b *bbr) resetCongestion() { b.lossInRound, b.bwLatest, b.inflightLatest = false, 0, 0 }

// noteLoss is NoteLoss (5.5.10.2).
func (b *bbr) noteLoss() {
	if !b.lossInRound {
		b.roundDelivered = b.delivered
	}
	b.lossInRound, b.lossInAck = true, true
}

// lostPacket is HandleLostPacket (5.5.10.2).
func (b *bbr) lostPacket(s *Signal) {
	b.noteLoss()
	if !b.probeSample {
		return // the packet was not sent while probing for bandwidth
	}
	if lost := s.LostTotal - s.PriorLost; b.tooHigh(lost, s.TxInFlight) {
		b.inflightTooHigh(b.inflightAtLoss(s, lost), s.AppLimited || s.PriorDelivered <= b.limitedUntil && b.limitedUntil != 0)
	}
}

// marked treats CE marks as congestion, as the draft asks without saying how
// (3.7): in a round trip like a loss, and as the end of a probe.
func (b *bbr) marked(s *Signal) {
	b.noteLoss()
	b.ecnInRound = true
	switch {
	case b.state == bbrStartup:
		b.fillPipe()
		b.enterDrain()
	case b.probeSample:
		b.inflightTooHigh(s.InFlight, s.AppLimited)
	}
}

// tooHigh is IsInflightTooHigh (5.5.10.2): whether as many bytes lost of those
// in flight were too many. The draft compares with the threshold alone; but few
// packets make a noisy rate, and with a hundred in flight one random loss in a
// hundred would pass for three now and then. So the count may exceed the
// threshold by lossSpread standard deviations.
func (b *bbr) tooHigh(lost int64, inFlight int) bool {
	allowed := b.lossThresh * float64(inFlight)
	allowed += b.lossSpread * math.Sqrt(allowed*float64(b.mss))
	return float64(lost) > allowed || lost > 0 && b.noSACK
}

// inflightTooHigh is HandleInflightTooHigh (5.5.10.2).
func (b *bbr) inflightTooHigh(inFlight int, appLimited bool) {
	b.probeTooHigh = true
	b.probeSample = false // one reaction per probe
	if !appLimited {
		b.inflightLong = max(inFlight, int(b.beta*float64(b.target())))
		b.yield(inFlight)
	}
	if b.state == bbrUp {
		b.undo.state = bbrUp
		b.startDown()
	}
}

// inflightAtLoss is InflightAtLoss (5.5.10.2): where within this packet, which
// may be a superpacket, the loss rate crossed the threshold.
func (b *bbr) inflightAtLoss(s *Signal, lost int64) int {
	inFlight := float64(s.TxInFlight - s.Bytes)
	before := float64(lost) - float64(s.Bytes)
	prefix := (b.lossThresh*inFlight - before) / (1 - b.lossThresh)
	return int(inFlight + max(prefix, 0))
}

// enterRecovery is OnEnterFastRecovery and OnEnterRTO (5.6.4.4), once per
// episode; the draft's NoteLoss would save again in its later rounds what the
// first have already cut.
func (b *bbr) enterRecovery() {
	if b.recovering {
		return
	}
	b.saveCwnd()
	b.recovering = true
	b.undo.state = bbrStates
	b.undo.bwShort, b.undo.inflightShort, b.undo.inflightLong = b.bwShort, b.inflightShort, b.inflightLong
}

// exitRecovery returns to the last good window (5.6.4.4), within the model.
func (b *bbr) exitRecovery() {
	if !b.recovering {
		return
	}
	b.recovering = false
	b.restoreCwnd()
}

// undoRecovery is HandleSpuriousLossDetection (5.5.11.2).
func (b *bbr) undoRecovery() {
	b.recovering = false
	b.lossInRound = false
	b.resetFullPipe()
	b.bwShort = max(b.bwShort, b.undo.bwShort)
	b.inflightShort = max(b.inflightShort, b.undo.inflightShort)
	b.inflightLong = max(b.inflightLong, b.undo.inflightLong)
	switch {
	case b.undo.state == bbrStartup && b.state != bbrStartup:
		b.fullReached = false
		if b.state != bbrProbingRTT {
			b.state = bbrStartup
		}
	case b.undo.state == bbrUp && b.state != bbrUp && b.state != bbrProbingRTT:
		b.startRefill()
	}
	b.undo.state = bbrStates
	b.restoreCwnd()
	b.boundBW()
}
