package simnet

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"accd/splice"
	"accd/tcpstack"
	"accd/tcpstack/cc"
)

// dice makes random networks. What it rolls is small, so that thousands of
// networks fit in a minute, and odd, so that each has something to say.
type dice struct{ *rand.Rand }

func (d dice) chance(p float64) bool { return d.Float64() < p }

// between gives a number whose logarithm is evenly spread over [lo, hi].
func (d dice) between(lo, hi float64) float64 {
	return math.Exp(math.Log(lo) + d.Float64()*(math.Log(hi)-math.Log(lo)))
}

func (d dice) duration(lo, hi time.Duration) time.Duration {
	return time.Duration(d.between(float64(lo), float64(hi)))
}

// impairments rolls one direction of a path.
func (d dice) impairments() Impairments {
	i := Impairments{Delay: d.duration(50*time.Microsecond, 150*time.Millisecond), GRO: d.chance(0.6)}
	if d.chance(0.8) {
		i.Rate = int64(d.between(50e3, 125e6))
		if d.chance(0.5) {
			i.Queue = int(d.between(6000, 300e3))
		}
	}
	if d.chance(0.3) {
		i.Jitter = d.duration(10*time.Microsecond, i.Delay)
	}
	if d.chance(0.5) {
		i.Loss = d.between(0.0005, 0.05)
	}
	if d.chance(0.2) {
		i.Burst, i.BurstLen = d.between(0.0005, 0.01), 1+d.IntN(12)
	}
	if d.chance(0.25) {
		i.Reorder, i.ReorderBy = d.between(0.001, 0.05), d.duration(10*time.Microsecond, 30*time.Millisecond)
	}
	if d.chance(0.2) {
		i.Duplicate = d.between(0.001, 0.03)
	}
	if d.chance(0.2) {
		i.Corrupt = d.between(0.0005, 0.01)
	}
	if d.chance(0.1) {
		i.MTU = 600 + d.IntN(900)
	}
	if d.chance(0.05) {
		from := Start.Add(d.duration(10*time.Millisecond, 10*time.Second))
		i.Outages = []Outage{{from, from.Add(d.duration(100*time.Millisecond, 8*time.Second))}}
	}
	return i
}

// path rolls both directions, mostly with the same delay.
func (d dice) path() Path {
	p := Path{d.impairments(), d.impairments()}
	if d.chance(0.8) {
		p.Back.Delay = p.Out.Delay
	}
	return p
}

// stack rolls what a Conn is configured as.
func (d dice) stack() tcpstack.Config {
	names := cc.Names()
	control, err := cc.Constructor(names[d.IntN(len(names))], nil)
	if err != nil {
		panic("BUG: simnet: " + err.Error())
	}
	cfg := tcpstack.Config{NewController: control, Buffer: int(d.between(4<<10, 1<<20))}
	if d.chance(0.2) {
		cfg.NoSegmentation = true
	}
	return cfg
}

// host rolls an endpoint.
func (d dice) host(is6 bool) HostConfig {
	h := HostConfig{
		Stack: d.stack(), MSS: 1460,
		SACK: d.chance(0.85), Timestamps: d.chance(0.85), WScale: d.IntN(11),
		Clock: d.Uint32(), KeepAlive: 20 * time.Second, SendSpace: int(d.between(8<<10, 1<<20)),
	}
	if is6 {
		h.MSS = 1440
	}
	if d.chance(0.3) {
		h.MSS = uint16(100 + d.IntN(1360))
	}
	if d.chance(0.1) {
		h.WScale = -1
	}
	if d.chance(0.1) {
		h.Clock = -uint32(100e3 + d.IntN(5000)) // wraps in the first seconds
	}
	return h
}

// ecn lets both endpoints, one or none speak ECN, and the path do what paths do to
// marks. It has dice of its own, so that a seed's network is what it was.
func (c *Config) ecn(d dice) {
	policies := []tcpstack.ECNPolicy{tcpstack.ECNOff, tcpstack.ECNGrant, tcpstack.ECNClassic, tcpstack.ECNAccurate, tcpstack.ECNAccurate}
	for i := range c.Hosts {
		c.Hosts[i].Stack.ECN = policies[d.IntN(5)]
	}
	for i := range c.Box.Legs {
		c.Box.Legs[i].ECN = policies[d.IntN(5)] // matters where the handshake is split
	}
	for _, i := range []*Impairments{&c.Near.Out, &c.Near.Back, &c.Far.Out, &c.Far.Back} {
		if d.chance(0.4) {
			i.Mark = d.between(0.001, 0.5)
		}
		if i.Rate > 0 && d.chance(0.4) {
			i.MarkAt = int(d.between(3000, 100e3))
		}
		i.Bleach = d.chance(0.05)
		i.DropECT = d.chance(0.05)
	}
}

