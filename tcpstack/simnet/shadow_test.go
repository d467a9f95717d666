package simnet

import (
	"math/rand/v2"
	"testing"
	"time"

	"accd/splice"
	"accd/tcpstack"
)

// busyRTT is the round trip of the whole path of a busySender.
const busyRTT = 40 * time.Millisecond

// busySender is a network in which the server sends for a long time and never
// pauses, and its first bytes go past accd.
func busySender(t *testing.T, algorithm string, before, behind float64) Config {
	near := Symmetric(Impairments{Rate: 5e6, Queue: 150e3, Delay: busyRTT / 4})
	far := near
	near.Back.Loss, far.Back.Loss = behind, before
	host := endpoint(t, algorithm, 1<<20)
	return Config{
		Hosts:   [2]HostConfig{host, host},
		Scripts: [2]Script{{CloseLast: true}, {Steps: []Step{{Wait: 100 * time.Millisecond, Bytes: 6 << 20}}}},
		Near:    near, Far: far,
		Box:    BoxConfig{Legs: [2]tcpstack.Config{host.Stack, host.Stack}},
		Faults: []Fault{{Kind: Recreate, At: 80 * time.Millisecond, For: 400 * time.Millisecond}},
	}
}

// TestBusySender: a sender that never pauses is in custody within some round trips
// after accd sees it, whatever it loses on either side of accd.
func TestBusySender(t *testing.T) {
	const lossy, within = 0.05, 12 * busyRTT
	for _, algorithm := range []string{"reno", "cubic", "bbr"} {
		for _, where := range []struct {
			name           string
			before, behind float64
		}{{"no loss", 0, 0}, {"before accd", lossy, 0}, {"behind accd", 0, lossy}, {"on both sides", lossy, lossy}} {
			t.Run(algorithm+"/"+where.name, func(t *testing.T) {
				var worst time.Duration
				var adopted int
				each(t, 20, func(s *Sim, _ uint64) error {
					n := NewNetwork(s, busySender(t, algorithm, where.before, where.behind))
					check := s.Check
					var seen, custody time.Duration
					s.Check = func() {
						check()
						if seen == 0 && n.Box.Count.PassedBytes > 0 {
							seen = s.Since()
						}
						if custody == 0 && n.Box.Count.Custodies > 0 {
							custody = s.Since()
							if seen == 0 {
								seen = custody // with its first byte
							}
						}
					}
					err := n.Run()
					if err == nil && (custody == 0 || custody-seen > within) {
						t.Errorf("custody began at %v, the sender was seen at %v: %v", custody, seen, n.Box.count.By)
					}
					worst, adopted = max(worst, custody-seen), adopted+n.Box.Count.Adopted
					return err
				})
				t.Logf("custody began at the latest after %v, %.1f round trips; %d times with bytes on their way", worst, float64(worst)/float64(busyRTT), adopted)
			})
		}
	}
}

// TestRandomBusy lets packets go past accd and come back at random in the middle of
// transfers, lets it let go and take back, and impairs both legs.
func TestRandomBusy(t *testing.T) {
	sum := networks(t, 2000, func(seed uint64) Config {
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
			c.Scripts[i] = Script{Steps: []Step{{Bytes: int64(d.between(1e3, 500e3))}}, CloseLast: i == 0 && d.chance(0.3)}
		}
		return c
	})
	if *seed == 0 && *seeds == 0 && *spend == 0 && sum.Adopted < 2000/patience/20 {
		t.Errorf("%d custodies began with bytes on their way: this shows little", sum.Adopted)
	}
}
