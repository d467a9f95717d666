package cc

import (
	"math"
	"math/rand/v2"
	"time"

	"accd/tcpstack/mono"
)

// bbr is BBRv3 (draft-ietf-ccwg-bbr). It models the path by the bandwidth and
// the round trip measured, and paces at the bandwidth instead of waiting for
// losses. Section numbers in bbr*.go are the draft's. Where the names differ:
// the draft's inflight_longterm is inflightLong, bw_shortterm bwShort, and so on.
//
// It differs from the draft in what it takes for congestion, since random loss
// is what accd is for: losses below the threshold slow it down only along with a
// queue, and a count of losses has to exceed the threshold by more than chance
// (queue_rtt_gain 1 and loss_spread 0 are the draft). It gives way to CUBIC
// where the draft does not (yield_time 0). And ProbeRTT comes every five
// seconds, as in the draft up to -04; later text says ten (probe_rtt_interval).
//
// The files are its ideas: bbr_model.go what is known of the path, bbr_loss.go
// what losses say, bbr_random.go those that are no congestion, bbr_company.go what
// is left to others, bbr_startup.go, bbr_probebw.go and bbr_probertt.go the state
// machine, bbr_control.go the window and rate that follow.
type bbr struct {
	bbrConfig
	bbrModel
	bbrLosses
	bbrRandom
	bbrCompany
	bbrFullPipe
	bbrCycle
	bbrProbeRTT

	state   bbrState
	begun   bool // the clock has been seen
	resumed bool // from a Memory that had left startup

	// What the stack is told.
	cwnd      int   // bytes
	rate      int64 // bytes per second
	paced     bool  // rate comes from a measured round trip
	priorCwnd int   // last window not cut by recovery or ProbeRTT, bytes

	// The latest ACK.
	now        mono.Time
	delivered  int64 // total
	inFlight   int   // bytes
	appLimited bool  // its rate sample
	// limitedUntil is the total delivered up to which samples are held back
	// by bbr's own ProbeRTT; 0: none (4.1.2.4, MarkConnectionAppLimited).
	limitedUntil int64

	idleRestart bool // nothing was delivered since the flow was idle (5.4)
	recovering  bool // the stack is in recovery
}

// bbrState is a state of the machine (5.1); those of ProbeBW are four.
type bbrState uint8

const (
	bbrStartup bbrState = iota
	bbrDrain
	bbrDown
	bbrCruise
	bbrRefill
	bbrUp
	bbrProbingRTT
	bbrStates
)

var bbrStateNames = [bbrStates]string{
	"startup", "drain", "probe bw: down", "probe bw: cruise", "probe bw: refill", "probe bw: up", "probe rtt",
}

// Values for "no bound".
const (
	noBandwidth = math.MaxInt64
	noInflight  = math.MaxInt
)

// Specification.
const (
	bbrMinPipe      = 4  // segments (2.7)
	bbrExtraRounds  = 10 // of the extra_acked filter (2.11)
	bbrFullGrowth   = 1.25
	bbrFullRounds   = 3  // without growth (5.3.1.2)
	bbrDrainRounds  = 3  // at most (5.3.2)
	bbrRenoRounds   = 63 // at most between probes (5.3.3)
	bbrMaxUpRounds  = 30
	bbrMaxQuantum   = 64 << 10
	bbrProbeWaitMin = 2 * time.Second
	bbrProbeWaitVar = time.Second
)

// bbrProbeRTTRounds is how many round trips there are between two ProbeRTT at
// least. Ours: each costs more than one, so this bounds their share on long paths.
const bbrProbeRTTRounds = 25

// bbrConfig is what does not change.
type bbrConfig struct {
	mss     int // bytes
	initial int // initial window, bytes
	noSACK  bool
	rng     rand.PCG

	gains         [bbrStates]struct{ pacing, cwnd float64 } // 5.6.1, the table
	lossThresh    float64                                   // of a round trip's data
	lossSpread    float64                                   // standard deviations the count may exceed it by
	beta          float64
	headroom      float64 // share of inflightLong left to others
	margin        float64 // share of the bandwidth not paced
	queueGain     float64 // of minRTT: round trips that long had a queue
	fullLosses    int     // ACKs with losses that end startup
	minRTTWindow  time.Duration
	probeRTTEvery time.Duration
	probeRTTFor   time.Duration
}

