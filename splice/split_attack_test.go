package splice

import (
	"testing"
	"time"

	"accd/tcpstack/wire"
)

// A client that nobody answers may ask again for less, as BSD does after three
// SYNs: it is answered in kind, and its leg is what it asked for last. The
// timestamps towards the server go on meanwhile (RFC 7323, 5.4).
func TestSplitAskedAgainForLess(t *testing.T) {
	r := newSplit(t)
	first := r.rewrite(Client, r.syn(Client), 1400).Options.TSVal
	r.now = r.now.Add(3 * time.Second)
	r.opts = wire.HasMSS
	p := r.rewrite(Client, r.syn(Client), 1400)
	if p.Options.Set != allOptions || p.Options.TSVal != first+3000 {
		t.Errorf("the server, told TSval %d, is asked again with %+v", first, p.Options)
	}
	r.opts = allOptions
	if p = r.rewrite(Server, r.syn(Server), 0); p.Options.Set != wire.HasMSS {
		t.Errorf("the client is answered %+v", p.Options)
	}
	r.opts = wire.HasMSS
	if !r.hear(Client, r.seg(Client, 0, 0, 0)) {
		t.Fatal("the handshake made no flow")
	}
	legs, _ := r.opening.Legs()
	if c := &legs[Client]; c.SACK || c.Timestamps || c.SndScale|c.RcvScale != 0 {
		t.Errorf("the leg of the client: %+v", *c)
	}
	if s := &legs[Server]; !s.SACK || !s.Timestamps || s.SndScale|s.RcvScale == 0 || s.TSVal != first+3000 {
		t.Errorf("the leg of the server: %+v", *s)
	}
}

// Behind its end a split flow takes nothing of the budget and no place in the ledger:
// who opens and closes in a row uses up neither.
func TestSplitLingersForNothing(t *testing.T) {
	r := splitHandshake(t, allOptions, wire.HasMSS)
	r.wantNext(Server, 0, 0, 0)
	if r.env.charged == 0 {
		t.Fatal("nothing is charged")
	}
	r.take(Client, r.fin(Client, 0, 0, 0))
	r.take(Server, r.fin(Server, 0, 0, 1))
	r.take(Client, r.seg(Client, 1, 0, 1))
	r.wantState(InCustody)
	entries, err := ReadLedger(r.ledger)
	if r.env.charged != 0 || len(entries) != 0 || err != nil {
		t.Errorf("closed at both ends: %d bytes are charged, the ledger lists %+v, %v", r.env.charged, entries, err)
	}
	r.advance(time.Minute)
	r.wantState(Gone)
	if r.env.charged != 0 || len(r.env.Ledger.free) != 4 {
		t.Errorf("gone: %d bytes are charged, %d places free", r.env.charged, len(r.env.Ledger.free))
	}
	r.out = r.out[:0]
	r.done()
}

// A SYN with a FIN or urgent data cannot be said again in other words.
func TestSplitLeavesOddFlags(t *testing.T) {
	for _, odd := range []wire.Flags{wire.FIN, wire.URG} {
		r := newSplit(t)
		s := r.syn(Client)
		s.Flags |= odd
		r.hear(Client, s)
		if r.opening.Rewrite(r.now, Client, tuple, s, &r.terms, 1400, &r.pkt) {
			t.Errorf("%v: rewritten", s.Flags)
		}
	}
}

// A forged SYN does not take a split handshake apart that the server has answered: it
// is relayed for what it is, and the endpoints go on with what was agreed on.
func TestSplitKeepsToItsSYN(t *testing.T) {
	r := newSplit(t)
	r.rewrite(Client, r.syn(Client), 1400)
	r.rewrite(Server, r.syn(Server), 0)
	forged := r.syn(Client)
	forged.Seq, forged.Options.Set = forged.Seq.Add(1<<30), 0
	r.hear(Client, forged)
	if r.opening.Rewrite(r.now, Client, tuple, forged, &r.terms, 1400, &r.pkt) {
		t.Error("the forged SYN is rewritten")
	}
	answer := r.syn(Server)
	answer.Ack = forged.Seq.Add(1)
	r.hear(Server, answer)
	if r.opening.Rewrite(r.now, Server, tuple, answer, nil, 0, &r.pkt) {
		t.Error("an answer to it is rewritten")
	}
	if !r.hear(Client, r.seg(Client, 0, 0, 0)) || !r.flow.Split() {
		t.Error("the handshake made no split flow")
	}
}
