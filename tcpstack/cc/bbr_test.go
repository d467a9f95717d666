package cc

import (
	"testing"
	"time"

	"accd/tcpstack/mono"
)

// until runs until the flow is in a state, for a minute at most.
func (f *flow) until(t *testing.T, state string) {
	t.Helper()
	for range 60000 {
		if f.c.State() == state {
			return
		}
		f.path.run(time.Millisecond)
	}
	t.Fatalf("never in %s: %v", state, f)
}

// A steady random loss below the threshold costs hardly anything, whatever the
// ACKs look like: 90 % of the bandwidth is asked for.
func TestBBRUtilisation(t *testing.T) {
	for _, tc := range []struct {
		loss, want float64
	}{{0, 0.95}, {0.001, 0.95}, {0.01, 0.9}} {
		for _, rtt := range []time.Duration{20 * ms, 80 * ms} {
			for _, lump := range []int{2, 45} {
				p := newPath(t, 100, rtt, 1, tc.loss)
				if p.lump = lump; lump > 2 {
					p.hold = 5 * ms
				}
				f := p.add(mustNew(t, "bbr", Config{}))
				p.run(2 * time.Second)
				if got := p.share(10 * time.Second)[0]; got < tc.want {
					t.Errorf("loss %v, %v, an ACK for %d segments: %.3f of the link, want %.2f (%v)", tc.loss, rtt, lump, got, tc.want, f)
				}
			}
		}
	}
}

// accd's demo: 32 MiB over 100 Mbit/s and 80 ms, one segment in a thousand lost,
// the first one during startup, one ACK for up to 45 segments.
func TestBBRColdStart(t *testing.T) {
	for _, lump := range []int{2, 45} {
		p := newPath(t, 100, 80*ms, 1, 0)
		p.lump, p.hold = lump, 5*ms
		p.losses = func(n int) bool { return n%1000 == 150 }
		f := p.add(mustNew(t, "bbr", Config{}))
		start := p.now
		p.run(600 * ms)
		if f.c.State() != "startup" {
			t.Errorf("one loss ended startup: %v", f)
		}
		p.run(300 * ms)
		if got := p.share(time.Second)[0]; got < 0.95 {
			t.Errorf("%.3f of the link in the second after 900 ms (%v)", got, f)
		}
		for f.delivered < 32<<20 {
			p.run(ms)
		}
		took := p.now.Sub(start)
		if share := float64(f.delivered) / p.rate / took.Seconds(); share < 0.8 {
			t.Errorf("32 MiB took %v, %.3f of the link's rate, want 0.8 (%v)", took, share, f)
		}
	}
}

// Appendix A of the draft: the bandwidth found in Startup is the link's, three
// rounds without growth end it, Drain ends at one BDP in flight.
func TestBBRStartupAndDrain(t *testing.T) {
	p := newPath(t, 40, 50*ms, 4, 0)
	f := p.add(mustNew(t, "bbr", Config{}))
	b := f.c.(*bbr)
	f.until(t, "drain")
	if got := float64(b.maxBW.max()) / p.rate; got < 0.98 || got > 1.02 {
		t.Errorf("bandwidth %.3f of the link's", got)
	}
	if b.fullCount != bbrFullRounds || !b.fullNow || !b.fullReached {
		t.Errorf("full pipe: count %d, now %v, reached %v", b.fullCount, b.fullNow, b.fullReached)
	}
	if f.lost != 0 {
		t.Errorf("%d bytes lost with a queue of four BDP", f.lost)
	}
	entered := p.now
	for f.c.State() == "drain" {
		p.run(ms)
	}
	if took := p.now.Sub(entered); took > 4*p.rtt {
		t.Errorf("drain took %v", took)
	}
	if f.inFlight > b.inflight(b.bw, 1) {
		t.Errorf("%d bytes in flight after drain, want a BDP of %d at most", f.inFlight, b.inflight(b.bw, 1))
	}
}

