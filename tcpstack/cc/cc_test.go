package cc

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"accd/tcpstack/mono"
)

// Every algorithm has a row here.
var shared = []struct {
	name string
	// Share of a link of 100 Mbit/s, 20 ms and a queue of one BDP, after two
	// seconds, without losses.
	share float64
	// The first window at most, in segments, and what slow start multiplies it
	// by in a round trip of 100 ms.
	first  int
	growth float64
	// Losses reduce the window, once per episode.
	reduces bool
}{
	{"bbr", 0.95, 10, 2, false},
	{"cubic", 0.95, 10, 2, true},
	{"hybla", 0.95, 10, 4, true},
	{"ledbat", 0.8, 2, 1.5, true}, // it is away a tenth of the time
	{"reno", 0.9, 10, 2, true},
}

func each(t *testing.T, f func(t *testing.T, name string)) {
	for _, row := range shared {
		t.Run(row.name, func(t *testing.T) { f(t, row.name) })
	}
}

// row gives the row of an algorithm.
func row(name string) (share float64, first int, growth float64, reduces bool) {
	for _, r := range shared {
		if r.name == name {
			return r.share, r.first, r.growth, r.reduces
		}
	}
	panic("no row for " + name)
}

func TestSharedTableIsComplete(t *testing.T) {
	if len(shared) != len(Names()) {
		t.Fatalf("the table has %d rows, there are %v", len(shared), Names())
	}
}

func TestFillsTheLink(t *testing.T) {
	for _, row := range shared {
		p := newPath(t, 100, 20*time.Millisecond, 1, 0)
		f := p.add(mustNew(t, row.name, Config{}))
		p.run(2 * time.Second)
		if got := p.share(8 * time.Second)[0]; got < row.share {
			t.Errorf("%s: %.3f of the link, want %.2f (%v)", row.name, got, row.share, f)
		}
	}
}

// RFC 6928: the first window is ten segments unless the configuration says so,
// or the algorithm is a modest one.
func TestInitialWindow(t *testing.T) {
	each(t, func(t *testing.T, name string) {
		_, first, _, _ := row(name)
		if got := mustNew(t, name, Config{}).Window(); got != first*simMSS {
			t.Errorf("window %d, want %d segments", got, first)
		}
		if got := mustNew(t, name, Config{InitialWindow: 4}).Window(); got != min(first, 4)*simMSS {
			t.Errorf("window %d, want %d segments", got, min(first, 4))
		}
	})
}

// RFC 5681, 3.1: in slow start the window grows by what is acknowledged; others
// say by how much of it.
func TestSlowStartGrows(t *testing.T) {
	each(t, func(t *testing.T, name string) {
		_, _, growth, _ := row(name)
		l := newLine(mustNew(t, name, Config{}))
		l.round(l.c.Window()) // it teaches the round trip
		for want := float64(l.c.Window()); want <= 160*simMSS; {
			l.round(l.c.Window())
			want *= growth
			if got := float64(l.c.Window()); got < want-simMSS || got > want+simMSS {
				t.Fatalf("window %.1f segments, want %.1f", got/simMSS, want/simMSS)
			}
		}
	})
}

// RFC 5681, 3.1: after a timeout one segment leaves, and the window grows again
// although the stack is in recovery. draft-ietf-ccwg-bbr, 5.6.4.4: the same.
func TestTimeout(t *testing.T) {
	each(t, func(t *testing.T, name string) {
		l := newLine(mustNew(t, name, Config{}))
		l.round(10 * simMSS)
		l.round(20 * simMSS)
		before := l.c.Window()
		l.send(before)
		l.timeout()
		if got := l.c.Window(); got != simMSS {
			t.Errorf("window %d after a timeout, want one segment", got)
		}
		l.recovery = true
		l.round(simMSS)
		if got := l.c.Window(); got < 2*simMSS {
			t.Errorf("window %d after the first ACK, want growth", got)
		}
		l.timeout()
		m := l.c.Memory()
		l.timeout() // the same data once more
		if name != "bbr" && l.c.Memory().Ssthresh != m.Ssthresh {
			t.Errorf("ssthresh %d after the second timeout, was %d", l.c.Memory().Ssthresh, m.Ssthresh)
		}
		l.c.Congested(l.now, Signal{Kind: Spurious, Delivered: l.delivered})
		l.recovery = false
		if got := l.c.Window(); got < 2*simMSS {
			t.Errorf("window %d after undo, want at least that before the timeout", got)
		}
	})
}

