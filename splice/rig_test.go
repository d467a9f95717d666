package splice

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"accd/tcpstack"
	"accd/tcpstack/buf"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// rig is one flow between two endpoints that a test plays itself, in verbs:
// send, want, pass, advance. Sequence and acknowledgment numbers are offsets:
// the first payload byte of each side is 0. Silence is asserted: a packet of
// accd that the test did not want fails it.
type rig struct {
	t       *testing.T
	now     mono.Time
	pool    buf.Pool
	count   Counters
	env     Env
	terms   Terms
	opening *Opening
	ledger  []byte

	flow    *Flow
	witness Witness
	isn     [2]wire.Seq
	scale   [2]uint8
	window  [2]uint16 // as sent, scaled
	first   [2]uint16 // windows of the SYNs
	stamp   [2]uint32 // the TSval of the next segment
	opts    wire.OptionSet
	ecn     bool // both endpoints speak classic ECN
	out     []sentPacket
	steered int
	trusted bool // the witness believes what is sent: nothing is forged
	pkt     tcpstack.Packet
}

// sentPacket is a packet of accd's own, copied.
type sentPacket struct {
	to       Side
	seq, ack int
	flags    wire.Flags
	edge     int // ack + window
	ts       uint32
	ecr      uint32
	ecn      wire.ECN
	nsack    int
	gso      int
	data     []byte
}

func (p sentPacket) String() string {
	return fmt.Sprintf("→%v %v seq %d(%d) ack %d edge %d", p.to, p.flags, p.seq, len(p.data), p.ack, p.edge)
}

var tuple = wire.TupleOf(netip.MustParseAddrPort("10.0.0.1:40000"), netip.MustParseAddrPort("10.0.0.2:80"))

const allOptions = wire.HasMSS | wire.HasWScale | wire.HasSACKPermitted | wire.HasTS

// newRig makes a rig before the handshake.
func newRig(t *testing.T) *rig {
	r := &rig{
		t: t, now: mono.Time(time.Hour), opening: NewOpening(64), opts: allOptions, trusted: true,
		isn:   [2]wire.Seq{wire.SeqOf(0xffff_ff00), wire.SeqOf(0x7fff_fff0)}, // both wrap soon
		scale: [2]uint8{7, 4}, window: [2]uint16{512, 4096}, first: [2]uint16{65535, 65535}, stamp: [2]uint32{0xffff_fff0, 5000},
	}
	cfg := &tcpstack.Config{Relay: true}
	r.terms = Terms{Rule: "test", Leg: [2]*tcpstack.Config{cfg, cfg}}
	r.ledger = make([]byte, LedgerSize(4))
	ledgers, err := NewLedgers(r.ledger, 1)
	if err != nil {
		t.Fatal(err)
	}
	r.env = Env{Pool: &r.pool, Ledger: ledgers[0], Count: &r.count, Steer: func(wire.Tuple) { r.steered++ }}
	r.opening.Count = &r.count
	return r
}

// establish makes a rig whose flow is on the wire.
func establish(t *testing.T) *rig {
	r := newRig(t)
	if !r.handshake() {
		t.Fatalf("the handshake made no record: %v", r.count.By)
	}
	return r
}

// syn is a SYN or SYN-ACK.
func (r *rig) syn(from Side) *tcpstack.Segment {
	s := &tcpstack.Segment{Seq: r.isn[from], Flags: wire.SYN, Window: r.first[from]}
	s.Options = wire.Options{Set: r.opts, MSS: 1460, WScale: r.scale[from], TSVal: r.stamp[from]}
	if r.ecn {
		s.Flags |= wire.ECE | wire.CWR
	}
	if from == Server {
		s.Flags = s.Flags&^wire.CWR | wire.ACK
		s.Ack = r.isn[Client].Add(1)
	}
	return s
}

