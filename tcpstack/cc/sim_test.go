package cc

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"accd/tcpstack/mono"
)

var seedFlag = flag.Uint64("seed", 1, "seed of the simulated losses")

const simMSS = 1448

// path is one bottleneck: a rate, a delay, a queue, random losses. Time is
// virtual. There is no reordering, so a packet is lost when one sent three or
// more later was delivered. What a flow lost it sends again as new packets.
type path struct {
	rate   float64 // bytes per second
	rtt    time.Duration
	buffer float64          // bytes
	loss   float64          // share of packets
	losses func(n int) bool // in addition, by number of the packet; nil: none

	// The receiver acknowledges every lump segments, or after hold.
	lump int
	hold time.Duration

	rng   *rand.Rand
	now   mono.Time
	busy  mono.Time // until then the bottleneck has something to send
	flows []*flow
}

// packet is one segment, with what the rate sample needs (draft 4.1.2.1).
type packet struct {
	id                     int
	sent, acked            mono.Time // acked: 0 if lost
	delivered, lost        int64
	deliveredAt, firstSent mono.Time
	inFlight               int
	appLimited             bool
}

// flow is one sender, with as much of a stack as a Controller can tell.
type flow struct {
	c       Controller
	path    *path
	start   mono.Time
	limit   int // bytes to send; 0: no end
	pause   bool
	packets []packet // in flight, in order of sending
	lump    int      // packets at the end of packets the receiver holds an ACK for
	lumpAt  mono.Time

	nextSend    mono.Time
	burst       int           // bytes of the current quantum left
	debt        time.Duration // time it takes
	sentBytes   int
	inFlight    int
	limited     bool // by the window, since the last ACK
	next        int
	delivered   int64
	lost        int64
	deliveredAt mono.Time
	firstSent   mono.Time
	appLimited  int64
	srtt, min   time.Duration
	recovery    bool
	recoverTo   int
	lastAck     mono.Time

	states map[string]time.Duration
	trace  func(*flow)
}

func newPath(tb testing.TB, mbit float64, rtt time.Duration, bdps, loss float64) *path {
	tb.Logf("seed %d", *seedFlag)
	p := &path{rate: mbit * 1e6 / 8, rtt: rtt, loss: loss, lump: 2, hold: time.Millisecond, now: mono.Time(time.Second)}
	p.buffer = bdps * p.rate * rtt.Seconds()
	p.rng = rand.New(rand.NewPCG(*seedFlag, 7))
	return p
}

func (p *path) add(c Controller) *flow {
	f := &flow{c: c, path: p, start: p.now, nextSend: p.now, states: map[string]time.Duration{}}
	p.flows = append(p.flows, f)
	return f
}

// run lets time pass.
func (p *path) run(d time.Duration) {
	for end := p.now.Add(d); ; {
		at, step := end, func() {}
		for _, f := range p.flows {
			if t := f.nextAck(); t < at {
				at, step = t, f.ack
			}
			if t := f.sendTime(); t < at {
				at, step = t, f.send
			}
			if t := f.timeoutTime(); t < at {
				at, step = t, f.timeout
			}
		}
		for _, f := range p.flows {
			f.states[f.c.State()] += at.Sub(p.now)
		}
		p.now = at
		if at == end {
			return
		}
		step()
	}
}

// carry puts a packet through the bottleneck, and gives when it arrives at the
// receiver; ok is false if it is lost.
func (p *path) carry(n int) (at mono.Time, ok bool) {
	if p.rng.Float64() < p.loss || p.losses != nil && p.losses(n) {
		return 0, false
	}
	p.busy = max(p.busy, p.now)
	if p.busy.Sub(p.now).Seconds()*p.rate > p.buffer {
		return 0, false
	}
	p.busy = p.busy.Add(time.Duration(simMSS / p.rate * 1e9))
	return p.busy, true
}

func (f *flow) sendTime() mono.Time {
	if f.pause || f.limit != 0 && f.sentBytes >= f.limit {
		if f.appLimited == 0 && f.inFlight < f.c.Window() {
			f.appLimited = max(f.delivered+int64(f.inFlight), 1)
		}
		return mono.Never
	}
	if f.inFlight+simMSS > f.c.Window() {
		f.limited = true
		return mono.Never
	}
	return max(f.nextSend, f.path.now)
}

func (f *flow) send() {
	p := f.path
	if f.inFlight == 0 {
		f.firstSent, f.deliveredAt, f.lastAck = p.now, p.now, p.now
	}
	f.c.Sent(p.now, simMSS, f.inFlight)
	f.inFlight += simMSS
	f.next++
	k := packet{
		id: f.next, sent: p.now, delivered: f.delivered, lost: f.lost, deliveredAt: f.deliveredAt,
		firstSent: f.firstSent, inFlight: f.inFlight, appLimited: f.appLimited != 0,
	}
	if at, ok := p.carry(f.next); ok {
		if f.lump == 0 || at.Sub(f.lumpAt) > p.hold {
			f.lump, f.lumpAt = 0, at
		}
		f.lump++
		k.acked = f.lumpAt.Add(p.hold + p.rtt)
		if f.lump >= p.lump {
			for i := len(f.packets) - 1; i >= 0 && f.lump > 1; i-- {
				if f.packets[i].acked != 0 {
					f.packets[i].acked = at.Add(p.rtt)
					f.lump--
				}
			}
			k.acked = at.Add(p.rtt)
			f.lump = 0
		}
	}
	f.packets = append(f.packets, k)
	f.sentBytes += simMSS

	// Pace in quanta.
	rate := float64(f.c.Rate())
	if rate == 0 {
		if f.srtt == 0 {
			return
		}
		gain := 1.2
		if m := f.c.Memory(); m.Ssthresh == 0 || m.Window < m.Ssthresh {
			gain = 2
		}
		rate = gain * float64(f.c.Window()) / f.srtt.Seconds()
	}
	if f.burst <= 0 {
		f.burst = Quantum(int64(rate), simMSS)
		f.debt = 0
	}
	f.burst -= simMSS
	f.debt += time.Duration(simMSS / rate * 1e9)
	if f.burst <= 0 { // the quantum leaves at once, its time is paid after it
		f.nextSend = max(f.nextSend, p.now).Add(f.debt)
	}
}

