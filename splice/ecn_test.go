package splice

import (
	"testing"
	"time"

	"accd/tcpstack"
	"accd/tcpstack/wire"
)

// speak makes a rig whose endpoints have agreed on classic ECN, on the wire.
func speak(t *testing.T) *rig {
	r := newRig(t)
	r.ecn = true
	if !r.handshake() || !r.flow.Record().ECN {
		t.Fatal("ECN was not agreed on")
	}
	return r
}

// enterECN brings it into custody with 1000 bytes of the client, ECT as a client
// sends them.
func enterECN(t *testing.T) *rig {
	r := speak(t)
	r.take(Client, r.ect(r.seg(Client, 0, 1000, 0)))
	r.want(Client, 0, 0, 1000)
	if p := r.want(Server, 0, 1000, 0); p.ecn != wire.ECT0 {
		t.Errorf("new data is %v", p.ecn)
	}
	return r
}

func (r *rig) ect(s *tcpstack.Segment) *tcpstack.Segment { s.ECN = wire.ECT0; return s }
func (r *rig) ce(s *tcpstack.Segment) *tcpstack.Segment  { s.ECN = wire.CE; return s }

func flagged(s *tcpstack.Segment, f wire.Flags) *tcpstack.Segment { s.Flags |= f; return s }

const setup = wire.ECE | wire.CWR

// RFC 3168, 6.1.1, and what each SYN and SYN-ACK becomes when it is relayed: ECN
// is agreed on by an ECN-setup SYN that is answered by an ECN-setup SYN-ACK,
// every time it is sent. AE never gets through.
func TestOpeningECN(t *testing.T) {
	const ae = wire.AE
	for _, tt := range []struct {
		name        string
		syn, synAck []wire.Flags
		agreed      bool
	}{
		{"none", []wire.Flags{0}, []wire.Flags{0}, false},
		{"classic", []wire.Flags{setup}, []wire.Flags{wire.ECE}, true},
		{"the server has none", []wire.Flags{setup}, []wire.Flags{0}, false},
		{"the server reflects", []wire.Flags{setup}, []wire.Flags{setup}, false},
		{"the server reflects AccECN", []wire.Flags{setup | ae}, []wire.Flags{setup | ae}, false},
		{"the server answers AccECN", []wire.Flags{setup | ae}, []wire.Flags{wire.CWR}, false},
		{"the client knows AccECN", []wire.Flags{setup | ae}, []wire.Flags{wire.ECE}, true},
		{"an answer to nothing", []wire.Flags{0}, []wire.Flags{wire.ECE}, false},
		{"ECE alone asks for nothing", []wire.Flags{wire.ECE}, []wire.Flags{wire.ECE}, false},
		{"CWR alone asks for nothing", []wire.Flags{wire.CWR}, []wire.Flags{wire.ECE}, false},
		{"SYN repeated with", []wire.Flags{setup, setup}, []wire.Flags{wire.ECE}, true},
		{"SYN repeated without", []wire.Flags{setup, 0}, []wire.Flags{wire.ECE}, false},
		{"SYN repeated with at last", []wire.Flags{0, setup}, []wire.Flags{wire.ECE}, false},
		{"SYN-ACK repeated without", []wire.Flags{setup}, []wire.Flags{wire.ECE, 0}, false},
		{"SYN-ACK repeated with", []wire.Flags{setup}, []wire.Flags{wire.ECE, wire.ECE}, true},
	} {
		r := newRig(t)
		for _, f := range tt.syn {
			r.hear(Client, flagged(r.syn(Client), f))
		}
		for _, f := range tt.synAck {
			r.hear(Server, flagged(r.syn(Server), f))
		}
		if !r.hear(Client, r.seg(Client, 0, 0, 0)) || r.flow.Record().ECN != tt.agreed {
			t.Errorf("%s: agreed %v, want %v", tt.name, r.flow.Record().ECN, tt.agreed)
		}
	}
}