var bbrParameters = []Param{
	{Name: "loss_threshold", Unit: "share of a round trip's data", Default: 0.02, Min: 0.001, Max: 0.5},
	{Name: "loss_spread", Unit: "standard deviations a count of losses may exceed loss_threshold by; 0 as in the draft", Default: 2, Min: 0, Max: 10},
	{Name: "beta", Unit: "share kept at most of a bound after losses", Default: 0.7, Min: 0.1, Max: 0.99},
	{Name: "headroom", Unit: "share of the inflight limit left to others", Default: 0.15, Min: 0, Max: 0.5},
	{Name: "pacing_margin", Unit: "share of the bandwidth not used", Default: 0.01, Min: 0, Max: 0.2},
	{Name: "queue_rtt_gain", Unit: "times the smallest round trip; losses below loss_threshold count with such a queue only, with 1 always, as in the draft", Default: 1.125, Min: 1, Max: 4},
	{Name: "yield_time", Unit: "times what CUBIC needs to come back from a loss; so long, after a probe that overflowed a queue others keep, the next one waits; 0 as in the draft", Default: 1, Min: 0, Max: 4},
	{Name: "startup_pacing_gain", Unit: "times the bandwidth", Default: 2.77, Min: 1.25, Max: 4},
	{Name: "startup_full_losses", Unit: "ACKs with losses in a round trip that end startup", Default: 6, Min: 1, Max: 1000},
	{Name: "drain_pacing_gain", Unit: "times the bandwidth", Default: 0.5, Min: 0.1, Max: 1},
	{Name: "up_pacing_gain", Unit: "times the bandwidth", Default: 1.25, Min: 1, Max: 2},
	{Name: "down_pacing_gain", Unit: "times the bandwidth", Default: 0.9, Min: 0.5, Max: 1},
	{Name: "cwnd_gain", Unit: "times the bandwidth-delay product", Default: 2, Min: 1, Max: 4},
	{Name: "up_cwnd_gain", Unit: "times the bandwidth-delay product", Default: 2.25, Min: 1, Max: 4},
	{Name: "probe_rtt_cwnd_gain", Unit: "times the bandwidth-delay product", Default: 0.5, Min: 0.1, Max: 1},
	{Name: "probe_rtt_interval", Unit: "time from one ProbeRTT to the next, at least", Default: 5, Min: 1, Max: 600},
	{Name: "probe_rtt_duration", Unit: "time that ProbeRTT lasts, at least", Default: 0.2, Min: 0.01, Max: 5},
	{Name: "min_rtt_window", Unit: "time for which the smallest round trip counts", Default: 10, Min: 1, Max: 600},
}

func newBBR(cfg Config) Controller {
	value := func(name string) float64 { return cfg.Params.value(bbrParameters, name) }
	seconds := func(name string) time.Duration { return time.Duration(value(name) * float64(time.Second)) }
	b := renew[bbr](cfg.Old)
	*b = bbr{bbrConfig: bbrConfig{
		mss:           cfg.MSS,
		initial:       cfg.InitialWindow * cfg.MSS,
		noSACK:        cfg.NoSACK,
		lossThresh:    value("loss_threshold"),
		lossSpread:    value("loss_spread"),
		beta:          value("beta"),
		headroom:      value("headroom"),
		margin:        value("pacing_margin"),
		queueGain:     value("queue_rtt_gain"),
		fullLosses:    int(value("startup_full_losses")),
		minRTTWindow:  seconds("min_rtt_window"),
		probeRTTEvery: seconds("probe_rtt_interval"),
		probeRTTFor:   seconds("probe_rtt_duration"),
	}}
	b.yieldFor = value("yield_time")
	b.rng.Seed(cfg.Seed, 0x62627276)
	for s := range b.gains {
		b.gains[s].pacing, b.gains[s].cwnd = 1, value("cwnd_gain")
	}
	b.gains[bbrStartup].pacing = value("startup_pacing_gain")
	b.gains[bbrDrain].pacing = value("drain_pacing_gain")
	b.gains[bbrDown].pacing = value("down_pacing_gain")
	b.gains[bbrUp].pacing = value("up_pacing_gain")
	b.gains[bbrUp].cwnd = value("up_cwnd_gain")
	b.gains[bbrProbingRTT].cwnd = value("probe_rtt_cwnd_gain")

	// 5.2.1
	b.state = bbrStartup
	b.cwnd = b.initial
	b.inflightLong = noInflight
	b.resetShortTerm()
	b.resume(&cfg.Memory)
	b.initRate()
	return b
}

