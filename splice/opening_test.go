package splice

import (
	"testing"
	"time"

	"accd/tcpstack"
	"accd/tcpstack/wire"
)

// TestOpeningRecord: the record says what both endpoints agreed on, and starts
// at the numbers of the handshake.
func TestOpeningRecord(t *testing.T) {
	r := establish(t)
	rec := r.flow.Record()
	if rec.Tuple != tuple || !rec.SACK || !rec.Timestamps || rec.Unsynced {
		t.Errorf("record %+v", rec)
	}
	for side, want := range []struct {
		scale uint8
		edge  int
		net   Network
	}{{7, 65535, LAN}, {4, 65536, WAN}} {
		d := &rec.Dir[side]
		first := r.isn[side].Add(1)
		if d.Next != first || d.Acked != first || d.Scale != want.scale || d.MSS != 1460 || d.Net != want.net {
			t.Errorf("%v: %+v", Side(side), d)
		}
		// The window of a SYN is not scaled (RFC 7323, 2.2); the client's ACK is.
		if got := d.Edge.Sub(first); got != want.edge || d.Own != d.Edge {
			t.Errorf("%v: edge %d, want %d", Side(side), got, want.edge)
		}
	}
	if c, s := rec.Path[Client].SRTT, rec.Path[Server].SRTT; c != 2000 || s != 40000 {
		t.Errorf("round trips %d µs and %d µs, want 2000 and 40000", c, s)
	}
	var tmpl Template
	r.flow.Template(Client, &tmpl)
	if tmpl.Tuple != tuple.Reverse() || tmpl.TTL != 61 || tmpl.DstNet != LAN {
		t.Errorf("template to the client %+v", tmpl)
	}
}

// TestOpeningLateAck: the client's ACK was lost, and what completes the handshake came
// when it had something to say. That is no round trip.
func TestOpeningLateAck(t *testing.T) {
	for _, late := range []bool{false, true} {
		r := newRig(t)
		r.hear(Client, r.syn(Client))
		r.hear(Server, r.syn(Server))
		r.now = r.now.Add(time.Second)
		if late {
			r.now = r.now.Add(1)
		}
		if !r.hear(Client, r.seg(Client, 0, 100, 0)) {
			t.Fatal("not established")
		}
		if known := r.flow.Record().Path[Client].SRTT != 0; known == late {
			t.Errorf("late %v: round trip known %v", late, known)
		}
	}
}

// TestOpeningOptions: a flow is acceleratable with harmless options only.
func TestOpeningOptions(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  wire.OptionSet
		ok   bool
	}{
		{"all", allOptions, true},
		{"none", 0, true},
		{"fast open", allOptions | wire.HasFastOpen, true},
		{"MPTCP", allOptions | wire.HasMPTCP, false},
		{"MD5", allOptions | wire.HasMD5, false},
		{"AO", allOptions | wire.HasAO, false},
		{"unknown", allOptions | wire.HasUnknown, false},
		{"malformed", allOptions | wire.HasMalformed, false},
	} {
		for _, side := range []Side{Client, Server} {
			r := newRig(t)
			syn := r.syn(Client)
			answer := r.syn(Server)
			if side == Client {
				syn.Options.Set = tt.set
			} else {
				answer.Options.Set = tt.set
			}
			r.hear(Client, syn)
			r.hear(Server, answer)
			if got := r.hear(Client, r.seg(Client, 0, 0, 0)); got != tt.ok {
				t.Errorf("%s from the %v: established %v", tt.name, side, got)
			}
			if !tt.ok {
				r.wantCount(SYNOptions, 1)
			}
		}
	}
}

// TestOpeningNegotiation: scale, SACK and timestamps hold only when both said so.
func TestOpeningNegotiation(t *testing.T) {
	r := newRig(t)
	r.hear(Client, r.syn(Client))
	answer := r.syn(Server)
	answer.Options.Set = wire.HasMSS
	r.hear(Server, answer)
	r.opts = 0
	if !r.hear(Client, r.seg(Client, 0, 0, 0)) {
		t.Fatal("not established")
	}
	rec := r.flow.Record()
	if rec.SACK || rec.Timestamps || rec.Dir[Client].Scale != 0 || rec.Dir[Server].Scale != 0 {
		t.Errorf("record %+v", rec)
	}
}