// What SYN and SYN-ACK become on their way.
func TestRelayFlags(t *testing.T) {
	for f := range wire.Flags(8) {
		ecn := f << 6 // ECE, CWR, AE
		if got := RelayFlags(wire.SYN | ecn); got != wire.SYN|ecn&^wire.AE {
			t.Errorf("a SYN with %v is relayed with %v", ecn, got)
		}
		want := wire.SYN | wire.ACK
		if ecn == wire.ECE {
			want |= wire.ECE
		}
		if got := RelayFlags(wire.SYN | wire.ACK | ecn); got != want {
			t.Errorf("a SYN-ACK with %v is relayed with %v", ecn, got)
		}
	}
}

// On the wire marks, echoes and CWR pass as they are: see also the terminator,
// which forwards the bytes.
func TestMarksPassOnTheWire(t *testing.T) {
	r := speak(t)
	r.pass(Client, flagged(r.ce(r.seg(Client, 0, 1, 0)), wire.URG|wire.CWR))
	r.pass(Server, flagged(r.seg(Server, 0, 0, 1), wire.ECE))
	r.wantState(OnWire)
	r.done()
}

// A mark that accd takes is echoed to its sender until that says CWR, and goes no
// further: the other leg is ECT anew.
func TestMarkIsEchoedByAccd(t *testing.T) {
	r := enterECN(t)
	r.take(Client, r.ce(r.seg(Client, 1000, 1000, 0)))
	if p := r.want(Client, 0, 0, 2000); !p.flags.Has(wire.ECE) {
		t.Errorf("%v does not echo", p)
	}
	r.advance(30 * time.Millisecond) // pacing
	if p := r.want(Server, 1000, 1000, 0); p.ecn != wire.ECT0 || p.flags.Has(wire.ECE) {
		t.Errorf("%v is %v", p, p.ecn)
	}
	r.take(Client, flagged(r.ect(r.seg(Client, 2000, 1000, 0)), wire.CWR))
	if p := r.want(Client, 0, 0, 3000); p.flags.Has(wire.ECE) {
		t.Errorf("%v still echoes", p)
	}
	r.advance(30 * time.Millisecond)
	if p := r.want(Server, 2000, 1000, 0); p.flags.Has(wire.CWR) {
		t.Errorf("%v says CWR in somebody else's name", p)
	}
}

// An echo of what accd sent makes accd slow down on that leg, and say CWR there;
// the sender on the other leg hears nothing of it.
func TestEchoIsAnsweredByAccd(t *testing.T) {
	r := enterECN(t)
	r.take(Client, r.ect(r.seg(Client, 1000, 1000, 0)))
	r.advance(30 * time.Millisecond)
	r.out = r.out[:0]
	r.take(Server, flagged(r.seg(Server, 0, 0, 1000), wire.ECE))
	r.wantSilence()
	r.take(Client, r.ect(r.seg(Client, 2000, 1000, 0)))
	if p := r.want(Client, 0, 0, 3000); p.flags.Any(wire.ECE | wire.CWR) {
		t.Errorf("%v", p)
	}
	r.advance(30 * time.Millisecond)
	if p := r.want(Server, 2000, 1000, 0); !p.flags.Has(wire.CWR) || p.ecn != wire.ECT0 {
		t.Errorf("%v, %v", p, p.ecn)
	}
	if _, server := r.flow.Legs(); server.Stats().ECNReductions != 1 {
		t.Errorf("%+v", server.Stats())
	}
}