// resume takes over what an earlier controller on this path knew. A flow that
// had filled the pipe once goes on as after an idle period (5.4): in ProbeBW,
// at the bandwidth known. One that had not goes on with startup.
func (b *bbr) resume(m *Memory) {
	b.minRTT = m.MinRTT
	b.minRTTAge = max(m.Age, m.MinRTTAge)
	if m.Window > 0 {
		b.cwnd = max(m.Window, b.minPipe())
	}
	b.maxBW.update(m.Bandwidth)
	b.bw = m.Bandwidth
	if m.Ssthresh == 0 || m.Bandwidth == 0 || m.MinRTT == 0 {
		return
	}
	b.resumed, b.fullReached = true, true
	b.state = bbrCruise
	if m.Ssthresh < NoLimit {
		b.inflightLong = max(m.Ssthresh, b.minPipe())
	}
}

// begin starts what needs a clock, at the first event.
func (b *bbr) begin(now mono.Time) {
	b.begun = true
	b.minRTTAt = now.Add(-b.minRTTAge)
	b.probeRTTMinAt = now // the idleness before was a drain (5.3.4.2)
	if b.minRTTAge <= b.probeRTTEvery {
		b.probeRTTMin = b.minRTT
	} // else the first sample, of a path without our queue, replaces it
	b.extraStart = now
	if b.resumed {
		// Where in the cycle the flow was is not remembered, and many short
		// custodies must probe as often as one long one: any point will do.
		b.now = now
		b.startDown()
		b.state = bbrCruise
		b.phase = acksInit
		b.cycleStart = now.Add(-time.Duration(b.random() * float64(b.probeWait)))
	}
}

// random gives a number in [0, 1).
func (b *bbr) random() float64 { return float64(b.rng.Uint64()>>11) / (1 << 53) }

// Sent implements Controller: HandleRestartFromIdle (5.4.1). Nothing in flight
// outside recovery means that there was nothing to send.
func (b *bbr) Sent(now mono.Time, _, inFlight int) {
	if !b.begun {
		b.begin(now)
		b.idleRestart = b.resumed
		return
	}
	if inFlight > 0 || b.recovering {
		return
	}
	b.now = now
	b.idleRestart = true
	b.extraStart = now
	switch {
	case b.probingBW():
		b.setRateWithGain(1)
	case b.state == bbrProbingRTT:
		b.checkProbeRTTDone()
	}
}

// Acked implements Controller: UpdateOnACK (5.2.3), in the draft's order.
func (b *bbr) Acked(now mono.Time, a *Ack) {
	if !b.begun {
		b.begin(now)
	}
	b.now, b.inFlight = now, a.InFlight
	if b.recovering && !a.Recovery {
		b.exitRecovery()
	}
	if a.Acked <= 0 {
		return // every step wants newly delivered data
	}
	b.delivered = a.Delivered
	b.appLimited = a.AppLimited || b.limitedUntil != 0 && a.PriorDelivered <= b.limitedUntil

	b.updateLatestDelivery(a)
	b.updateCongestion(a)
	b.updateAggregation(a)
	b.checkFullPipe(a)
	b.checkStartupDone(a)
	b.checkDrainDone()
	b.updateCycle(a)
	b.updateMinRTT(a)
	b.checkProbeRTT()
	b.advanceLatestDelivery(a)
	b.boundBW()

	b.setRate(a)
	b.setCwnd(a)
	b.idleRestart = false
}

// Congested implements Controller.
func (b *bbr) Congested(now mono.Time, s Signal) {
	if !b.begun {
		b.begin(now)
	}
	b.now, b.delivered, b.inFlight = now, max(b.delivered, s.Delivered), s.InFlight
	switch s.Kind {
	case Loss:
		b.enterRecovery()
		b.lostPacket(&s)
		b.startupOverflows()
	case ECN:
		b.marked(&s)
	case Timeout:
		b.enterRecovery()
		b.noteLoss()
		b.startupOverflows()
		b.cwnd = s.InFlight + b.mss // 5.6.4.4, OnEnterRTO
	case Spurious:
		b.undoRecovery()
	case Exit:
		b.exitRecovery()
	}
}

// Window implements Controller.
func (b *bbr) Window() int { return max(b.cwnd, b.mss) }

// Rate implements Controller.
func (b *bbr) Rate() int64 { return b.rate }

// State implements Controller.
func (b *bbr) State() string { return bbrStateNames[b.state] }

// Memory implements Controller. Bandwidth is the long-term model's: what losses
// took from it for the moment is found again, or not, by probing.
func (b *bbr) Memory() Memory {
	m := Memory{Window: b.Window(), Bandwidth: b.maxBW.max(), MinRTT: b.minRTT}
	if b.recovering || b.state == bbrProbingRTT {
		m.Window = max(m.Window, b.priorCwnd)
	}
	if b.fullReached {
		m.Ssthresh = min(b.inflightLong, NoLimit)
	}
	return m
}