// 5.3.1.3: startup ends when a round trip of recovery lost more than the
// threshold in many places, and inflightLong remembers it.
func TestBBRStartupEndsOnHighLoss(t *testing.T) {
	p := newPath(t, 1000, 50*ms, 1, 0.15)
	f := p.add(mustNew(t, "bbr", Config{}))
	f.until(t, "drain")
	if b := f.c.(*bbr); b.inflightLong == noInflight || b.undo.state != bbrStartup {
		t.Errorf("inflightLong %d, undo %d", b.inflightLong, b.undo.state)
	}
	// 5.5.11.2: if it was all a mistake, back to startup.
	f.c.Congested(p.now, Signal{Kind: Spurious, InFlight: f.inFlight})
	if b := f.c.(*bbr); b.state != bbrStartup || b.fullReached || b.inflightLong != noInflight {
		t.Errorf("after undo: %s, inflightLong %d", b.State(), b.inflightLong)
	}
}

// 5.3.4: every probe_rtt_interval without a new minimum, half a BDP for 200 ms.
func TestBBRProbesRTT(t *testing.T) {
	p := newPath(t, 50, 40*ms, 2, 0)
	f := p.add(mustNew(t, "bbr", Config{}))
	b := f.c.(*bbr)
	entered := p.now
	f.until(t, "probe rtt")
	for range 3 {
		f.until(t, "probe rtt")
		bdp := int(p.rate * p.rtt.Seconds())
		if b.cwnd > bdp*6/10 {
			t.Errorf("window %d in ProbeRTT, BDP %d", b.cwnd, bdp)
		}
		at := p.now
		if gap := at.Sub(entered); entered > mono.Time(2*time.Second) && (gap < 4*time.Second || gap > 11*time.Second) {
			t.Errorf("ProbeRTT after %v", gap)
		}
		entered = at
		before := f.c.Memory().Window
		f.until(t, "probe bw: cruise")
		if took := p.now.Sub(at); took < 200*ms || took > 400*ms {
			t.Errorf("ProbeRTT took %v", took)
		}
		if b.cwnd < before {
			t.Errorf("window %d after ProbeRTT, %d before", b.cwnd, before)
		}
	}
}

// 5.5.7: when the path gets longer, bbr finds out within two filter windows;
// when it gets shorter, at once.
func TestBBRFollowsMinRTT(t *testing.T) {
	p := newPath(t, 50, 40*ms, 2, 0)
	f := p.add(mustNew(t, "bbr", Config{}))
	p.run(3 * time.Second)
	p.rtt = 80 * ms
	p.run(21 * time.Second)
	if got := f.c.Memory().MinRTT; got < 80*ms || got > 95*ms {
		t.Errorf("min RTT %v, want about 80 ms", got)
	}
	if got := p.share(10 * time.Second)[0]; got < 0.9 {
		t.Errorf("%.3f of the link", got)
	}
	p.rtt = 20 * ms
	p.run(time.Second)
	if got := f.c.Memory().MinRTT; got < 20*ms || got > 45*ms {
		t.Errorf("min RTT %v, want it lower", got)
	}
}

// 5.5.5 and 5.5.6: a bandwidth that fell is forgotten after two cycles, one
// that rose is found by probing.
func TestBBRFollowsBandwidth(t *testing.T) {
	p := newPath(t, 100, 40*ms, 1, 0)
	f := p.add(mustNew(t, "bbr", Config{}))
	p.run(3 * time.Second)
	p.rate /= 2
	p.run(9 * time.Second)
	if got := float64(f.c.Memory().Bandwidth) / p.rate; got > 1.1 {
		t.Errorf("bandwidth %.2f of the link's after its halving", got)
	}
	p.rate *= 4
	p.run(20 * time.Second)
	if got := p.share(10 * time.Second)[0]; got < 0.85 {
		t.Errorf("%.3f of the link after its rise (%v)", got, f)
	}
}

// Two flows share the link, the second coming late.
func TestBBRFairness(t *testing.T) {
	for _, bdps := range []float64{0.3, 1, 2} {
		p := newPath(t, 50, 40*ms, bdps, 0)
		p.add(mustNew(t, "bbr", Config{Seed: 1}))
		p.run(2 * time.Second)
		p.add(mustNew(t, "bbr", Config{Seed: 2}))
		p.run(10 * time.Second)
		s := p.share(30 * time.Second)
		if min(s[0], s[1]) < 0.3 || s[0]+s[1] < 0.93 {
			t.Errorf("queue of %v BDP: shares %.3f", bdps, s)
		}
		if lost := float64(p.flows[0].lost+p.flows[1].lost) / (p.rate * 42); lost > 0.02 {
			t.Errorf("queue of %v BDP: %.2f %% lost", bdps, 100*lost)
		}
	}
}