// TestOpeningExactNumbers: only an ACK with seq = ISNc + 1 and ack = ISNs + 1 of
// a SYN-ACK that was seen.
func TestOpeningExactNumbers(t *testing.T) {
	r := newRig(t)
	ack := func(off, ack int) bool {
		s := r.seg(Client, off, 0, ack)
		return r.hear(Client, s)
	}
	if r.hear(Client, r.syn(Client)); ack(0, 0) {
		t.Fatal("established without a SYN-ACK")
	}
	wrong := r.syn(Server)
	wrong.Ack = wrong.Ack.Add(1)
	if r.hear(Server, wrong); ack(0, 0) {
		t.Fatal("established with a SYN-ACK of another SYN")
	}
	r.hear(Server, r.syn(Server))
	if ack(1, 0) || ack(0, 1) || ack(-1, 0) {
		t.Fatal("established with numbers that are not exact")
	}
	if rst := r.rst(Client, 0); r.hear(Client, rst) {
		t.Fatal("established with an RST")
	}
	if !ack(0, 0) {
		t.Fatal("not established")
	}
	if ack(0, 0) {
		t.Fatal("established twice")
	}
}

// TestOpeningRepeatedSYN: SYNs may differ in TSval, ECN and fast-open data, in
// nothing else.
func TestOpeningRepeatedSYN(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*tcpstack.Segment)
		ok     bool
	}{
		{"TSval", func(s *tcpstack.Segment) { s.Options.TSVal += 1000 }, true},
		{"ECN", func(s *tcpstack.Segment) { s.Flags |= wire.ECE | wire.CWR }, true},
		{"fast open", func(s *tcpstack.Segment) { s.Options.Set |= wire.HasFastOpen }, true},
		{"MSS", func(s *tcpstack.Segment) { s.Options.MSS-- }, false},
		{"window", func(s *tcpstack.Segment) { s.Window-- }, false},
		{"scale", func(s *tcpstack.Segment) { s.Options.WScale++ }, false},
		{"SACK", func(s *tcpstack.Segment) { s.Options.Set &^= wire.HasSACKPermitted }, false},
	} {
		for _, side := range []Side{Client, Server} {
			r := newRig(t)
			r.hear(Client, r.syn(Client))
			again := r.syn(Client)
			if side == Client {
				tt.change(again)
			}
			r.hear(Client, again)
			r.hear(Server, r.syn(Server))
			answer := r.syn(Server)
			if side == Server {
				tt.change(answer)
			}
			r.hear(Server, answer)
			if got := r.hear(Client, r.seg(Client, 0, 0, 0)); got != tt.ok {
				t.Errorf("%s of the %v changed: established %v", tt.name, side, got)
			}
			if tt.ok && (r.flow.Record().Path[Server].SRTT != 0) {
				t.Errorf("%s: a round trip was measured with a repeated SYN", tt.name)
			}
		}
	}
}

// TestOpeningPortReuse: a SYN with another ISN is another connection.
func TestOpeningPortReuse(t *testing.T) {
	r := newRig(t)
	bad := r.syn(Client)
	bad.Options.Set |= wire.HasMPTCP
	bad.Seq = bad.Seq.Add(-5000)
	r.hear(Client, bad)
	if !r.handshake() {
		t.Error("the second connection made no record")
	}
}

// TestOpeningAckWithData: the ACK that establishes may carry data, which enters.
func TestOpeningAckWithData(t *testing.T) {
	r := newRig(t)
	r.hear(Client, r.syn(Client))
	r.hear(Server, r.syn(Server))
	s := r.seg(Client, 0, 100, 0)
	if !r.hear(Client, s) {
		t.Fatal("not established")
	}
	r.take(Client, s)
	r.wantState(InCustody)
}

