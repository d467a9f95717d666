package splice

import (
	"testing"
	"time"

	"accd/tcpstack"
	"accd/tcpstack/wire"
)

// newSplit makes a rig whose flow will be split.
func newSplit(t *testing.T) *rig {
	r := newRig(t)
	cfg := &tcpstack.Config{HoldFIN: true, MTU: 1500}
	r.terms = Terms{Rule: "test", Leg: [2]*tcpstack.Config{cfg, cfg}, Split: true}
	r.trusted = false // the witness knows the invariants of flows that may go native
	return r
}

// rewrite gives a SYN or SYN-ACK to the opening table and what is said instead.
func (r *rig) rewrite(from Side, s *tcpstack.Segment, mss int) *tcpstack.Packet {
	r.t.Helper()
	r.hear(from, s)
	if !r.opening.Rewrite(r.now, from, tuple, s, &r.terms, mss, &r.pkt) {
		r.t.Fatalf("the %v's part of the handshake is not rewritten", from)
	}
	return &r.pkt
}

// splitHandshake brings a flow into custody whose client has the options of
// client, and whose server has those of server.
func splitHandshake(t *testing.T, client, server wire.OptionSet) *rig {
	t.Helper()
	r := newSplit(t)
	r.opts = client
	r.rewrite(Client, r.syn(Client), 1400)
	r.now = r.now.Add(40 * time.Millisecond)
	r.opts = server
	r.rewrite(Server, r.syn(Server), 0)
	r.now = r.now.Add(2 * time.Millisecond)
	r.opts = client
	ack := r.seg(Client, 0, 0, 0)
	if !r.hear(Client, ack) {
		t.Fatal("the handshake made no flow")
	}
	r.scale = [2]uint8{r.flow.c.conn[Server].Scale(), r.flow.c.conn[Client].Scale()}
	r.take(Client, ack)
	r.opts = 0
	return r
}

// RFC 9293, 3.7.1 and RFC 7323, 2.2: each endpoint is offered what accd can do,
// not what the other can.
func TestSplitOffersItsOwnOptions(t *testing.T) {
	r := newSplit(t)
	r.opts = wire.HasMSS
	p := r.rewrite(Client, r.syn(Client), 1400)
	if p.Flags != wire.SYN || p.Seq != r.isn[Client] || p.Window != splitWindow || p.Len != 0 ||
		p.Options.Set != allOptions || p.Options.MSS != 1400 || p.Options.WScale != r.terms.WindowScale() {
		t.Errorf("the server is offered %+v", p)
	}
	r.opts = allOptions
	p = r.rewrite(Server, r.syn(Server), 0)
	if p.Flags != wire.SYN|wire.ACK || p.Seq != r.isn[Server] || p.Ack != r.isn[Client].Add(1) ||
		p.Options.Set != wire.HasMSS || p.Options.MSS != 1460 {
		t.Errorf("the client is answered %+v", p)
	}
}

// An answer in kind: the client gets the options that it asked for, and its own
// timestamp back.
func TestSplitAnswersInKind(t *testing.T) {
	r := newSplit(t)
	syn := r.syn(Client)
	r.rewrite(Client, syn, 1400)
	r.opts = wire.HasMSS // the server has nothing else
	p := r.rewrite(Server, r.syn(Server), 0)
	if p.Options.Set != allOptions || p.Options.TSEcr != syn.Options.TSVal {
		t.Errorf("the client is answered %+v", p.Options)
	}
}

// What a SYN carries that may not be changed relays the handshake.
func TestSplitLeavesOddHandshakes(t *testing.T) {
	for name, edit := range map[string]func(*rig, *tcpstack.Segment){
		"fast open":       func(_ *rig, s *tcpstack.Segment) { s.Options.Set |= wire.HasFastOpen },
		"unknown option":  func(_ *rig, s *tcpstack.Segment) { s.Options.Set |= wire.HasUnknown },
		"relay by policy": func(r *rig, _ *tcpstack.Segment) { r.terms.Split = false },
		"data": func(r *rig, s *tcpstack.Segment) {
			s.Payload = r.pool.Copy(make([]byte, 10))
		},
	} {
		r := newSplit(t)
		s := r.syn(Client)
		edit(r, s)
		r.hear(Client, s)
		if r.opening.Rewrite(r.now, Client, tuple, s, &r.terms, 1400, &r.pkt) {
			t.Errorf("%s: rewritten", name)
		}
		// And it stays relayed, or the two endpoints would not understand each other.
		again := r.syn(Client)
		r.terms.Split = true
		r.hear(Client, again)
		if r.opening.Rewrite(r.now, Client, tuple, again, &r.terms, 1400, &r.pkt) {
			t.Errorf("%s: rewritten when it came again", name)
		}
		s.Drop()
	}
}