// 5.4: a flow resumed from its Memory goes on at its bandwidth, without a new
// startup, and does not forget while custodies are short.
func TestBBRResumes(t *testing.T) {
	p := newPath(t, 100, 80*ms, 1, 0)
	f := p.add(mustNew(t, "bbr", Config{}))
	p.run(2 * time.Second)
	for i := range 5 {
		m := f.c.Memory()
		if m.Ssthresh != NoLimit {
			t.Fatalf("Ssthresh %d, want NoLimit: startup is over and nothing was lost", m.Ssthresh)
		}
		f.pause = true
		p.run(time.Second)
		p.flows = nil
		f = p.add(mustNew(t, "bbr", Config{Seed: uint64(i), Memory: m}))
		start := p.now
		for f.delivered < 4<<20 {
			p.run(ms)
			if s := f.c.State(); s == "startup" || s == "drain" {
				t.Fatalf("resumed in %s", s)
			}
		}
		// One round trip and 336 ms for 4 MiB.
		if took := p.now.Sub(start); took > 450*ms {
			t.Errorf("custody %d: 4 MiB took %v (%v)", i, took, f)
		}
	}
}

// A flow that had not finished startup goes on with it from its window.
func TestBBRResumesStartup(t *testing.T) {
	p := newPath(t, 100, 80*ms, 1, 0)
	f := p.add(mustNew(t, "bbr", Config{}))
	p.run(400 * ms)
	m := f.c.Memory()
	if m.Ssthresh != 0 || m.Window < 40*simMSS {
		t.Fatalf("memory %+v after 400 ms", m)
	}
	p.flows = nil
	p.run(time.Second)
	f = p.add(mustNew(t, "bbr", Config{Memory: m}))
	if f.c.State() != "startup" || f.c.Window() != m.Window {
		t.Fatalf("resumed in %s with a window of %d", f.c.State(), f.c.Window())
	}
	p.run(500 * ms)
	if got := p.share(time.Second)[0]; got < 0.95 {
		t.Errorf("%.3f of the link (%v)", got, f)
	}
}

// 5.4.1: after a pause the flow paces at its bandwidth, and the samples of the
// pause do not lower it.
func TestBBRRestartsFromIdle(t *testing.T) {
	p := newPath(t, 100, 40*ms, 1, 0)
	f := p.add(mustNew(t, "bbr", Config{}))
	p.run(2 * time.Second)
	bandwidth := f.c.Memory().Bandwidth
	for range 10 { // 100 kB, then a pause
		f.limit = f.sentBytes + 100_000
		p.run(500 * ms)
	}
	if got := f.c.Memory().Bandwidth; float64(got) < 0.95*float64(bandwidth) {
		t.Errorf("bandwidth %d after application-limited bursts, was %d", got, bandwidth)
	}
	f.limit = 0
	before := f.delivered
	p.run(500 * ms)
	if got := float64(f.delivered-before) / (p.rate * 0.46); got < 0.9 {
		t.Errorf("%.2f of the link right after idleness (%v)", got, f)
	}
}

// 5.5.10.2: the point within a superpacket at which losses crossed the threshold.
func TestBBRInflightAtLoss(t *testing.T) {
	b := mustNew(t, "bbr", Config{}).(*bbr)
	for _, tc := range []struct {
		inFlight, size int
		lost           int64
		want           int
	}{
		{100_000, 10_000, 10_000, 90_000 + 1836}, // (0.02 × 90,000 − 0) ÷ 0.98
		{100_000, 10_000, 11_000, 90_000 + 816},
		{100_000, 10_000, 20_000, 90_000}, // crossed before this packet
	} {
		got := b.inflightAtLoss(&Signal{Bytes: tc.size, TxInFlight: tc.inFlight}, tc.lost)
		if got != tc.want {
			t.Errorf("%+v: %d", tc, got)
		}
	}
}

