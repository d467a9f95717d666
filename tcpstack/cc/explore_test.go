package cc

import (
	"testing"
	"time"
)

func TestExplore(t *testing.T) {
	for _, alg := range []string{"bbr", "cubic", "reno"} {
		for _, loss := range []float64{0, .001, .01, .02} {
			for _, rtt := range []time.Duration{20 * time.Millisecond, 80 * time.Millisecond} {
				for _, lump := range []int{2, 45} {
					p := newPath(t, 100, rtt, 1, loss)
					p.lump = lump
					if lump > 2 {
						p.hold = 5 * time.Millisecond
					}
					f := p.add(mustNew(t, alg, Config{}))
					s0 := p.share(2 * time.Second)
					s := p.share(20 * time.Second)
					t.Logf("%s loss %v rtt %v lump %d: first %.3f then %.3f  %v", alg, loss, rtt, lump, s0[0], s[0], f)
				}
			}
		}
	}
}
func TestDemo(t *testing.T) {
	for _, lump := range []int{2, 45} {
		for _, mem := range []Memory{{}, {MinRTT: 80 * time.Millisecond}} {
			p := newPath(t, 100, 80*time.Millisecond, 1, 0)
			p.lump = lump
			p.hold = 5 * time.Millisecond
			p.losses = func(n int) bool { return n%1000 == 150 }
			f := p.add(mustNew(t, "bbr", Config{Memory: mem}))
			last := ""
			var lastB int64
			t0 := p.now
			f.trace = func(f *flow) {
				if s := f.c.State(); s != last {
					t.Logf("%v %s: delivered %d cwnd %d rate %d bw %d inflight %d", p.now.Sub(t0), s, f.delivered, f.c.Window(), f.c.Rate(), f.c.Memory().Bandwidth, f.inFlight)
					last = s
				}
				if p.now.Sub(t0) > time.Duration(lastB)*100*time.Millisecond {
					b := f.c.(*bbr)
					t.Logf("   %v del %d cwnd %d rate %d short %d long %d full %d/%d", p.now.Sub(t0), f.delivered, f.c.Window(), f.c.Rate(), b.bwShort, b.inflightLong, b.fullBW, b.fullCount)
					lastB++
				}
			}
			for f.delivered < 32<<20 {
				p.run(time.Millisecond)
			}
			t.Logf("lump %d mem %v: %v share %.3f, lost %d", lump, mem, p.now.Sub(t0), float64(f.delivered)/p.rate/p.now.Sub(t0).Seconds(), f.lost/simMSS)
		}
	}
}
