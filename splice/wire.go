package splice

// Following a flow on the wire: what a record learns from packets that pass.
// docs/custody.md, Wire, is to be read first.

import (
	"accd/tcpstack"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// Ours.
const (
	// slack is how far behind the acknowledged bytes a segment may begin and
	// still be believed: keepalives, repetitions.
	slack = 64 << 10
	// maxDrift is how far an endpoint may be beyond the record for that to
	// tell of a gap in steering, rather than of a forger.
	maxDrift = 256 << 20
)

// credit says how far the opposite endpoint would believe a segment.
type credit uint8

const (
	refused  credit = iota // its numbers cannot be
	aged                   // its timestamp is older than one that came before
	ahead                  // its numbers are beyond the record: packets went another way
	believed               // all of it
)

// believe judges a segment as the opposite endpoint would: by the numbers it
// could have (docs/custody.md, Wire) and by its timestamp (RFC 7323, 5.3). Its
// checksum was verified before.
func (r *Record) believe(now mono.Time, from Side, s *tcpstack.Segment) credit {
	d, o := &r.Dir[from], &r.Dir[from.Other()]
	if !s.Flags.Has(wire.ACK) {
		return refused // RFC 9293, 3.10.7.4: fifth
	}
	seq, ack := s.Seq.Sub(d.Acked), s.Ack.Sub(o.Acked)
	maxSeq, maxAck := d.Edge.Sub(d.Acked), o.Next.Sub(o.Acked)
	switch {
	case seq < -slack, seq > maxSeq+maxDrift, ack < -int(d.MaxWnd), ack > maxAck+maxDrift:
		return refused
	case r.aged(now, d, s):
		return aged
	case seq > maxSeq, ack > maxAck:
		return ahead
	}
	return believed
}

// passEdge notes the window that a segment which passes offers: the endpoint,
// which does not know the timestamps accd knows, may believe it (I3).
func (r *Record) passEdge(from Side, s *tcpstack.Segment) (edge wire.Seq) {
	d, o := &r.Dir[from], &r.Dir[from.Other()]
	edge = s.Ack.Add(int(s.Window) << d.Scale)
	o.Edge = wire.MaxSeq(o.Edge, edge)
	return edge
}

// aged reports that the TSval of s is older than one that came before.
func (r *Record) aged(now mono.Time, d *Direction, s *tcpstack.Segment) bool {
	return r.Timestamps && d.is(hasTS) && s.Options.Has(wire.HasTS) &&
		tcpstack.Stale(now, s.Options.TSVal, d.TSRecent, d.stampedAt())
}

// heed takes the acknowledging half of a believed segment: its ACK and window,
// its timestamp, and what accd's own packets repeat of its headers.
func (r *Record) heed(now mono.Time, from Side, s *tcpstack.Segment, m Meta) {
	d, o := &r.Dir[from], &r.Dir[from.Other()]
	d.headers(m)
	edge := r.passEdge(from, s)
	if s.End().Less(d.Acked) {
		return // before the window: the endpoint reads nothing of it (RFC 9293, 3.10.7.4)
	}
	d.MaxWnd = max(d.MaxWnd, uint32(edge.Sub(s.Ack)))
	o.twice = s.Ack == o.Acked
	switch n := s.Ack.Sub(o.Acked); {
	case n > 0:
		o.Acked, o.Own = s.Ack, edge
	case n == 0:
		o.Own = wire.MaxSeq(o.Own, edge) // of two in the wrong order the larger
	}
	// docs/custody.md, Timestamps: SEG.SEQ ≤ next and SEG.SEQ + LEN ≥ acked.
	if r.Timestamps && s.Options.Has(wire.HasTS) && s.Seq.LessEq(d.Next) && d.Acked.LessEq(s.End()) {
		d.stamp(s.Options.TSVal, now)
	}
}

// headers keeps what packets in the name of this endpoint repeat.
func (d *Direction) headers(m Meta) {
	d.TTL, d.TOS, d.FlowLabel = m.TTL, m.TOS&^3, m.FlowLabel
	if m.From != Unknown {
		d.Net = m.From
	}
}

// extend takes the data half of a believed segment that passes.
func (r *Record) extend(from Side, s *tcpstack.Segment) {
	d := &r.Dir[from]
	end := s.End()
	if d.is(hasFIN) && d.FIN.Add(1).Less(end) {
		d.flags &^= hasFIN // data behind a FIN: it was none
	}
	if s.Flags.Has(wire.FIN) {
		d.FIN = end.Add(-1)
		d.flags |= hasFIN
	}
	if s.Flags.Has(wire.CWR) {
		// The endpoint has heard an echo, and the other hears of it now.
		d.set(echoOwed, false)
		r.Dir[from.Other()].set(cwrOwed, false)
	}
	if n := s.Payload.Len(); n > 0 {
		d.Passed += uint64(min(n, max(0, s.Seq.Add(n).Sub(d.Next))))
	}
	d.Next = wire.MaxSeq(d.Next, end)
}

// unsync notes a gap in steering: what passed meanwhile is not known
// (docs/custody.md, Drain).
func (r *Record) unsync() {
	for i := range r.Dir {
		d := &r.Dir[i]
		if !r.Unsynced {
			r.before[i] = d.Next
		}
		if !r.Unsynced || d.is(answered) {
			d.Own = d.Acked
		}
		d.flags &^= seen | answered
	}
	r.Unsynced, r.fresh = true, false
}

// resync follows a flow after a gap until fresh data and its ACK have shown
// where both directions are: each endpoint has acknowledged what the other was
// seen to send. Until then Acked is where the lowest segment since began. What
// does not fit begins anew, so forged numbers stand only until the next real
// segment, and custody on them would hold nothing but forged bytes.
//
// It reports whether the ACK fits what the opposite endpoint was seen to send.
func (r *Record) resync(now mono.Time, from Side, s *tcpstack.Segment, m Meta) (fits bool) {
	d, o := &r.Dir[from], &r.Dir[from.Other()]
	if !s.Flags.Has(wire.ACK) || s.Flags.Any(wire.SYN|wire.RST) || r.aged(now, d, s) || r.Timestamps && !s.Options.Has(wire.HasTS) {
		return false
	}
	if off := s.Seq.Sub(d.Acked); !d.is(seen) || off < -slack || off > wire.MaxWindow {
		d.Acked, d.Next, d.Own, r.tsKnown[from] = s.Seq, s.Seq, s.Seq, s.Options.TSVal
		d.flags = d.flags&^(answered|hasFIN) | seen
		r.fresh = false
	} else if off < 0 && !d.is(answered) {
		d.Acked, d.Own = s.Seq, s.Seq // an ACK had overtaken its data, or it is sent again
	}
	d.headers(m)
	if s.Seq.LessEq(d.Next) && d.Acked.LessEq(s.End()) {
		r.tsFresh[from] = s.Options.TSVal
		if !d.is(answered) && int32(r.tsFresh[from]-r.tsKnown[from]) < 0 {
			r.tsKnown[from] = r.tsFresh[from]
		}
	}
	r.extend(from, s)
	if !o.is(seen) || !s.Ack.In(o.Acked, o.Next.Add(1)) {
		if behind := r.before[from.Other()].Sub(s.Ack); behind >= 0 && behind <= wire.MaxWindow {
			r.passEdge(from, s) // I3: it acknowledges what passed before the gap
		}
		return false
	}
	// I3: the largest edge told since the gap; one from before it stays where it
	// still is one. What went by may have told almost a unit of its scale more
	// (RFC 7323, 2.4).
	edge := s.Ack.Add(int(s.Window) << d.Scale)
	told := edge.Add(1<<d.Scale - 1)
	if beyond := o.Edge.Sub(told); beyond < 0 || beyond > wire.MaxWindow {
		o.Edge = told
	}
	if o.twice = s.Ack == o.delivered(r); !o.is(answered) {
		o.Own = s.Ack
	}
	r.fresh = r.fresh || o.Acked.Less(s.Ack)
	if e := s.Options.TSEcr; r.Timestamps {
		// A busy sender's newest TSval is a round trip ahead of its echo, so any
		// since the gap will do; one that is never echoed may be forged.
		known, fresh := &r.tsKnown[from.Other()], r.tsFresh[from.Other()]
		if int32(e-*known) < 0 {
			return true
		}
		if *known = e; int32(e-fresh) > 0 {
			*known = fresh // the rest nobody has seen but who answers
		}
	}
	d.MaxWnd = max(d.MaxWnd, uint32(edge.Sub(s.Ack)))
	o.Acked, o.Own = s.Ack, edge
	o.flags |= answered
	if !r.fresh || !d.is(answered) {
		return true
	}
	r.Unsynced = false
	for i := range r.Dir {
		d := &r.Dir[i]
		if r.Timestamps && (!d.is(hasTS) || int32(r.tsKnown[i]-d.TSRecent) > 0) {
			d.stamp(r.tsKnown[i], now)
		}
	}
	return true
}