// A split handshake that was answered is not given up for a younger one.
func TestSplitSlotStays(t *testing.T) {
	r := newSplit(t)
	r.opening = NewOpening(ways)
	r.rewrite(Client, r.syn(Client), 1400)
	r.rewrite(Server, r.syn(Server), 0)
	for i := range 10 * ways {
		k := tuple
		k.SrcPort = uint16(i + 1)
		r.opening.Receive(r.now.Add(time.Second), Client, k, r.syn(Client), Meta{}, new(Record))
	}
	if !r.opening.Splits(r.now.Add(time.Second), tuple) {
		t.Error("the slot went to a younger handshake")
	}
}

// A split handshake goes on after a time in which others are forgotten, as when the
// clock leaps: the ends of one that passes would not agree on what windows mean. A
// client that begins anew is a client that begins.
func TestSplitSlotOutlivesTime(t *testing.T) {
	r := newSplit(t)
	r.rewrite(Client, r.syn(Client), 1400)
	r.now = r.now.Add(time.Hour)
	r.rewrite(Server, r.syn(Server), 0)
	r.now = r.now.Add(time.Hour)
	r.rewrite(Client, r.syn(Client), 1400) // it repeats itself, and has the answer by now
	if !r.hear(Client, r.seg(Client, 0, 0, 0)) || !r.flow.Split() {
		t.Error("the handshake was forgotten")
	}
	r.flow.Forsake()

	r = newSplit(t)
	r.rewrite(Client, r.syn(Client), 1400)
	r.rewrite(Server, r.syn(Server), 0)
	r.now = r.now.Add(slotLife)
	r.isn[Client] = r.isn[Client].Add(1 << 20)
	r.rewrite(Client, r.syn(Client), 1400)
	r.isn[Server] = r.isn[Server].Add(1 << 20)
	if p := r.rewrite(Server, r.syn(Server), 0); p.Seq != r.isn[Server] {
		t.Errorf("the client is answered with %v", p.Seq)
	}
}

// The server hears the third segment only once the client has sent it: a forged
// SYN opens nothing.
func TestSplitCompletesWithTheClient(t *testing.T) {
	r := splitHandshake(t, wire.HasMSS, allOptions)
	p := r.want(Server, 0, 0, 0)
	if p.ts == 0 {
		t.Error("no timestamp towards a server that has them")
	}
	r.wantState(InCustody)
	r.wantSilence()
	if rtt, _ := r.flow.c.conn[Server].RTT(); rtt != 40*time.Millisecond {
		t.Errorf("the round trip to the server is %v", rtt)
	}
}

// Data is acknowledged on one leg and sent on the other, with that leg's options.
func TestSplitCarriesData(t *testing.T) {
	r := splitHandshake(t, wire.HasMSS, allOptions)
	r.want(Server, 0, 0, 0)
	r.take(Client, r.seg(Client, 0, 2000, 0))
	if p := r.want(Client, 0, 0, 2000); p.ts != 0 {
		t.Error("a timestamp towards a client that has none")
	}
	p := r.want(Server, 0, 2000, 0)
	if p.ts == 0 || p.gso != 1448 {
		t.Errorf("towards the server: %v ts %d gso %d", p, p.ts, p.gso)
	}
	r.done()
}

// docs/custody.md, FIN is never taken: a client learns that its FIN has arrived
// when it has.
func TestSplitHoldsFIN(t *testing.T) {
	r := splitHandshake(t, wire.HasMSS, wire.HasMSS)
	r.want(Server, 0, 0, 0)
	r.take(Client, r.fin(Client, 0, 100, 0))
	r.want(Client, 0, 0, 100)
	if p := r.wantNext(Server, 0, 100, 0); p.flags&wire.FIN == 0 {
		t.Errorf("no FIN: %v", p)
	}
	r.advance(100 * time.Millisecond)
	r.wantSilence()
	r.take(Server, r.seg(Server, 0, 0, 101))
	r.want(Client, 0, 0, 101)
	// And the other way.
	r.take(Server, r.fin(Server, 0, 0, 101))
	r.wantNext(Client, 0, 0, 101)
	r.take(Client, r.seg(Client, 101, 0, 1))
	r.want(Server, 101, 0, 1)
	r.wantState(InCustody)
	r.take(Server, r.fin(Server, 0, 0, 101)) // our ACK of it was lost
	r.want(Server, 101, 0, 1)
	r.advance(10 * time.Second)
	r.wantState(Gone)
	if r.flow.Why() != Finished || r.flow.rec.Taken[Client] != 100 {
		t.Errorf("it ended as %v with %d bytes taken", r.flow.Why(), r.flow.rec.Taken[Client])
	}
	r.done()
}