// docs/custody.md, I5: an echo that was said, and a CWR that waits for new data,
// do not keep a flow in custody. The record has them, and the next custody goes on.
func TestOwedECNOutlivesCustody(t *testing.T) {
	leave := func(t *testing.T) *rig {
		r := enterECN(t)
		r.take(Client, r.ce(r.seg(Client, 1000, 1000, 0)))
		r.advance(30 * time.Millisecond)
		r.out = r.out[:0]
		r.take(Server, flagged(r.seg(Server, 0, 0, 2000), wire.ECE))
		r.wantState(OnWire)
		r.done()
		return r
	}
	t.Run("next custody", func(t *testing.T) {
		r := leave(t)
		r.take(Client, r.ect(r.seg(Client, 2000, 1000, 0)))
		if p := r.want(Client, 0, 0, 3000); !p.flags.Has(wire.ECE) {
			t.Errorf("%v does not echo", p)
		}
		if p := r.want(Server, 2000, 1000, 0); !p.flags.Has(wire.CWR) {
			t.Errorf("%v does not say CWR", p)
		}
		// What the server echoes until it sees that is answered already.
		r.take(Server, flagged(r.seg(Server, 0, 0, 2000), wire.ECE))
		if _, server := r.flow.Legs(); server.Stats().ECNReductions != 0 {
			t.Errorf("%+v", server.Stats())
		}
	})
	t.Run("CWR enters", func(t *testing.T) {
		r := leave(t)
		r.take(Client, flagged(r.ect(r.seg(Client, 2000, 1000, 0)), wire.CWR))
		if p := r.want(Client, 0, 0, 3000); p.flags.Has(wire.ECE) {
			t.Errorf("%v echoes", p)
		}
		if p := r.want(Server, 2000, 1000, 0); !p.flags.Has(wire.CWR) {
			t.Errorf("%v does not say CWR", p)
		}
	})
	t.Run("CWR passes", func(t *testing.T) {
		r := leave(t)
		r.pass(Client, flagged(r.ect(r.seg(Client, 2000, 1, 0)), wire.CWR|wire.URG))
		r.pass(Server, r.seg(Server, 0, 0, 2001))
		r.take(Client, r.ect(r.seg(Client, 2001, 1000, 0)))
		if p := r.want(Client, 0, 0, 3001); p.flags.Has(wire.ECE) {
			t.Errorf("%v echoes", p)
		}
		if p := r.want(Server, 2001, 1000, 0); p.flags.Has(wire.CWR) {
			t.Errorf("%v says CWR", p)
		}
	})
}

// docs/custody.md, Entering custody: the ECE of the segment that enters is owed
// to the other leg as its ACK is.
func TestEnterOwesEcho(t *testing.T) {
	r := speak(t)
	r.pass(Server, flagged(r.ce(r.seg(Server, 0, 100, 0)), wire.URG))
	r.take(Client, flagged(r.ect(r.seg(Client, 0, 1000, 100)), wire.ECE))
	if p := r.wantNext(Server, 0, 1000, 100); !p.flags.Has(wire.ECE) {
		t.Errorf("%v does not echo what the client echoed", p)
	}
	r.take(Server, flagged(r.ect(r.seg(Server, 100, 100, 1000)), wire.CWR))
	if p := r.wantNext(Server, 1000, 0, 200); p.flags.Has(wire.ECE) {
		t.Errorf("%v echoes", p)
	}
}

// A leg that drops ECT is remembered: the next custody sends none there.
func TestLegThatDropsECT(t *testing.T) {
	r := speak(t)
	ack := 0
	for i := range 4 {
		r.take(Client, r.ect(r.seg(Client, i*1000, 1000, 0)))
		r.wantNext(Client, 0, 0, i*1000+1000)
		p := r.want(Server, i*1000, 1000, 0)
		if (p.ecn == wire.ECT0) != (i < 3) {
			t.Fatalf("segment %d is sent as %v", i, p.ecn)
		}
		if p.ecn == wire.ECT0 {
			// It is lost. What is sent again is not ECT, and arrives.
			r.advance(250 * time.Millisecond)
			if p := r.want(Server, i*1000, 1000, 0); p.ecn != wire.NotECT {
				t.Fatalf("the repetition is %v", p.ecn)
			}
		}
		ack += 1000
		r.take(Server, r.seg(Server, 0, 0, ack))
		r.wantState(OnWire)
		r.out = r.out[:0]
	}
}

// In drain echoes pass to the endpoint that has to answer them, and so does its
// CWR; accd adds none.
func TestECNInDrain(t *testing.T) {
	r := enterECN(t)
	r.flow.Drain(r.now, Operator)
	r.pass(Server, flagged(r.seg(Server, 0, 0, 0), wire.ECE))
	r.pass(Client, flagged(r.ce(r.seg(Client, 1000, 1000, 0)), wire.CWR))
	r.wantSilence()
	r.advance(2 * time.Second)
	if p := r.wantNext(Server, 0, 1000, 0); p.ecn != wire.NotECT || p.flags.Any(wire.ECE|wire.CWR) {
		t.Errorf("%v, %v", p, p.ecn)
	}
	r.out = r.out[:0]
	r.pass(Server, r.seg(Server, 0, 0, 1000))
	r.wantState(OnWire)
}

