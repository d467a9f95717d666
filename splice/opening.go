package splice

import (
	"time"

	"accd/tcpstack"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// Harmless are the options a handshake may carry (docs/custody.md, Opening).
const Harmless = wire.HasMSS | wire.HasWScale | wire.HasSACKPermitted | wire.HasTS | wire.HasFastOpen

// Opening follows handshakes in a table of fixed size: a flood of SYNs costs
// what it costs before, and a handshake that loses its slot is only a flow that
// is not accelerated.
type Opening struct {
	Count *Counters // nil: not counted

	table handshakes
	legs  [2]tcpstack.Snapshot // of the handshake established last, if split
	split bool                 // it was
}

// handshake is one that is followed.
type handshake struct {
	tuple       wire.Tuple // client → server
	touched     mono.Time
	slot        uint32 // of the table
	syn, synAck half
	next        wire.Seq              // behind what the server was seen to send
	bad         Reason                // None: nothing speaks against custody so far
	split       bool                  // each endpoint is answered by accd: see split_syn.go
	scale       uint8                 // split: the shift of the windows accd offers to both
	mss         [2]uint16             // split: what accd says it can take, by the side it is said to
	ecn         [2]tcpstack.ECNPolicy // split: of accd's ends, by the side they talk to
	sent        [2]uint8              // split: SYNs and SYN-ACKs that accd has sent, by the side they go to
}

// half is what one endpoint said in its SYN or SYN-ACK.
type half struct {
	at     mono.Time // when it came first; 0: not yet
	again  bool      // it was repeated: no round trip can be measured
	iss    wire.Seq
	ack    wire.Seq // of a SYN-ACK: behind the fast-open data that was taken
	window uint16
	set    wire.OptionSet
	mss    uint16
	scale  uint8
	tsVal  uint32
	tsAt   mono.Time  // when tsVal came; 0: the first had none
	data   int        // bytes of fast-open data
	ecn    bool       // it speaks for classic ECN, every time
	flags  wire.Flags // as they came first
	mark   wire.ECN   // as it came last
	quiet  bool       // it came once without ECN bits
	meta   Meta
}

// NewOpening makes a table of at least slots handshakes.
func NewOpening(slots int) *Opening {
	o := new(Opening)
	o.table.init(slots)
	return o
}

// Receive follows one packet that passes between tuples without a Flow, or of a
// Flow that is Reopening; client names the direction from the client on. It
// borrows s. When the packet is the client's ACK that completes a handshake
// fit for custody, it fills rec and reports true: make a Flow of it, and give
// that the same packet.
func (o *Opening) Receive(now mono.Time, from Side, client wire.Tuple, s *tcpstack.Segment, m Meta, rec *Record) (established bool) {
	isSYN := s.Flags.Has(wire.SYN)
	if s.Flags.Has(wire.RST) || !isSYN && !s.Flags.Has(wire.ACK) {
		return false
	}
	var opens *tcpstack.Segment
	if isSYN && from == Client {
		opens = s
	}
	h := o.slot(now, &client, opens)
	if h == nil {
		return false
	}
	switch {
	case !isSYN && from == Server:
		h.early(s)
	case !isSYN:
		return o.established(now, h, s, rec)
	case from == Client && !s.Flags.Has(wire.ACK):
		h.repeat(now, &h.syn, s, m)
	case from == Server && s.Flags.Has(wire.ACK):
		o.answered(now, h, s, m)
	default:
		h.spoil(Simultaneous)
	}
	return false
}

// slot finds the handshake of a tuple; with a SYN that opens one it begins it, at the
// cost of the oldest if need be.
func (o *Opening) slot(now mono.Time, t *wire.Tuple, opens *tcpstack.Segment) *handshake {
	h, free := o.table.find(now, t, opens)
	if h != nil || opens == nil || free < 0 {
		return h
	}
	h, evicted := o.table.put(free)
	if evicted && now.Sub(h.touched) < slotLife {
		o.count(Unseen)
	}
	*h = handshake{tuple: *t, touched: now, slot: uint32(free)}
	return h
}

// Asked gives what the client's SYN of a handshake that is being followed came with.
func (o *Opening) Asked(now mono.Time, client wire.Tuple) (m Meta, ok bool) {
	h := o.slot(now, &client, nil)
	if h == nil || h.syn.at == 0 {
		return Meta{}, false
	}
	return h.syn.meta, true
}

// Follows reports whether the handshake of a client's tuple is being followed.
func (o *Opening) Follows(now mono.Time, client wire.Tuple) bool {
	return o.slot(now, &client, nil) != nil
}

func (o *Opening) count(r Reason) {
	if o.Count != nil {
		o.Count.By[r]++
	}
}

func (h *handshake) spoil(why Reason) {
	if h.bad == None {
		h.bad = why
	}
}

// repeat takes a SYN or SYN-ACK. All of them must be equal but for TSval, ECN
// and fast-open data.
func (h *handshake) repeat(now mono.Time, x *half, s *tcpstack.Segment, m Meta) {
	set := s.Options.Set &^ wire.HasFastOpen
	switch {
	case x == &h.syn && h.split && h.synAck.at != 0 && x.iss != s.Seq:
		// The server has answered the one that is being split: whoever forges
		// another does not undo that.
		return
	case x.at != 0 && x == &h.syn && x.iss != s.Seq:
		// Port reuse: another connection, from the beginning.
		*h = handshake{tuple: h.tuple, touched: h.touched, slot: h.slot}
	case x.at != 0:
		x.again = true
		x.ecn = x.ecn && classicECN(s.Flags)
		x.mark, x.quiet = s.ECN, x.quiet || !s.Flags.Any(wire.AE|wire.CWR|wire.ECE)
		x.data = max(x.data, s.Payload.Len())
		if x.iss != s.Seq || x.window != s.Window || x.set != set || x.mss != s.Options.MSS && set&wire.HasMSS != 0 ||
			x.scale != min(s.Options.WScale, wire.MaxWScale) && set&wire.HasWScale != 0 {
			h.spoil(SYNChanged)
		}
		// Who asks again for less, because nobody answered, means it.
		x.set &= set
		if x.set&wire.HasTS != 0 {
			x.tsVal, x.tsAt = s.Options.TSVal, now
		}
		return
	}
	if !s.Options.Only(Harmless) {
		h.spoil(SYNOptions)
	}
	*x = half{at: now, iss: s.Seq, window: s.Window, set: set, data: s.Payload.Len(), meta: m, ecn: classicECN(s.Flags), flags: s.Flags, mark: s.ECN}
	if set&wire.HasMSS != 0 {
		if x.mss = s.Options.MSS; x.mss < tcpstack.MinMSS {
			h.spoil(TinyMSS)
		}
	}
	if set&wire.HasWScale != 0 {
		x.scale = min(s.Options.WScale, wire.MaxWScale)
	}
	if set&wire.HasTS != 0 {
		x.tsVal, x.tsAt = s.Options.TSVal, now
	}
}

// classicECN reports whether a SYN asks for ECN, or a SYN-ACK grants it, as it is
// relayed (RFC 3168, 6.1.1). One that was repeated without (6.1.1.1) may have
// been answered either way: then there is none.
func classicECN(f wire.Flags) bool {
	f = RelayFlags(f)
	return f.Has(wire.ECE) && f.Has(wire.CWR) == !f.Has(wire.ACK)
}

// answered takes a SYN-ACK.
func (o *Opening) answered(now mono.Time, h *handshake, s *tcpstack.Segment, m Meta) {
	first := h.syn.iss.Add(1)
	if h.syn.at == 0 || !s.Ack.In(first, first.Add(h.syn.data+1)) {
		return // not of this handshake
	}
	if h.synAck.at != 0 && h.synAck.iss != s.Seq {
		// A SYN cookie made anew: the client's ACK tells which one it took.
		h.synAck = half{}
		h.syn.again = true
	}
	if h.synAck.at == 0 {
		h.next = s.End()
	}
	h.repeat(now, &h.synAck, s, m)
	h.synAck.ack = s.Ack
}

// early takes what a server sends before the client's ACK has passed: it may do so
// when it has taken fast-open data (RFC 7413, 4.2.2).
func (h *handshake) early(s *tcpstack.Segment) {
	v := &h.synAck
	if first := v.iss.Add(1); v.at != 0 && h.syn.data > 0 && s.Ack == v.ack && s.Seq.In(first, first.Add(int(h.syn.window))) {
		h.next = wire.MaxSeq(h.next, s.Seq.Add(s.Payload.Len()))
	}
}

// established takes the client's ACK: its numbers must be exact. Behind fast-open
// data the client goes on where the SYN-ACK says, and may have got data itself.
// Behind a split handshake the ACK may come with data that overtook it: nothing
// passes any more.
func (o *Opening) established(now mono.Time, h *handshake, s *tcpstack.Segment, rec *Record) bool {
	c, v := &h.syn, &h.synAck
	if c.at == 0 || v.at == 0 || !s.Ack.In(v.iss.Add(1), h.next.Add(1)) ||
		s.Seq != v.ack && !(h.split && s.Seq.In(v.ack, v.ack.Add(splitWindow))) {
		return false
	}
	o.table.remove(h) // only what comes next overwrites it
	if h.bad != None && !h.split {
		o.count(h.bad)
		return false
	}
	if o.split = h.split; h.split {
		o.negotiate(now, h)
	}
	both := c.set & v.set
	*rec = Record{
		Tuple:      h.tuple,
		SACK:       both&wire.HasSACKPermitted != 0,
		Timestamps: both&wire.HasTS != 0,
		ECN:        c.ecn && v.ecn,
	}
	if both&wire.HasWScale == 0 {
		c.scale, v.scale = 0, 0
	}
	rec.Dir[Client].open(now, c, v, v.ack, rec.Timestamps)
	rec.Dir[Server].open(now, v, c, v.iss.Add(1), rec.Timestamps)
	rec.Dir[Server].Own = s.Ack.Add(int(s.Window) << c.scale)
	rec.Dir[Server].Next = h.next
	// The round trips of the two legs, from where accd is.
	if !c.again && !v.again {
		rec.Path[Server].roundTrip(v.at.Sub(c.at))
	}
	if !v.again {
		rec.Path[Client].roundTrip(now.Sub(v.at))
	}
	if o.Count != nil {
		o.Count.Established++
	}
	return true
}

// open begins the direction of the endpoint that said x and was told y, of which
// everything before next is acknowledged.
func (d *Direction) open(now mono.Time, x, y *half, next wire.Seq, timestamps bool) {
	d.ISN, d.Next = x.iss, next
	d.Acked = d.Next
	d.Own = d.Next.Add(int(y.window)) // of a SYN, not scaled (RFC 7323, 2.2)
	d.Edge = d.Own
	d.MaxWnd = uint32(x.window)
	d.MSS, d.Scale = x.mss, x.scale
	d.headers(x.meta)
	if timestamps {
		d.stamp(x.tsVal, now)
	}
}

// unrepeated is how long an endpoint waits for the answer to its SYN or SYN-ACK
// before it repeats that (RFC 6298, 2.1). What took longer and was not repeated is no
// round trip: the client's ACK was lost, and it spoke again when it had to.
const unrepeated = time.Second

// roundTrip takes the first sample of the leg (RFC 6298, 2.2).
func (p *Path) roundTrip(rtt time.Duration) {
	if rtt > 0 && rtt <= unrepeated {
		p.SRTT, p.RTTVar, p.MinRTT = micros(rtt), micros(rtt/2), micros(rtt)
	}
}