// hear gives a segment of the handshake to the opening table.
func (r *rig) hear(from Side, s *tcpstack.Segment) bool {
	var rec Record
	if !r.opening.Receive(r.now, from, tuple, s, Meta{TTL: 60 + uint8(from), From: LAN + Network(from)}, &rec) {
		return false
	}
	r.flow = new(Flow)
	if legs, split := r.opening.Legs(); split {
		r.flow.StartSplit(r.now, &rec, legs, &r.terms, &r.env)
	} else {
		r.flow.Start(r.now, &rec, &r.terms, &r.env)
	}
	r.witness.Begin(&rec)
	return true
}

func (r *rig) handshake() bool {
	r.hear(Client, r.syn(Client))
	r.now = r.now.Add(40 * time.Millisecond)
	r.hear(Server, r.syn(Server))
	r.now = r.now.Add(2 * time.Millisecond)
	ack := r.seg(Client, 0, 0, 0)
	if !r.hear(Client, ack) {
		return false
	}
	r.pass(Client, ack)
	return true
}

// pattern gives the bytes [off, off+n) that a side sends.
func pattern(from Side, off, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], uint64(off+i)*0x9e3779b97f4a7c15+uint64(from))
		b[i] = word[7]
	}
	return b
}

// seg is a segment of a side: n bytes at offset off, acknowledging ack.
func (r *rig) seg(from Side, off, n, ack int) *tcpstack.Segment {
	s := &tcpstack.Segment{
		Seq: r.isn[from].Add(1 + off), Ack: r.isn[from.Other()].Add(1 + ack),
		Flags: wire.ACK, Window: r.window[from],
	}
	if r.opts&wire.HasTS != 0 {
		r.stamp[from]++
		s.Options = wire.Options{Set: wire.HasTS, TSVal: r.stamp[from], TSEcr: r.stamp[from.Other()]}
	}
	if n > 0 {
		s.Payload = r.pool.Copy(pattern(from, off, n))
	}
	return s
}

func (r *rig) fin(from Side, off, n, ack int) *tcpstack.Segment {
	s := r.seg(from, off, n, ack)
	s.Flags |= wire.FIN
	return s
}

func (r *rig) rst(from Side, off int) *tcpstack.Segment {
	s := r.seg(from, off, 0, 0)
	s.Flags = wire.RST
	return s
}

// give gives a segment to the flow and collects what that sends.
func (r *rig) give(from Side, s *tcpstack.Segment) Disposition {
	r.t.Helper()
	if r.trusted {
		r.witness.Arrived(from, s)
	}
	d := r.flow.Receive(r.now, from, s, Meta{TTL: 60 + uint8(from), From: LAN + Network(from)})
	if d == Pass {
		if r.trusted {
			r.witness.Passed(from, s)
		}
		s.Drop()
	} else if s.Payload.Len() > 0 {
		r.t.Fatalf("taken, but the payload was left")
	}
	r.turn()
	return d
}

// turn transmits all there is.
func (r *rig) turn() {
	r.t.Helper()
	for range 10000 {
		to, ok := r.flow.Transmit(r.now, &r.pkt)
		if !ok {
			if err := r.witness.Check(r.flow); err != nil && r.trusted {
				r.t.Fatal(err)
			}
			if r.flow.Rests() { // it is nothing but its record
				rec := *r.flow.rec
				r.flow.Attend(&rec, r.flow.terms, r.flow.env)
			}
			return
		}
		if err := r.witness.Sent(r.flow, to, &r.pkt); err != nil && r.trusted {
			r.t.Fatal(err)
		}
		p := sentPacket{
			to: to, flags: r.pkt.Flags, ecn: r.pkt.ECN, nsack: int(r.pkt.Options.NSACK), gso: r.pkt.GSOSize,
			seq: r.pkt.Seq.Sub(r.isn[to.Other()].Add(1)), ack: r.pkt.Ack.Sub(r.isn[to].Add(1)),
		}
		if r.pkt.Options.Has(wire.HasTS) {
			p.ts, p.ecr = r.pkt.Options.TSVal, r.pkt.Options.TSEcr
		}
		p.edge = p.ack + int(r.pkt.Window)<<r.scale[to.Other()]
		for _, b := range r.pkt.Payload {
			p.data = append(p.data, b...)
		}
		if len(p.data) != r.pkt.Len || string(p.data) != string(pattern(to.Other(), p.seq, len(p.data))) {
			r.t.Fatalf("%v carries wrong bytes", p)
		}
		r.out = append(r.out, p)
	}
	r.t.Fatal("Transmit never ends")
}