// scripts rolls a dialogue: turns of either side, each of which waits at most
// for what was said in turns before it, so that it always comes to an end.
func (d dice) scripts() (s [2]Script) {
	var said [2]int64
	for range 1 + d.IntN(6) {
		side := d.IntN(2)
		step := Step{Bytes: int64(d.between(1, 100e3))}
		if d.chance(0.05) {
			step.Bytes *= 4
		}
		if d.chance(0.7) {
			step.Need = said[1-side]
		}
		if d.chance(0.4) {
			step.Wait = d.duration(time.Millisecond, 3*time.Second)
		}
		s[side].Steps = append(s[side].Steps, step)
		said[side] += step.Bytes
	}
	for i := range s {
		if d.chance(0.2) {
			s[i].ReadRate = int64(d.between(20e3, 5e6))
		}
		for range d.IntN(3) - 1 {
			s[i].Pauses = append(s[i].Pauses, Pause{int64(d.Float64() * float64(said[1-i])), d.duration(10*time.Millisecond, 5*time.Second)})
		}
	}
	switch {
	case d.chance(0.3):
		s[d.IntN(2)].CloseLast = true
	case d.chance(0.05):
		i := d.IntN(2)
		s[i].Abort, s[i].AbortAt = true, int64(d.Float64()*float64(said[1-i]))
	}
	return s
}

// faults rolls what happens to accd. Most of a connection happens early.
func (d dice) faults() (fs []Fault) {
	for range d.IntN(4) {
		f := Fault{
			Kind: FaultKind(d.IntN(Faults)), At: d.duration(20*time.Millisecond, 10*time.Second),
			For: d.duration(time.Millisecond, 4*time.Second), Side: splice.Side(d.IntN(2)),
		}
		if f.Kind == Drain && d.chance(0.5) {
			f.Kind = LetGo // what comes back has more to say
		}
		fs = append(fs, f)
	}
	return fs
}

// attacks rolls n forged packets.
func (d dice) attacks(n int) (as []Attack) {
	for range n {
		as = append(as, Attack{
			Kind: Forgery(d.IntN(Forgeries)), At: d.duration(10*time.Millisecond, 10*time.Second),
			From: splice.Side(d.IntN(2)), Behind: d.chance(0.2),
		})
	}
	return as
}

// paths rolls what the MTU of a path does beside standing still: other sizes for
// either leg, changes in mid-flow, and routers that are not heard.
func (d dice) paths(c *Config) {
	links := []*Impairments{&c.Near.Out, &c.Near.Back, &c.Far.Out, &c.Far.Back}
	least := 560
	if c.Is6 {
		least = 1280 // RFC 8200, 5
	}
	if d.chance(0.15) {
		// A jumbo network; what lies between may be less.
		for i := range c.Hosts {
			c.Hosts[i].Stack.MTU, c.Box.Legs[i].MTU = 9000, 9000
			if c.Hosts[i].MSS > 1400 {
				c.Hosts[i].MSS = 8940
			}
		}
	}
	for _, l := range links {
		if d.chance(0.15) {
			l.MTU = []int{1500, 1492, 1400, 1280, 1280 + d.IntN(500), least + d.IntN(900)}[d.IntN(6)]
		}
		if d.chance(0.1) {
			for range 1 + d.IntN(3) {
				r := Reroute{At: Start.Add(d.duration(10*time.Millisecond, 20*time.Second))}
				if d.chance(0.7) {
					r.MTU = least + d.IntN(1000)
				}
				l.Reroutes = append(l.Reroutes, r)
			}
			slices.SortFunc(l.Reroutes, func(a, b Reroute) int { return cmp.Compare(a.At, b.At) })
		}
		if d.chance(0.5) {
			l.Silence = 1
		} else if d.chance(0.3) {
			l.Silence = d.Float64()
		}
	}
}

// leaps rolls clocks that jump, by seconds to hours.
func (d dice) leaps() (ls []Leap) {
	for range 1 + d.IntN(3) {
		ls = append(ls, Leap{
			At: d.duration(10*time.Millisecond, 20*time.Second), By: d.duration(100*time.Millisecond, 12*time.Hour),
			Box: d.chance(0.5), Side: splice.Side(d.IntN(2)),
		})
	}
	return ls
}

// Random gives the network that a seed stands for.
func Random(seed uint64) Config {
	d := dice{rand.New(rand.NewPCG(seed, 0xd1ce))}
	c := Config{Is6: d.chance(0.3), Near: d.path(), Far: d.path(), Scripts: d.scripts()}
	if c.Is6 {
		// RFC 8200, 5: no link of IPv6 has a smaller MTU.
		for _, i := range []*Impairments{&c.Near.Out, &c.Near.Back, &c.Far.Out, &c.Far.Back} {
			if i.MTU > 0 {
				i.MTU = max(i.MTU, 1280)
			}
		}
	}
	c.Hosts = [2]HostConfig{d.host(c.Is6), d.host(c.Is6)}
	c.Box = BoxConfig{Legs: [2]tcpstack.Config{d.stack(), d.stack()}, MaxBuffer: int(d.between(64<<10, 4<<20))}
	if d.chance(0.1) {
		c.Box.Budget = 1 << 20
	}
	if d.chance(0.2) {
		c.Box.MSS = 536 + d.IntN(1000)
	}
	if d.chance(0.5) {
		c.Box.Batch = d.duration(10*time.Microsecond, time.Millisecond)
	}
	if d.chance(0.6) {
		c.Faults = d.faults()
	}
	if d.chance(0.3) {
		c.Forged = d.attacks(1 + d.IntN(5))
	}
	c.ecn(dice{rand.New(rand.NewPCG(seed, 0xec))})
	// Rolled apart, so that a seed means the same network otherwise.
	d = dice{rand.New(rand.NewPCG(seed, 0x307))}
	if d.chance(0.5) {
		d.paths(&c)
	}
	if d.chance(0.1) {
		c.Leaps = d.leaps()
	}
	return c
}