func (f *flow) nextAck() mono.Time {
	for i := range f.packets {
		if t := f.packets[i].acked; t != 0 {
			return t
		}
	}
	return mono.Never
}

func (f *flow) rto() time.Duration { return max(2*f.srtt, 300*time.Millisecond) }

func (f *flow) timeoutTime() mono.Time {
	if f.inFlight == 0 {
		return mono.Never
	}
	return f.lastAck.Add(f.rto())
}

func (f *flow) timeout() {
	p := f.path
	f.lost += int64(f.inFlight)
	f.inFlight = 0
	f.packets = f.packets[:0]
	f.lump = 0
	f.recovery, f.recoverTo = true, f.next
	f.lastAck = p.now
	f.c.Congested(p.now, Signal{Kind: Timeout, Delivered: f.delivered, LostTotal: f.lost})
}

func (f *flow) ack() {
	p := f.path
	f.lastAck = p.now
	a := Ack{PriorInFlight: f.inFlight, CwndLimited: f.limited, MinRTT: f.min}
	f.limited = false
	newest, end := -1, 0 // packets arrive in order: only a prefix matters
	for ; end < len(f.packets) && f.packets[end].acked <= p.now; end++ {
		if f.packets[end].acked != 0 {
			newest = end
			a.Acked += simMSS
		}
	}
	k := f.packets[newest]
	f.inFlight -= a.Acked
	f.delivered += int64(a.Acked)
	f.deliveredAt = p.now
	a.PriorDelivered, a.PriorLost, a.TxInFlight, a.AppLimited = k.delivered, k.lost, k.inFlight, k.appLimited
	sendElapsed, ackElapsed := k.sent.Sub(k.firstSent), p.now.Sub(k.deliveredAt)
	f.firstSent = k.sent
	a.RTT = p.now.Sub(k.sent)
	if f.recovery && k.id > f.recoverTo {
		f.recovery = false
		f.c.Congested(p.now, Signal{Kind: Exit, InFlight: f.inFlight, Delivered: f.delivered, LostTotal: f.lost})
	}
	if f.appLimited != 0 && f.delivered > f.appLimited {
		f.appLimited = 0
	}
	// Losses: everything sent three packets before the newest delivered one.
	var kept []packet
	for _, l := range f.packets[:end] {
		if l.acked != 0 {
			continue
		}
		if l.id+3 > k.id {
			kept = append(kept, l)
			continue
		}
		f.lost += simMSS
		f.inFlight -= simMSS
		f.sentBytes -= simMSS
		a.Lost += simMSS
		s := Signal{
			Kind: Loss, First: !f.recovery, Bytes: simMSS, InFlight: f.inFlight, TxInFlight: l.inFlight,
			Delivered: f.delivered, PriorDelivered: l.delivered, LostTotal: f.lost, PriorLost: l.lost, AppLimited: l.appLimited,
		}
		if !f.recovery {
			f.recovery, f.recoverTo = true, f.next
		}
		f.c.Congested(p.now, s)
	}
	f.packets = f.packets[end-len(kept):]
	copy(f.packets, kept)

	if f.srtt == 0 {
		f.srtt, f.min = a.RTT, a.RTT
	}
	f.srtt += (a.RTT - f.srtt) / 8
	f.min = min(f.min, a.RTT)
	a.SRTT, a.MinRTT, a.InFlight, a.Recovery = f.srtt, f.min, f.inFlight, f.recovery
	a.Delivered, a.LostTotal = f.delivered, f.lost
	a.Interval = max(sendElapsed, ackElapsed)
	if a.Interval >= f.min {
		a.Rate = int64(float64(a.Delivered-a.PriorDelivered) / a.Interval.Seconds())
	}
	f.c.Acked(p.now, &a)
	if f.trace != nil {
		f.trace(f)
	}
}

// share runs for d and gives the share of the link's rate each flow had.
func (p *path) share(d time.Duration) []float64 {
	before := make([]int64, len(p.flows))
	for i, f := range p.flows {
		before[i] = f.delivered
	}
	p.run(d)
	shares := make([]float64, len(p.flows))
	for i, f := range p.flows {
		shares[i] = float64(f.delivered-before[i]) / (p.rate * d.Seconds())
	}
	return shares
}

func mustNew(tb testing.TB, name string, cfg Config) Controller {
	tb.Helper()
	if cfg.MSS == 0 {
		cfg.MSS = simMSS
	}
	c, err := New(name, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func (f *flow) String() string {
	m := f.c.Memory()
	return fmt.Sprintf("%s: window %d, rate %d, bandwidth %d, lost %.2f %%, %v",
		f.c.State(), f.c.Window(), f.c.Rate(), m.Bandwidth, 100*float64(f.lost)/float64(f.delivered+f.lost+1), f.states)
}
