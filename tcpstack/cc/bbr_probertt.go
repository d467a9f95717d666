package cc

import (
	"time"

	"accd/tcpstack/mono"
)

// bbrProbeRTT drains the queue now and then to see the path's own round trip
// (5.3.4).
type bbrProbeRTT struct {
	probeRTTMin     time.Duration // smallest sample since the last ProbeRTT; 0: none
	probeRTTMinAt   mono.Time     // when it was measured, or ProbeRTT ended
	probeRTTExpired bool          // it is too old
	probeRTTDone    mono.Time     // when ProbeRTT may end; 0: the queue is not drained yet
	probeRTTRound   bool          // a round trip passed with the queue drained
	probeRTTCwnd    int           // window of ProbeRTT, bytes
}

// saveProbeRTTCwnd fixes the window of the coming ProbeRTT, so that the target
// does not move while the queue drains (5.6.4.5).
func (b *bbr) saveProbeRTTCwnd() {
	b.probeRTTCwnd = max(b.bdp(b.bw, b.gains[bbrProbingRTT].cwnd), b.minPipe())
}

// checkProbeRTT is CheckProbeRTT (5.3.4.3).
func (b *bbr) checkProbeRTT() {
	if b.state != bbrProbingRTT && b.probeRTTExpired && !b.idleRestart {
		b.saveCwnd()
		b.state = bbrProbingRTT
		b.probeRTTDone = 0
		b.phase = acksStopping
		b.rounds.restart(b.delivered)
	}
	if b.state == bbrProbingRTT {
		b.handleProbeRTT()
	}
}

// handleProbeRTT is HandleProbeRTT (5.3.4.3).
func (b *bbr) handleProbeRTT() {
	b.limitedUntil = max(b.delivered+int64(b.inFlight), 1) // low rates of our own making
	switch {
	case b.probeRTTDone == 0:
		if b.inFlight <= b.probeRTTCwnd {
			b.probeRTTDone = b.now.Add(b.probeRTTFor)
			b.probeRTTRound = false
			b.rounds.restart(b.delivered)
		}
	case b.rounds.begins:
		b.probeRTTRound = true
		fallthrough
	default:
		if b.probeRTTRound {
			b.checkProbeRTTDone()
		}
	}
}

// checkProbeRTTDone is CheckProbeRTTDone and ExitProbeRTT (5.3.4.3, 5.3.4.4).
func (b *bbr) checkProbeRTTDone() {
	if b.probeRTTDone == 0 || b.now <= b.probeRTTDone {
		return
	}
	b.probeRTTMinAt = b.now // schedule the next
	b.resetShortTerm()
	if b.fullReached {
		b.startDown()
		b.state = bbrCruise // the queue is drained already
	} else {
		b.state = bbrStartup
	}
	b.restoreCwnd()
}