// RFC 4015, RFC 9438 4.9, draft-ietf-ccwg-bbr 5.5.11: an unnecessary reduction
// is taken back.
func TestSpuriousLoss(t *testing.T) {
	each(t, func(t *testing.T, name string) {
		l := newLine(mustNew(t, name, Config{}))
		for range 6 {
			l.round(l.c.Window())
		}
		before, m := l.c.Window(), l.c.Memory()
		l.lose(1)
		if name != "bbr" && l.c.Window() >= before {
			t.Errorf("window %d after a loss, was %d", l.c.Window(), before)
		}
		l.c.Congested(l.now, Signal{Kind: Spurious, Delivered: l.delivered})
		if got := l.c.Window(); got < before {
			t.Errorf("window %d after undo, want %d", got, before)
		}
		if got := l.c.Memory().Ssthresh; got != m.Ssthresh {
			t.Errorf("ssthresh %d after undo, want %d", got, m.Ssthresh)
		}
	})
}

// A mark is never taken back: what an undo says of a loss behind it, for which
// nothing was reduced, says nothing of it (RFC 3168, 6.1.2).
func TestSpuriousLossAfterMark(t *testing.T) {
	for _, name := range Names() {
		if _, _, _, reduces := row(name); !reduces {
			continue
		}
		l := newLine(mustNew(t, name, Config{}))
		for range 6 {
			l.round(l.c.Window())
		}
		before := l.c.Window()
		l.c.Congested(l.now, Signal{Kind: ECN, Delivered: l.delivered})
		reduced := l.c.Window()
		l.c.Congested(l.now, Signal{Kind: Loss, Bytes: simMSS, Delivered: l.delivered})
		l.c.Congested(l.now, Signal{Kind: Spurious, Delivered: l.delivered})
		if got := l.c.Window(); reduced >= before || got != reduced {
			t.Errorf("%s: window %d, %d after a mark, %d after undo", name, before, reduced, got)
		}
	}
}

// One reduction per episode, and CE marks count like losses.
func TestOneReductionPerEpisode(t *testing.T) {
	for _, name := range Names() {
		if _, _, _, reduces := row(name); !reduces {
			continue
		}
		l := newLine(mustNew(t, name, Config{}))
		for range 6 {
			l.round(l.c.Window())
		}
		l.send(l.c.Window())
		l.lose(5)
		reduced := l.c.Window()
		l.c.Congested(l.now, Signal{Kind: ECN, InFlight: l.inFlight})
		l.lose(3)
		if got := l.c.Window(); got != reduced {
			t.Errorf("%s: window %d, want %d until recovery ends", name, got, reduced)
		}
		l.recovery = false
		l.c.Congested(l.now, Signal{Kind: Exit, InFlight: l.inFlight})
		l.c.Congested(l.now, Signal{Kind: ECN, InFlight: l.inFlight})
		if got := l.c.Window(); got >= reduced {
			t.Errorf("%s: window %d after a CE mark, was %d", name, got, reduced)
		}
	}
}

// A controller made with the Memory of another goes on where that one was.
func TestMemory(t *testing.T) {
	each(t, func(t *testing.T, name string) {
		p := newPath(t, 50, 40*time.Millisecond, 1, 0)
		f := p.add(mustNew(t, name, Config{}))
		for _, d := range []time.Duration{150 * time.Millisecond, 4 * time.Second} { // early, and in steady state
			p.run(d)
			m := f.c.Memory()
			c := mustNew(t, name, Config{Memory: m})
			if got := c.Window(); got != m.Window {
				t.Errorf("after %v: window %d, want %d", d, got, m.Window)
			}
			if got := c.Memory(); got != m {
				t.Errorf("after %v: memory %+v, want %+v", d, got, m)
			}
		}
		share, _, _, _ := row(name)
		if m := f.c.Memory(); m.Bandwidth < int64(0.85*share*p.rate) || m.Bandwidth > int64(1.1*p.rate) || m.MinRTT < p.rtt {
			t.Errorf("memory %+v of a link of %.0f bytes/s", m, p.rate)
		}
	})
}

