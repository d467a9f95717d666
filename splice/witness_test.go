package splice

import (
	"fmt"

	"accd/tcpstack"
	"accd/tcpstack/wire"
)

// Witness checks the invariants of docs/custody.md from outside: it sees what
// both endpoints of one flow say and are told, and compares. Whoever carries the
// packets of a Flow in a test calls it: Arrived before each Receive, Passed when
// that lets the packet pass, Sent for each packet of Transmit, Check after every
// event. It is shown genuine packets only, never forged ones.
type Witness struct {
	end [2]witnessed
	was State
}

// witnessed is what one endpoint said and was told.
type witnessed struct {
	saidAck   wire.Seq // the largest acknowledgment it sent
	stamps    map[uint32]bool
	toldAck   wire.Seq // the largest acknowledgment it was sent, by whomever
	toldEdge  wire.Seq // the largest right edge it was sent
	toldStamp uint32   // the last TSval accd sent it
	stamped   bool
	scale     uint8    // of windows it sends
	came      wire.Seq // behind the highest byte it sent
	marked    bool     // the segment at hand brings a CE mark, unless it passes
	echo      bool     // accd has taken one and owes it ECE until it says CWR
	made      wire.Seq // behind the highest byte accd sent it in custody
}

// Begin starts with a flow as its record says.
func (w *Witness) Begin(r *Record) {
	for i := range w.end {
		e, d, o := &w.end[i], &r.Dir[i], &r.Dir[1-i]
		*e = witnessed{
			saidAck: o.Acked, stamps: map[uint32]bool{},
			toldAck: d.Acked, toldEdge: d.Edge, scale: d.Scale,
			came: d.Next, made: o.Next,
		}
		if d.is(hasTS) {
			e.stamps[d.TSRecent] = true
		}
	}
	w.was = OnWire
}

// Arrived sees a segment from an endpoint reach the Flow.
func (w *Witness) Arrived(from Side, s *tcpstack.Segment) {
	e := &w.end[from]
	if s.Flags.Has(wire.ACK) {
		e.saidAck = wire.MaxSeq(e.saidAck, s.Ack)
	}
	if s.Options.Has(wire.HasTS) {
		e.stamps[s.Options.TSVal] = true
	}
	if s.Flags.Has(wire.CWR) {
		e.echo = false
	}
	e.marked = s.ECN == wire.CE && e.came.Less(s.End()) // what came before may be an old duplicate
	e.came = wire.MaxSeq(e.came, s.End())
}

// Passed sees it reach the opposite endpoint's leg unmodified.
func (w *Witness) Passed(from Side, s *tcpstack.Segment) {
	w.end[from].marked = false
	if !s.Flags.Has(wire.ACK) || s.Flags.Any(wire.SYN|wire.RST) {
		return
	}
	e := &w.end[from.Other()]
	e.toldAck = wire.MaxSeq(e.toldAck, s.Ack)
	e.toldEdge = wire.MaxSeq(e.toldEdge, s.Ack.Add(int(s.Window)<<w.end[from].scale))
}

// Sent sees a packet of accd's own leave, and checks what it says.
func (w *Witness) Sent(f *Flow, to Side, p *tcpstack.Packet) error {
	e, far := &w.end[to], &w.end[to.Other()]
	for i := range w.end {
		w.end[i].echo, w.end[i].marked = w.end[i].echo || w.end[i].marked, false
	}
	if p.Flags.Has(wire.RST) {
		return nil
	}
	if err := w.ecn(f, to, p); err != nil {
		return err
	}
	if p.Options.Has(wire.HasTS) {
		if e.stamped && int32(p.Options.TSVal-e.toldStamp) < 0 {
			return fmt.Errorf("I4: TSval %d to the %v after %d", p.Options.TSVal, to, e.toldStamp)
		}
		if !far.stamps[p.Options.TSVal] {
			return fmt.Errorf("I4: TSval %d to the %v was never sent by the %v", p.Options.TSVal, to, to.Other())
		}
		e.toldStamp, e.stamped = p.Options.TSVal, true
	}
	if !p.Flags.Has(wire.ACK) {
		return fmt.Errorf("a segment without ACK to the %v", to)
	}
	if f.c != nil {
		held := f.c.conn[to.Other()].SndUna().Add(f.c.stream[to].Len())
		if !p.Ack.LessEq(far.saidAck) && !p.Ack.LessEq(held) {
			return fmt.Errorf("I1: ack %v to the %v; the %v acknowledged %v, held is up to %v", p.Ack, to, to.Other(), far.saidAck, held)
		}
	}
	if edge := p.Ack.Add(int(p.Window) << far.scale); edge.Less(e.toldEdge) {
		return fmt.Errorf("I3: edge %v to the %v after %v", edge, to, e.toldEdge)
	}
	e.toldEdge = p.Ack.Add(int(p.Window) << far.scale)
	if f.state == Draining && e.toldAck.Less(p.Ack) {
		return fmt.Errorf("I6: ack %v to the %v in drain after %v", p.Ack, to, e.toldAck)
	}
	e.toldAck = wire.MaxSeq(e.toldAck, p.Ack)
	return nil
}

// ecn checks a packet's marks (RFC 3168): ECT on new data only, and only where it
// was agreed on; a CE mark that accd took is echoed until CWR.
func (w *Witness) ecn(f *Flow, to Side, p *tcpstack.Packet) error {
	e := &w.end[to]
	if !f.rec.ECN {
		if p.ECN != wire.NotECT || p.Flags.Any(wire.ECE|wire.CWR|wire.AE) {
			return fmt.Errorf("%v, %v to the %v, where ECN was not agreed on", p.ECN, p.Flags, to)
		}
		return nil
	}
	switch {
	case p.ECN != wire.NotECT && p.Len == 0:
		return fmt.Errorf("%v on a packet without data to the %v", p.ECN, to)
	case p.ECN != wire.NotECT && p.Seq.Less(e.made):
		return fmt.Errorf("%v on what is sent to the %v again", p.ECN, to)
	case e.echo && f.state == InCustody && !f.c.ending.on && !p.Flags.Has(wire.ECE):
		return fmt.Errorf("a mark of the %v is not echoed", to)
	}
	if f.state == InCustody || p.ECN != wire.NotECT {
		e.made = wire.MaxSeq(e.made, p.Seq.Add(p.Len))
	}
	return nil
}

// Check compares the Flow with what was seen; call it after every event, when
// Transmit has nothing to send.
func (w *Witness) Check(f *Flow) error {
	was := w.was
	w.was = f.state
	for i := range w.end {
		to := Side(i)
		from := to.Other()
		e, far := &w.end[to], &w.end[from]
		switch f.state {
		case InCustody, Draining:
			if f.c.ending.on {
				continue
			}
			if una := f.c.conn[to].SndUna(); e.saidAck.Less(una) && !f.c.drain.gone[to] {
				return fmt.Errorf("I2: bytes before %v to the %v are discarded; it acknowledged %v", una, to, e.saidAck)
			}
		case OnWire:
			// What from was told is acknowledged must be acknowledged by to.
			if e.saidAck.Less(far.toldAck) {
				return fmt.Errorf("I5: on the wire, but the %v was told %v and the %v acknowledged %v", from, far.toldAck, to, e.saidAck)
			}
			if was == InCustody && f.rec.why != Reset && far.toldAck.Less(e.saidAck) {
				return fmt.Errorf("I5: on the wire, but the ACK %v of the %v is owed to the %v, which was told %v", e.saidAck, to, from, far.toldAck)
			}
		}
	}
	return nil
}