// TestOpeningEviction: a full table gives the slot of the oldest handshake away;
// a slot is free after its life.
func TestOpeningEviction(t *testing.T) {
	r := newRig(t)
	r.opening = NewOpening(ways)
	r.opening.Count = &r.count
	r.hear(Client, r.syn(Client))
	flood := tuple
	for i := range ways {
		r.now = r.now.Add(time.Millisecond)
		flood.SrcPort = uint16(i + 1)
		var rec Record
		r.opening.Receive(r.now, Client, flood, r.syn(Client), Meta{}, &rec)
	}
	r.wantCount(Unseen, 1)
	r.hear(Server, r.syn(Server))
	if r.hear(Client, r.seg(Client, 0, 0, 0)) {
		t.Error("an evicted handshake made a record")
	}
	r.now = r.now.Add(slotLife)
	if !r.handshake() {
		t.Error("a free slot was not used")
	}
	r.wantCount(Unseen, 1)
}

// Memory is taken for as many handshakes as are open at once, not for all that ever
// were.
func TestOpeningMemory(t *testing.T) {
	r := newRig(t)
	r.opening = NewOpening(1 << 16)
	for range 10 * rowSize {
		if !r.handshake() {
			t.Fatal("not established")
		}
		r.flow.Forsake()
	}
	if n := len(r.opening.table.rows); n != 1 {
		t.Errorf("%d rows of memory for one handshake after the other", n)
	}
	for i := range 2 * rowSize {
		k := tuple
		k.SrcPort = uint16(i + 1)
		r.opening.Receive(r.now, Client, k, r.syn(Client), Meta{}, new(Record))
	}
	if n := len(r.opening.table.rows); n != 2 {
		t.Errorf("%d rows of memory for %d handshakes", n, 2*rowSize)
	}
}

// TestOpeningAllocs: following handshakes allocates nothing.
func TestOpeningAllocs(t *testing.T) {
	r := newRig(t)
	syn, answer, ack := r.syn(Client), r.syn(Server), r.seg(Client, 0, 0, 0)
	var rec Record
	if n := testing.AllocsPerRun(100, func() {
		r.opening.Receive(r.now, Client, tuple, syn, Meta{}, &rec)
		r.opening.Receive(r.now, Server, tuple, answer, Meta{}, &rec)
		if !r.opening.Receive(r.now, Client, tuple, ack, Meta{}, &rec) {
			t.Fatal("not established")
		}
	}); n != 0 {
		t.Errorf("%v allocations per handshake", n)
	}
}

// TestSignedSYNPasses: a SYN with options that keep accd out is left alone.
func TestSignedSYNPasses(t *testing.T) {
	h := wire.Header{Tuple: tuple, TTL: 64, Flags: wire.SYN | wire.ECE | wire.CWR, Options: &wire.Options{Set: wire.HasMSS | wire.HasTS, MSS: 8960}}
	var b [wire.MaxHeader]byte
	n, l4 := h.Put(b[:])
	b[n-12] = 19 // in the place of the padding before the timestamp: MD5 (RFC 2385)
	wire.FinishChecksum(b[:n], l4, nil)
	var v wire.View
	v.Parse(b[:n])
	before := b
	if RelaySYN(&v, 1460); b != before {
		t.Errorf("changed from % x to % x", before[l4:n], b[l4:n])
	}
}

// TestRelaySYN: MSS clamped, AE cleared, nothing else changed.
func TestRelaySYN(t *testing.T) {
	for _, tt := range []struct{ mss, clamp, want uint16 }{{8960, 1460, 1460}, {1400, 1460, 1400}, {8960, 0, 8960}} {
		var b [wire.MaxHeader]byte
		h := wire.Header{Tuple: tuple, TTL: 64, Flags: wire.SYN | wire.ECE | wire.CWR | wire.AE, Options: &wire.Options{Set: wire.HasMSS, MSS: tt.mss}}
		n, l4 := h.Put(b[:])
		wire.FinishChecksum(b[:n], l4, nil)
		var v wire.View
		if v.Parse(b[:n]) != wire.KindTCP {
			t.Fatal(v.Kind)
		}
		RelaySYN(&v, int(tt.clamp))
		var o wire.Options
		o.Decode(v.OptionBytes())
		if v.Flags() != wire.SYN|wire.ECE|wire.CWR || o.MSS != tt.want || !v.ChecksumOK() {
			t.Errorf("MSS %d clamped to %d: flags %v, MSS %d, checksum %v", tt.mss, tt.clamp, v.Flags(), o.MSS, v.ChecksumOK())
		}
	}
}