// Whatever happens, the window is at least a segment and the rate not negative,
// and nothing is allocated.
func TestAnyEvents(t *testing.T) {
	each(t, func(t *testing.T, name string) {
		t.Logf("seed %d", *seedFlag)
		rng := rand.New(rand.NewPCG(*seedFlag, 1))
		for range 50 {
			l := newLine(mustNew(t, name, Config{Seed: rng.Uint64(), NoSACK: rng.IntN(4) == 0}))
			step := func() {
				switch l.now = l.now.Add(time.Duration(rng.ExpFloat64() * 1e7)); rng.IntN(12) {
				case 0:
					l.timeout()
					l.recovery = true
				case 1:
					l.lose(rng.IntN(40))
				case 2:
					l.recovery = false
					l.c.Congested(l.now, Signal{Kind: Exit, InFlight: l.inFlight})
				case 3:
					l.c.Congested(l.now, Signal{Kind: Spurious, InFlight: l.inFlight})
					l.recovery = false
				case 4:
					l.c.Congested(l.now, Signal{Kind: ECN, InFlight: l.inFlight})
				case 5:
					l.now = l.now.Add(time.Duration(rng.Int64N(20e9)))
				case 6, 7, 8:
					l.send(rng.IntN(64 << 10))
				default:
					l.appLimited = rng.IntN(3) == 0
					l.ack(rng.IntN(max(l.inFlight, 1)), time.Duration(rng.Int64N(3e8)), int64(rng.IntN(1<<uint(rng.IntN(40)+1))))
				}
				if w, r := l.c.Window(), l.c.Rate(); w < simMSS || r < 0 {
					t.Fatalf("window %d, rate %d in %s", w, r, l.c.State())
				}
				if m := l.c.Memory(); m.Window < simMSS || m.Ssthresh < 0 || m.Bandwidth < 0 {
					t.Fatalf("memory %+v in %s", m, l.c.State())
				}
			}
			if n := testing.AllocsPerRun(400, step); n != 0 {
				t.Fatalf("%v allocations per event", n)
			}
		}
	})
}

func TestUnknownNames(t *testing.T) {
	for _, tc := range []struct {
		name   string
		params Params
		want   []string
	}{
		{"vegas", nil, []string{"vegas", "bbr, cubic, hybla, ledbat, reno"}},
		{"cubic", Params{"betta": 1}, []string{"cubic", "betta", "beta", "hystart"}},
		{"bbr", Params{"loss_threshold": 2}, []string{"loss_threshold", "0.001", "0.5"}},
		{"reno", Params{"beta": nan()}, []string{"beta", "NaN"}},
	} {
		_, err := New(tc.name, Config{MSS: simMSS, Params: tc.params})
		if err == nil {
			t.Errorf("%s %v: no error", tc.name, tc.params)
			continue
		}
		for _, w := range tc.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s %v: %q does not say %q", tc.name, tc.params, err, w)
			}
		}
	}
}

func nan() float64 { z := 0.0; return z / z }