func (r *rig) pass(from Side, s *tcpstack.Segment) {
	r.t.Helper()
	if r.give(from, s) != Pass {
		r.t.Fatalf("a segment of the %v was taken, in %v", from, r.flow.State())
	}
}

func (r *rig) take(from Side, s *tcpstack.Segment) {
	r.t.Helper()
	if r.give(from, s) != Taken {
		r.t.Fatalf("a segment of the %v passed, in %v: %v", from, r.flow.State(), r.count.By)
	}
}

// want takes the first packet that accd has sent and compares it.
func (r *rig) want(to Side, seq, n, ack int) sentPacket {
	r.t.Helper()
	if len(r.out) == 0 {
		r.t.Fatalf("accd sent nothing; want →%v seq %d(%d) ack %d", to, seq, n, ack)
	}
	p := r.out[0]
	r.out = r.out[1:]
	if p.to != to || p.seq != seq || len(p.data) != n || p.ack != ack {
		r.t.Fatalf("accd sent %v; want →%v seq %d(%d) ack %d", p, to, seq, n, ack)
	}
	return p
}

// wantNext takes the first packet towards a side, whatever there is before it.
func (r *rig) wantNext(to Side, seq, n, ack int) sentPacket {
	r.t.Helper()
	for len(r.out) > 0 && r.out[0].to != to {
		r.out = r.out[1:]
	}
	return r.want(to, seq, n, ack)
}

func (r *rig) wantSilence() {
	r.t.Helper()
	if len(r.out) > 0 {
		r.t.Fatalf("accd sent %v", r.out)
	}
}

func (r *rig) wantState(s State) {
	r.t.Helper()
	if r.flow.State() != s {
		r.t.Fatalf("the flow is in %v (%v), want %v", r.flow.State(), r.flow.Why(), s)
	}
}

func (r *rig) wantCount(why Reason, n uint64) {
	r.t.Helper()
	if got := r.count.By[why]; got != n {
		r.t.Fatalf("%v was counted %d times, want %d", why, got, n)
	}
}

// advance lets time pass, with all that falls due.
func (r *rig) advance(d time.Duration) {
	r.t.Helper()
	end := r.now.Add(d)
	for n := 0; ; n++ {
		if n == 100_000 {
			r.t.Fatalf("in %v something is due at %v all the time", r.flow.State(), r.now)
		}
		at := r.flow.Deadline()
		if at > end {
			break
		}
		r.now = max(r.now, at)
		r.flow.Expire(r.now)
		r.turn()
		if r.flow.Deadline() <= r.now {
			r.now++
		}
	}
	r.now = max(r.now, end)
}

// enter brings the flow into custody with n bytes of a side, which it takes and
// sends on.
func (r *rig) enter(from Side, n int) {
	r.t.Helper()
	r.take(from, r.seg(from, 0, n, 0))
	r.wantState(InCustody)
	r.out = r.out[:0]
}

// done checks that nothing is left behind.
func (r *rig) done() {
	r.t.Helper()
	r.wantSilence()
	if r.flow.c == nil && r.pool.InUse() != 0 {
		r.t.Fatalf("%d bytes are still referenced", r.pool.InUse())
	}
	if r.flow.c == nil && r.env.charged != 0 {
		r.t.Fatalf("%d bytes are still charged", r.env.charged)
	}
}
