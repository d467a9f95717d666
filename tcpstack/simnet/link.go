package simnet

import (
	"time"

	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// Impairments are what one direction of a path does to packets. Shares are
// probabilities per MTU segment: a superpacket counts as the segments it stands
// for. The zero Impairments pass everything at once.
type Impairments struct {
	Rate      int64         // bytes per second, Ethernet headers included; 0: no limit
	Queue     int           // bytes that may wait for the rate; 0: no limit
	Delay     time.Duration // one way
	Jitter    time.Duration // added at random, order kept
	Loss      float64       // random loss
	Burst     float64       // that a burst of losses begins
	BurstLen  int           // mean length of a burst in segments
	Reorder   float64       // overtaken by what comes within ReorderBy
	ReorderBy time.Duration
	Duplicate float64
	Corrupt   float64 // the checksum will be wrong
	MTU       int     // larger packets are dropped, and a router says so; 0: no limit
	Reroutes  []Reroute
	Silence   float64 // share of what routers say that is lost; 1: they say nothing
	GRO       bool    // segments of a superpacket arrive together where they survive
	Mark      float64 // of ECN-capable segments, with CE
	MarkAt    int     // ECN-capable segments that find more bytes than this waiting are marked; 0: none
	Bleach    bool    // the ECN codepoint is cleared
	DropECT   bool    // ECN-capable segments are dropped
	Outages   []Outage
}

// Reroute is a change of the MTU in mid-flow; 0: no limit from then on.
type Reroute struct {
	At  mono.Time
	MTU int
}

// Outage is a time in which everything is lost.
type Outage struct{ From, To mono.Time }

// Drops counts lost segments by cause.
type Drops struct{ Queue, Random, Outage, TooBig, ECT int }

// Link is one direction of a path.
type Link struct {
	Impairments
	Deliver func(*Packet)            // the node at the end
	TooBig  func(p *Packet, mtu int) // the node at the start learns of Impairments.MTU; nil: nobody does
	Bytes   int64                    // delivered, payload only
	Segs    int                      // segments that came in
	Drops   Drops
	Marked  int           // segments
	Peak    time.Duration // longest wait in the queue

	sim   *Sim
	free  mono.Time // when the last byte accepted has left
	last  mono.Time // latest arrival of what was not reordered
	burst mono.Time // when the burst of losses under way began; 0: none
}

// NewLink makes a direction that ends at deliver.
func NewLink(s *Sim, imp Impairments, deliver func(*Packet)) *Link {
	return &Link{Impairments: imp, Deliver: deliver, sim: s}
}

// Send puts p on the link.
func (l *Link) Send(p *Packet) {
	size := len(p.Data)
	if p.GSOSize > 0 && p.GSOSize < size {
		size = p.GSOSize
	}
	head := p.headers()
	if mtu := l.mtu(); mtu > 0 && head+size > mtu {
		l.Drops.TooBig++
		if l.TooBig != nil && !p.Bad && !l.sim.chance(l.Silence) {
			l.sim.After(l.Delay, func() { l.TooBig(p, mtu) })
		}
		return
	}
	run := &run{link: l, of: p}
	for from := 0; ; {
		to := min(from+size, len(p.Data))
		l.segment(run, from, to, int64(to-from+head+wire.EthLen))
		if from = to; from >= len(p.Data) {
			break
		}
	}
	run.deliver()
}

// mtu gives the largest packet that passes now; 0: no limit.
func (l *Link) mtu() int {
	mtu := l.MTU
	for _, r := range l.Reroutes {
		if r.At <= l.sim.now {
			mtu = r.MTU
		}
	}
	return mtu
}

// segment decides the fate of the bytes [from, to) of the packet.
func (l *Link) segment(r *run, from, to int, size int64) {
	l.Segs++
	now := l.sim.now
	leaves := now
	ecn := r.of.ECN
	if l.DropECT && ecn != wire.NotECT {
		l.Drops.ECT++
		r.deliver()
		return
	}
	if l.Rate > 0 {
		// What leaves a queue stays in order with what came before.
		start := max(l.free, now)
		wait := start.Sub(now)
		waiting := int64(wait) * l.Rate / int64(time.Second)
		if l.Queue > 0 && waiting+size > int64(l.Queue) {
			l.Drops.Queue++
			r.deliver()
			return
		}
		l.Peak = max(l.Peak, wait)
		if l.MarkAt > 0 && waiting > int64(l.MarkAt) && ecn != wire.NotECT {
			ecn = wire.CE
		}
		leaves = start.Add(time.Duration(size * int64(time.Second) / l.Rate))
		l.free = leaves
	}
	for _, o := range l.Outages {
		if o.From <= now && now < o.To {
			l.Drops.Outage++
			r.deliver()
			return
		}
	}
	if l.lost() {
		l.Drops.Random++
		r.deliver()
		return
	}
	if ecn = l.codepoint(ecn); ecn != r.of.ECN {
		r.deliver() // no superpacket has two codepoints
	}
	at := max(leaves.Add(l.Delay+l.sim.upTo(l.Jitter)), l.last)
	switch {
	case l.sim.chance(l.Corrupt):
		r.deliver()
		q := r.cut(from, to)
		q.ECN, q.Bad = ecn, true
		l.arrive(at, q)
		return
	case l.sim.chance(l.Reorder):
		r.deliver()
		q := r.cut(from, to)
		q.ECN = ecn
		l.arrive(at.Add(1+l.sim.upTo(l.ReorderBy)), q)
		return
	}
	l.last = at
	if !l.GRO || l.Rate > 0 && int64(to-r.from) > max(int64(2*(to-from)), l.Rate/1000) {
		r.deliver() // what arrives over more than 1 ms is not one superpacket
	}
	q := r.cut(from, to)
	q.ECN = ecn
	if ecn == r.of.ECN {
		r.add(from, to, at)
	} else {
		l.arrive(at, q)
	}
	if l.sim.chance(l.Duplicate) {
		l.arrive(at.Add(1+l.sim.upTo(l.Delay/4)), q)
	}
}

// codepoint gives what becomes of an ECN codepoint on the way.
func (l *Link) codepoint(e wire.ECN) wire.ECN {
	switch {
	case l.Bleach:
		return wire.NotECT
	case e == wire.CE, e != wire.NotECT && l.sim.chance(l.Mark):
		l.Marked++
		return wire.CE
	}
	return e
}

// burstTime bounds a burst, which would outlast everything on a quiet link.
const burstTime = 100 * time.Millisecond

// lost draws random loss and bursts: a Gilbert model whose bad state loses all.
func (l *Link) lost() bool {
	switch {
	case l.burst == 0 && l.sim.chance(l.Burst):
		l.burst = l.sim.now
	case l.burst != 0 && (l.sim.now.Sub(l.burst) > burstTime || l.sim.chance(1/float64(max(1, l.BurstLen)))):
		l.burst = 0
	}
	return l.burst != 0 || l.sim.chance(l.Loss)
}

func (l *Link) arrive(at mono.Time, p *Packet) {
	l.sim.At(at, func() {
		l.Bytes += int64(len(p.Data))
		l.Deliver(p)
	})
}

// run is a stretch of segments of one superpacket that arrive together.
type run struct {
	link     *Link
	of       *Packet
	from, to int
	some     bool
	at       mono.Time
}

func (r *run) add(from, to int, at mono.Time) {
	if !r.some {
		r.from, r.some = from, true
	}
	r.to, r.at = to, at
}

// deliver lets what was gathered arrive.
func (r *run) deliver() {
	if r.some {
		r.link.arrive(r.at, r.cut(r.from, r.to))
		r.some = false
		r.from, r.to = 0, 0
	}
}

// cut gives the bytes [from, to) as a packet of its own. FIN and PSH belong to
// the last segment, CWR to the first.
func (r *run) cut(from, to int) *Packet {
	q := *r.of
	q.Data = q.Data[from:to]
	q.Seq = q.Seq.Add(from)
	if to < len(r.of.Data) {
		q.Flags &^= wire.FIN | wire.PSH
	}
	if from > 0 {
		q.Flags &^= wire.CWR
	}
	if len(q.Data) <= q.GSOSize {
		q.GSOSize = 0
	}
	return &q
}
