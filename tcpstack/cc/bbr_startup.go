package cc

// bbrFullPipe finds out whether sending faster still delivers faster (5.3.1.2).
type bbrFullPipe struct {
	fullBW      int64 // baseline, bytes per second
	fullCount   int   // round trips without much growth since
	fullNow     bool  // the pipe is full, since bbr last began to look
	fullReached bool  // it has been full once: startup is over
	drainRound  int64 // in which Drain began
}

func (b *bbr) resetFullPipe() { b.fullBW, b.fullCount, b.fullNow = 0, 0, false }

// checkFullPipe is CheckFullBWReached (5.3.1.2). Growth is looked for in every
// sample, as Linux does, not only in the one that happens to begin a round:
// with aggregated ACKs that is as good as random.
func (b *bbr) checkFullPipe(a *Ack) {
	if b.fullNow || b.appLimited || a.Rate == 0 {
		return
	}
	if float64(a.Rate) >= bbrFullGrowth*float64(b.fullBW) {
		b.resetFullPipe()
		b.fullBW = a.Rate
		return
	}
	if !b.rounds.begins {
		return
	}
	b.fullCount++
	if b.fullCount >= bbrFullRounds {
		b.fullNow, b.fullReached = true, true
	}
}

// checkStartupDone is CheckStartupDone (5.3.1).
func (b *bbr) checkStartupDone(a *Ack) {
	b.checkStartupLoss(a)
	if b.state == bbrStartup && b.fullReached {
		b.enterDrain()
	}
}

// checkStartupLoss is CheckStartupHighLoss (5.3.1.3): startup ends when a whole
// round trip of recovery lost too much in too many places. Places are counted
// as ACKs that revealed losses, as in Linux. Random losses do not get there.
func (b *bbr) checkStartupLoss(a *Ack) {
	if b.fullReached || !b.roundStart {
		return
	}
	places := b.lossAcks
	b.lossAcks = 0
	if places < b.fullLosses && (places == 0 || !b.noSACK) {
		return
	}
	if a.Recovery && b.tooHigh(a.LostTotal-a.PriorLost, a.TxInFlight) {
		b.undo.state = bbrStartup
		b.fillPipe()
	}
}

// startupOverflows ends startup at a loss with a queue if the peer sends no SACK:
// until all of this is repaired ACKs tell nothing, neither how much was lost nor how
// fast the rest arrives (5.3.1.3 asks for a round trip of that).
func (b *bbr) startupOverflows() {
	if !b.noSACK || b.state != bbrStartup || b.minRTT == 0 || !b.queued() {
		return
	}
	b.undo.state = bbrStartup
	b.fillPipe()
	b.enterDrain()
	b.cwnd = min(b.cwnd, b.inflightLong)
}

// fillPipe ends startup for reasons of congestion (5.3.1.3).
func (b *bbr) fillPipe() {
	b.fullReached, b.fullNow = true, true
	b.inflightLong = max(b.bdp(b.bw, 1), b.inflightLatest, b.minPipe())
}

// enterDrain is EnterDrain (5.3.2).
func (b *bbr) enterDrain() {
	b.state = bbrDrain
	b.drainRound = b.rounds.count
}

// checkDrainDone is CheckDrainDone (5.3.2).
func (b *bbr) checkDrainDone() {
	if b.state == bbrDrain &&
		(b.inFlight <= b.inflight(b.bw, 1) || b.rounds.count > b.drainRound+bbrDrainRounds) {
		b.startDown()
	}
}