// RFC 9768, 3.3.1: each leg of a split handshake agrees on ECN for itself, and the
// bits of one are never those of the other.
func TestSplitECN(t *testing.T) {
	const off, grant, classic, accurate = tcpstack.ECNOff, tcpstack.ECNGrant, tcpstack.ECNClassic, tcpstack.ECNAccurate
	const all = wire.AE | wire.CWR | wire.ECE
	for _, tt := range []struct {
		name           string
		policy         [2]tcpstack.ECNPolicy
		syn, asked     wire.Flags
		synAck, answer wire.Flags
		legs           [2]tcpstack.ECN
	}{
		{"nobody asks", [2]tcpstack.ECNPolicy{grant, grant}, 0, 0, 0, 0, [2]tcpstack.ECN{}},
		{"as the client does", [2]tcpstack.ECNPolicy{grant, grant}, setup, setup, wire.ECE, wire.ECE, [2]tcpstack.ECN{tcpstack.ClassicECN, tcpstack.ClassicECN}},
		{"the server has none", [2]tcpstack.ECNPolicy{grant, grant}, setup, setup, 0, wire.ECE, [2]tcpstack.ECN{Client: tcpstack.ClassicECN}},
		{"the client has none", [2]tcpstack.ECNPolicy{grant, classic}, 0, setup, wire.ECE, 0, [2]tcpstack.ECN{Server: tcpstack.ClassicECN}},
		{"off", [2]tcpstack.ECNPolicy{off, off}, all, 0, 0, 0, [2]tcpstack.ECN{}},
		{"AccECN at the client", [2]tcpstack.ECNPolicy{accurate, grant}, all, setup, wire.ECE, wire.CWR, [2]tcpstack.ECN{tcpstack.AccurateECN, tcpstack.ClassicECN}},
		{"AccECN at the server", [2]tcpstack.ECNPolicy{grant, accurate}, setup, all, wire.CWR, wire.ECE, [2]tcpstack.ECN{tcpstack.ClassicECN, tcpstack.AccurateECN}},
		{"AccECN at both", [2]tcpstack.ECNPolicy{accurate, accurate}, all, all, wire.CWR, wire.CWR, [2]tcpstack.ECN{tcpstack.AccurateECN, tcpstack.AccurateECN}},
		{"a server that reflects", [2]tcpstack.ECNPolicy{accurate, accurate}, all, all, all, wire.CWR, [2]tcpstack.ECN{Client: tcpstack.AccurateECN}},
	} {
		r := newRig(t)
		r.terms.Split = true
		for i, p := range tt.policy {
			r.terms.Leg[i] = &tcpstack.Config{ECN: p, HoldFIN: true}
		}
		said := func(from Side, s *tcpstack.Segment) wire.Flags {
			r.hear(from, s)
			if !r.opening.Rewrite(r.now, from, tuple, s, &r.terms, 1400, &r.pkt) {
				t.Fatalf("%s: the %v's SYN is relayed", tt.name, from)
			}
			return r.pkt.Flags & all
		}
		if got := said(Client, flagged(r.syn(Client), tt.syn)); got != tt.asked {
			t.Errorf("%s: the server is asked with %v, want %v", tt.name, got, tt.asked)
		}
		if got := said(Server, flagged(r.syn(Server), tt.synAck)); got != tt.answer {
			t.Errorf("%s: the client is answered with %v, want %v", tt.name, got, tt.answer)
		}
		if option := r.pkt.Options.Has(wire.HasAccECN); option != (tt.legs[Client] == tcpstack.AccurateECN) {
			t.Errorf("%s: the SYN-ACK carries the option: %v", tt.name, option)
		}
		var rec Record
		if !r.opening.Receive(r.now, Client, tuple, r.seg(Client, 0, 0, 0), Meta{}, &rec) {
			t.Fatalf("%s: not established", tt.name)
		}
		legs, _ := r.opening.Legs()
		if got := [2]tcpstack.ECN{legs[Client].ECN, legs[Server].ECN}; got != tt.legs {
			t.Errorf("%s: agreed on %v, want %v", tt.name, got, tt.legs)
		}
	}
}