// A reset of one end reaches the other behind what was acknowledged.
func TestSplitRelaysReset(t *testing.T) {
	r := splitHandshake(t, allOptions, wire.HasMSS)
	r.wantNext(Server, 0, 0, 0)
	r.take(Client, r.seg(Client, 0, 1000, 0))
	r.wantNext(Server, 0, 1000, 0)
	r.out = r.out[:0]
	r.take(Client, r.rst(Client, 1000))
	r.wantSilence()
	r.take(Server, r.seg(Server, 0, 0, 1000))
	if p := r.want(Server, 1000, 0, 0); p.flags&wire.RST == 0 {
		t.Errorf("no reset: %v", p)
	}
	r.advance(10 * time.Second)
	r.wantState(Gone)
	r.done()
}

// An endpoint that does not answer any more is reported to the other.
func TestSplitReportsLostEnd(t *testing.T) {
	r := splitHandshake(t, allOptions, wire.HasMSS)
	r.wantNext(Server, 0, 0, 0)
	r.take(Client, r.seg(Client, 0, 1000, 0))
	r.advance(time.Hour)
	r.wantState(Gone)
	last := r.out[len(r.out)-1]
	if last.to != Client || last.flags&wire.RST == 0 || r.flow.Why() != Lost {
		t.Errorf("last sent %v, ended as %v", last, r.flow.Why())
	}
	r.out = r.out[:0]
	r.done()
}

// Neither an operator nor a gap takes it apart; the end of accd resets both ends.
func TestSplitIsNotDrained(t *testing.T) {
	r := splitHandshake(t, allOptions, allOptions)
	r.wantNext(Server, 0, 0, 0)
	r.flow.Drain(r.now, Operator)
	r.flow.Gap(r.now)
	r.wantState(InCustody)
	if !r.flow.Split() {
		t.Error("it does not say that it is split")
	}
	r.flow.Kill(r.now)
	r.turn()
	for _, to := range []Side{Client, Server} {
		if p := r.want(to, 0, 0, 0); p.flags&wire.RST == 0 {
			t.Errorf("no reset: %v", p)
		}
	}
	r.advance(time.Minute)
	r.wantState(Gone)
	r.done()
}

// The ledger lists it as long as it lives: a successor resets it whether or not
// bytes are held.
func TestSplitIsInTheLedger(t *testing.T) {
	r := splitHandshake(t, allOptions, allOptions)
	entries, err := ReadLedger(r.ledger)
	if err != nil || len(entries) != 1 || !entries[0].Split || !entries[0].Stuck() {
		t.Errorf("the ledger lists %+v, %v", entries, err)
	}
}

// A keepalive asks the far end, too (RFC 9293, 3.8.4).
func TestSplitPassesKeepaliveOn(t *testing.T) {
	r := splitHandshake(t, allOptions, wire.HasMSS)
	r.wantNext(Server, 0, 0, 0)
	r.take(Client, r.seg(Client, -1, 0, 0))
	r.want(Client, 0, 0, 0)
	r.want(Server, -1, 0, 0)
}

// A client answered early that is gone before its handshake is over gives its place
// in the Listener's backlog back, however the flow ends.
func TestEarlyGivesItsPlaceBack(t *testing.T) {
	for name, end := range map[string]func(r *rig){
		"reset":   func(r *rig) { r.take(Client, r.rst(Client, 0)); r.advance(time.Minute) },
		"stopped": func(r *rig) { r.flow.Kill(r.now); r.turn(); r.advance(time.Minute) },
		"panic":   func(r *rig) { r.flow.Forsake() },
	} {
		t.Run(name, func(t *testing.T) {
			r := newSplit(t)
			l := tcpstack.NewListener(1, tcpstack.Secret{}, tcpstack.Secret{}, r.terms.Leg[Client])
			r.terms.Early = l
			key, p := tuple.Reverse(), new(tcpstack.Packet)
			if a := l.Receive(r.now, &key, r.syn(Client), p); a != tcpstack.Opens {
				t.Fatalf("a SYN is %v", a)
			}
			client := tuple
			r.flow = new(Flow)
			r.flow.StartEarly(r.now, new(Record), &client, r.syn(Client), Meta{}, tcpstack.Secret{}, &r.terms, &r.env)
			r.turn()
			if l.Half() != 1 {
				t.Fatalf("%d are half open", l.Half())
			}
			end(r)
			r.wantState(Gone)
			if l.Half() != 0 {
				t.Errorf("%d are still half open", l.Half())
			}
		})
	}
}

// A split flow counts from its own first byte: what it is made of served another
// flow before.
func TestSplitCountsItsOwnBytes(t *testing.T) {
	r := splitHandshake(t, allOptions, wire.HasMSS)
	r.wantNext(Server, 0, 0, 0)
	used := r.flow.c
	r.flow.end(Finished)
	used.first = [2]uint64{1 << 20, 1 << 20} // as a flow that carried more leaves it

	next := Flow{rec: new(Record), env: &r.env}
	if c := next.beginSplit(r.now); c != used {
		t.Fatal("the custody that is free is not used again")
	}
	if c, s := next.c.taken(Client), next.c.taken(Server); c != 0 || s != 0 {
		t.Errorf("%d and %d bytes were taken before there was any", c, s)
	}
}