// Every default is within its range, and every parameter is used.
func TestParameters(t *testing.T) {
	for _, name := range Names() {
		for _, q := range Parameters(name) {
			for _, v := range []float64{q.Min, q.Default, q.Max} {
				if _, err := New(name, Config{Params: Params{q.Name: v}}); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

// line drives one controller by hand, without a network.
type line struct {
	c          Controller
	now        mono.Time
	rtt        time.Duration
	inFlight   int
	delivered  int64
	lost       int64
	recovery   bool
	appLimited bool
}

func newLine(c Controller) *line {
	return &line{c: c, now: mono.Time(time.Hour), rtt: 100 * time.Millisecond}
}

func (l *line) send(n int) {
	for ; n > 0; n -= simMSS {
		l.c.Sent(l.now, min(n, simMSS), l.inFlight)
		l.inFlight += min(n, simMSS)
	}
}

// ack acknowledges n bytes of those sent one round trip before.
func (l *line) ack(n int, rtt time.Duration, rate int64) {
	prior := l.inFlight
	n = min(n, prior)
	sentAt := l.delivered - int64(prior) + int64(n)
	l.inFlight -= n
	l.delivered += int64(n)
	l.c.Acked(l.now, &Ack{
		Acked: n, InFlight: l.inFlight, PriorInFlight: prior, RTT: rtt, SRTT: l.rtt, MinRTT: l.rtt,
		Recovery: l.recovery, CwndLimited: !l.appLimited, AppLimited: l.appLimited,
		Delivered: l.delivered, PriorDelivered: max(sentAt, 0), LostTotal: l.lost, PriorLost: l.lost,
		TxInFlight: prior, Interval: l.rtt, Rate: rate,
	})
}

// round sends n bytes and acknowledges them, two segments at a time, in the
// course of one round trip.
func (l *line) round(n int) {
	l.send(n)
	began, window, start := l.delivered, l.inFlight, l.now
	for l.inFlight > 0 {
		prior := l.inFlight
		k := min(2*simMSS, prior)
		l.now = start.Add(time.Duration(float64(l.rtt) * float64(window-prior+k) / float64(window)))
		l.inFlight -= k
		l.delivered += int64(k)
		l.c.Acked(l.now, &Ack{
			Acked: k, InFlight: l.inFlight, PriorInFlight: prior, RTT: l.rtt, SRTT: l.rtt, MinRTT: l.rtt,
			Recovery: l.recovery, CwndLimited: !l.appLimited, AppLimited: l.appLimited,
			Delivered: l.delivered, PriorDelivered: began, LostTotal: l.lost, PriorLost: l.lost, TxInFlight: window,
			Interval: l.rtt, Rate: int64(float64(window) / l.rtt.Seconds()),
		})
	}
}

// lose marks n segments lost; the first begins an episode.
func (l *line) lose(n int) {
	for range n {
		tx := l.inFlight
		l.inFlight = max(0, l.inFlight-simMSS)
		l.lost += simMSS
		l.c.Congested(l.now, Signal{
			Kind: Loss, First: !l.recovery, Bytes: simMSS, InFlight: l.inFlight, TxInFlight: tx,
			Delivered: l.delivered, PriorDelivered: max(0, l.delivered-int64(tx)), LostTotal: l.lost, PriorLost: l.lost - simMSS,
		})
		l.recovery = true
	}
}

func (l *line) timeout() {
	l.lost += int64(l.inFlight)
	l.inFlight = 0
	l.c.Congested(l.now, Signal{Kind: Timeout, Delivered: l.delivered, LostTotal: l.lost})
}

// Many short custodies must not keep the smallest round trip of a path that has
// changed: what was measured long ago yields to the first new sample.
func TestOldSmallestRoundTripYields(t *testing.T) {
	k, err := New("bbr", Config{MSS: 1448, Memory: Memory{
		Window: 100 * 1448, Ssthresh: NoLimit, Bandwidth: 1e6, MinRTT: 20 * time.Millisecond,
		Age: time.Second, MinRTTAge: time.Minute,
	}})
	if err != nil {
		t.Fatal(err)
	}
	now := mono.Time(time.Hour)
	k.Sent(now, 1448, 0)
	k.Acked(now.Add(200*time.Millisecond), &Ack{
		Acked: 1448, RTT: 200 * time.Millisecond, SRTT: 200 * time.Millisecond, MinRTT: 20 * time.Millisecond,
		Delivered: 1448, Interval: 200 * time.Millisecond, Rate: 7240, AppLimited: true, TxInFlight: 1448,
	})
	if got := k.Memory().MinRTT; got != 200*time.Millisecond {
		t.Errorf("smallest round trip %v, want the 200ms just measured", got)
	}
}