// 5.6.3
func TestQuantum(t *testing.T) {
	for _, tc := range []struct {
		rate int64
		want int
	}{{0, 2 * simMSS}, {1 << 20, 2 * simMSS}, {12_500_000, 12_500}, {1 << 40, 64 << 10}} {
		if got := Quantum(tc.rate, simMSS); got != tc.want {
			t.Errorf("rate %d: %d, want %d", tc.rate, got, tc.want)
		}
	}
}

// 3.7: CE marks are congestion: they end startup, and a probe.
func TestBBRTreatsMarksAsCongestion(t *testing.T) {
	p := newPath(t, 50, 40*ms, 1, 0)
	f := p.add(mustNew(t, "bbr", Config{}))
	p.run(200 * ms)
	f.c.Congested(p.now, Signal{Kind: ECN, InFlight: f.inFlight, Delivered: f.delivered})
	if got := f.c.State(); got != "drain" {
		t.Errorf("in %s after a mark in startup", got)
	}
	f.until(t, "probe bw: up")
	f.c.Congested(p.now, Signal{Kind: ECN, InFlight: f.inFlight, Delivered: f.delivered})
	if got := f.c.State(); got != "probe bw: down" {
		t.Errorf("in %s after a mark in up", got)
	}
}

// draft-ietf-ccwg-bbr, 4.1: ACKs that come in lumps do not inflate the bandwidth,
// since a sample lasts at least as long as both sending and acknowledging.
func TestBBRAggregation(t *testing.T) {
	for _, hold := range []time.Duration{5 * time.Millisecond, 20 * time.Millisecond} {
		p := newPath(t, 50, 40*time.Millisecond, 1, 0)
		p.lump, p.hold = 1000, hold
		f := p.add(mustNew(t, "bbr", Config{}))
		var most int64
		f.trace = func(f *flow) { most = max(most, f.c.Memory().Bandwidth) }
		p.run(10 * time.Second)
		if got := float64(most) / p.rate; got > 1.05 || got < 0.95 {
			t.Errorf("ACKs every %v: bandwidth %.3f of the link's, want 0.95 to 1.05 (%v)", hold, got, f)
		}
		if share := p.share(5 * time.Second)[0]; share < 0.9 {
			t.Errorf("ACKs every %v: %.2f of the link", hold, share)
		}
	}
}

// What is lost at random is made up for: a path that loses a twentieth carries what
// it can, and the queue stays empty.
func TestBBRMakesUpForRandomLoss(t *testing.T) {
	p := newPath(t, 50, 40*ms, 1, 0.05)
	f := p.add(mustNew(t, "bbr", Config{Params: Params{"loss_threshold": 0.2}}))
	p.run(5 * time.Second)
	sent := float64(f.delivered + f.lost)
	cruise := f.states["probe bw: cruise"]
	p.run(20 * time.Second)
	if f.states["probe bw: cruise"]-cruise < 5*time.Second {
		t.Fatalf("hardly cruised: %v", f)
	}
	b := f.c.(*bbr)
	if b.randomLoss < 0.03 || b.randomLoss > 0.07 {
		t.Errorf("random loss %.3f, want about 0.05", b.randomLoss)
	}
	if used := (float64(f.delivered+f.lost) - sent) / (20 * p.rate); used < 0.97 {
		t.Errorf("sent %.3f of the link, want 0.97: %v", used, f)
	}
	if srtt := f.srtt; srtt > 2*p.rtt {
		t.Errorf("a round trip of %v", srtt)
	}
}

// Where there is next to no queue it is the pace that causes losses. They are not
// taken for random ones, which would raise the pace further.
func TestBBRDoesNotMakeUpForItsOwnLosses(t *testing.T) {
	for _, queue := range []float64{0.02, 0.05, 0.1} {
		p := newPath(t, 50, 40*ms, queue, 0)
		f := p.add(mustNew(t, "bbr", Config{Params: Params{"loss_threshold": 0.2}}))
		p.run(5 * time.Second)
		delivered, lost := f.delivered, f.lost
		p.run(20 * time.Second)
		share := float64(f.lost-lost) / float64(f.lost-lost+f.delivered-delivered)
		if share > 0.02 {
			t.Errorf("queue of %v BDP: %.3f of what is sent is lost: %v", queue, share, f)
		}
	}
}
