package cc

import (
	"time"

	"accd/tcpstack/mono"
)

// bbrCycle is the cycle of ProbeBW (5.3.3): down to drain, cruise for seconds,
// refill the pipe, up to see whether there is more.
type bbrCycle struct {
	phase         bbrAckPhase
	cycleStart    mono.Time     // of Down
	probeWait     time.Duration // from cycleStart to the next probe
	roundsSinceUp int
	probeSample   bool // ACKs are of packets sent while probing

	probeTooHigh       bool // the latest probe lost too much
	probePrecautionary bool // the latest probe stopped short of losing

	upRounds int // of growth of inflightLong in this Up
	upAcked  int // bytes since inflightLong last grew
	upPerInc int // bytes to be acknowledged for it to grow by one segment
}

// bbrAckPhase says what the ACKs arriving now tell about probing (2.13, BBR.ack_phase).
type bbrAckPhase uint8

const (
	acksInit      bbrAckPhase = iota // nothing
	acksRefilling                    // sent at the bandwidth known
	acksStarting                     // still those from before Up
	acksFeedback                     // sent in Up
	acksStopping                     // Up is over, they are still coming
)

// probingBW reports one of the four states of ProbeBW (IsInAProbeBWState).
func (b *bbr) probingBW() bool { return b.state >= bbrDown && b.state <= bbrUp }

// probingUp reports a state that looks for more bandwidth (IsProbingBW).
func (b *bbr) probingUp() bool {
	return b.state == bbrStartup || b.state == bbrRefill || b.state == bbrUp
}

func (b *bbr) startDown() {
	b.resetCongestion()
	b.upPerInc = noInflight
	// PickProbeWait (5.3.3): random, so that flows do not probe in step.
	b.roundsSinceUp = int(b.rng.Uint64() & 1)
	b.probeWait = bbrProbeWaitMin + time.Duration(b.random()*float64(bbrProbeWaitVar))
	b.cycleStart = b.now
	b.phase = acksStopping
	b.rounds.restart(b.delivered)
	b.state = bbrDown
}

func (b *bbr) startRefill() {
	b.resetShortTerm()
	b.upRounds, b.upAcked = 0, 0
	b.probePrecautionary = false
	b.phase = acksRefilling
	b.rounds.restart(b.delivered)
	b.state = bbrRefill
}

func (b *bbr) startUp(a *Ack) {
	b.phase = acksStarting
	b.rounds.restart(b.delivered)
	b.resetFullPipe()
	b.fullBW = a.Rate
	b.state = bbrUp
	b.refilled(a)
	b.raiseSlope()
}

// updateCycle is UpdateProbeBWCyclePhase (5.3.3).
func (b *bbr) updateCycle(a *Ack) {
	if !b.fullReached || b.adaptLongTerm(a) {
		return
	}
	switch b.state {
	case bbrDown:
		if b.timeToProbe() {
			b.nextCycle()
		} else if b.timeToCruise() {
			b.state = bbrCruise
		}
	case bbrCruise:
		if b.timeToProbe() {
			b.nextCycle()
		}
	case bbrRefill:
		if b.rounds.begins { // one round trip
			b.probeSample = true
			b.startUp(a)
		}
	case bbrUp:
		if b.timeToGoDown(a) {
			b.probeTooHigh = false // as far as is known yet
			b.startDown()
		}
	}
}

// nextCycle goes on to the probe, or round without one while others have their
// time: the bandwidth known ages all the same.
func (b *bbr) nextCycle() {
	if b.yielding() {
		b.startDown()
	} else {
		b.startRefill()
	}
}

// timeToProbe is IsTimeToProbeBW (5.3.3): after two to three seconds, or as
// many round trips as Reno would need, so that Reno and CUBIC can live here.
func (b *bbr) timeToProbe() bool {
	return b.now.Sub(b.cycleStart) > b.probeWait ||
		b.roundsSinceUp >= min(b.target()/b.mss, bbrRenoRounds)
}

// timeToCruise is IsTimeToCruise (5.3.3).
func (b *bbr) timeToCruise() bool {
	return b.inFlight <= b.withHeadroom() && b.inFlight <= b.inflight(b.maxBW.max(), 1)
}

// timeToGoDown is IsTimeToGoDown (5.3.3).
func (b *bbr) timeToGoDown(a *Ack) bool {
	if b.probeTooHigh && b.inFlight >= b.inflightLong {
		b.probePrecautionary = true
		return true
	}
	if b.cwndLimited() && b.cwnd >= b.inflightLong {
		b.resetFullPipe() // it is inflightLong that limits the bandwidth
		b.fullBW = a.Rate
		return false
	}
	return b.fullNow
}

// withHeadroom is InflightWithHeadroom (5.3.3).
func (b *bbr) withHeadroom() int {
	if b.inflightLong == noInflight {
		return noInflight
	}
	headroom := max(b.mss, int(b.headroom*float64(b.inflightLong)))
	return max(b.inflightLong-headroom, b.minPipe())
}

// raiseSlope is RaiseInflightLongtermSlope (5.3.3): growth doubles each round.
func (b *bbr) raiseSlope() {
	growth := 1 << b.upRounds
	b.upRounds = min(b.upRounds+1, bbrMaxUpRounds)
	b.upPerInc = max(b.cwnd/growth, b.mss)
}

// adaptLongTerm is AdaptLongTermModel (5.3.3). It reports whether it changed
// the state.
func (b *bbr) adaptLongTerm(a *Ack) bool {
	if b.phase == acksStarting && b.rounds.begins {
		b.learnRandom(a)
		b.phase = acksFeedback
	}
	if b.phase == acksStopping && b.rounds.begins {
		b.probeSample = false
		b.phase = acksInit
		if b.probingBW() && !b.appLimited {
			b.maxBW.advance()
		}
		// The precautionary probe found nothing wrong: now a full one.
		if b.probingBW() && b.probePrecautionary && !b.probeTooHigh {
			b.startRefill()
			return true
		}
	}
	if b.inflightLong == noInflight || b.tooHigh(a.LostTotal-a.PriorLost, a.TxInFlight) {
		return false
	}
	b.inflightLong = max(b.inflightLong, a.TxInFlight)
	if b.state == bbrUp {
		b.probeUpward(a)
	}
	return false
}

// probeUpward is ProbeInflightLongtermUpward (5.3.3).
func (b *bbr) probeUpward(a *Ack) {
	if !b.cwndLimited() || b.cwnd < b.inflightLong {
		return // inflightLong is not fully used
	}
	b.upAcked += a.Acked
	if n := b.upAcked / b.upPerInc; n > 0 {
		b.upAcked -= n * b.upPerInc
		b.inflightLong += n * b.mss
	}
	if b.rounds.begins {
		b.raiseSlope()
	}
}
