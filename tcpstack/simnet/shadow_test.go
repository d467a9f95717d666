package simnet

import (
	"math/rand/v2"
	"testing"
	"time"

	"accd/splice"
	"accd/tcpstack"
)

// busySender is a network in which the server sends for a long time and never
// pauses, and packets go past accd for a while at the start of it: with impaired
// paths on both sides.
func busySender(t *testing.T, algorithm string, loss float64, before, behind bool) Config {
	imp := func(lossy bool) Path {
		i := Impairments{Rate: 5e6, Queue: 150e3, Delay: 10 * time.Millisecond}
		p := Symmetric(i)
		if lossy {
			p.Back.Loss = loss
		}
		return p
	}
	c := Config{
		Hosts:   [2]HostConfig{endpoint(t, algorithm, 1<<20), endpoint(t, algorithm, 1<<20)},
		Scripts: [2]Script{{}, {Steps: []Step{{Bytes: 6 << 20}}}},
		Near:    imp(behind), Far: imp(before),
		Box:    BoxConfig{Legs: [2]tcpstack.Config{endpoint(t, algorithm, 1<<20).Stack, endpoint(t, algorithm, 1<<20).Stack}},
		Faults: []Fault{{Kind: Recreate, At: 300 * time.Millisecond, For: 200 * time.Millisecond}},
	}
	c.Scripts[splice.Client].CloseLast = true
	return c
}

// TestBusySender: a sender that never pauses is in custody within some round trips
// after accd sees it again, whatever it loses on either side of accd.
func TestBusySender(t *testing.T) {
	const rtt = 40 * time.Millisecond
	for _, algorithm := range []string{"reno", "cubic", "bbr"} {
		for _, where := range []struct {
			name           string
			before, behind bool
		}{{"no loss", false, false}, {"before accd", true, false}, {"behind accd", false, true}, {"on both sides", true, true}} {
			t.Run(algorithm+"/"+where.name, func(t *testing.T) {
				var worst time.Duration
				var taken, passed int64
				for seed := uint64(1); seed <= 10; seed++ {
					s := New(seed)
					n := NewNetwork(s, busySender(t, algorithm, 0.05, where.before, where.behind))
					check := s.Check
					var back, custody time.Duration
					s.Check = func() {
						check()
						switch {
						case back == 0 && s.Since() > 400*time.Millisecond && !n.Box.busy:
							back = s.Since()
						case back != 0 && custody == 0 && n.Box.flow != nil && n.Box.flow.State() == splice.InCustody:
							custody = s.Since()
						}
					}
					if err := n.Run(); err != nil {
						t.Fatalf("seed %d: %v", seed, err)
					}
					if custody == 0 {
						t.Errorf("seed %d: custody never began again: %v", seed, n.Box.count.By)
						continue
					}
					worst = max(worst, custody-back)
					taken += n.Box.Count.TakenBytes
					passed += n.Box.Count.PassedBytes
				}
				t.Logf("custody began at the latest %v after the gap (%.1f round trips); %d bytes taken, %d passed", worst, float64(worst)/float64(rtt), taken, passed)
			})
		}
	}
}

// TestRandomBusy lets packets go past accd and come back at random in the middle of
// long transfers, lets it let go and take back, and impairs both legs.
func TestRandomBusy(t *testing.T) {
	sum := networks(t, 1000, func(seed uint64) Config {
		c := Random(seed)
		d := dice{rand.New(rand.NewPCG(seed, 0x5ade))}
		c.Forged, c.Faults = nil, nil
		for range 1 + d.IntN(5) {
			kinds := []FaultKind{LetGo, Hang, Lapse, LapseOne, Recreate}
			c.Faults = append(c.Faults, Fault{
				Kind: kinds[d.IntN(len(kinds))], At: d.duration(10*time.Millisecond, 5*time.Second),
				For: d.duration(time.Millisecond, time.Second), Side: splice.Side(d.IntN(2)),
			})
		}
		for i := range c.Scripts {
			c.Scripts[i] = Script{Steps: []Step{{Bytes: int64(d.between(1e3, 500e3))}}, CloseLast: d.chance(0.3) && i == 0}
		}
		return c
	})
	if *seed == 0 && *seeds == 0 && sum.Adopted < sum.Custodies/50 {
		t.Errorf("of %d custodies %d began with bytes on their way", sum.Custodies, sum.Adopted)
	}
}
