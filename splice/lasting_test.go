package splice

import (
	"testing"
	"time"

	"accd/tcpstack"
	"accd/tcpstack/wire"
)

// A flow lasts in every state but where its end, or a life as a native, is in sight.
func TestLasts(t *testing.T) {
	for name, c := range map[string]struct {
		flow func(t *testing.T) *rig
		do   func(r *rig)
		want bool
	}{
		"on the wire":       {establish, func(*rig) {}, true},
		"in custody":        {establish, func(r *rig) { r.enter(Client, 100) }, true},
		"draining":          {establish, func(r *rig) { r.enter(Client, 100); r.flow.Gap(r.now) }, true},
		"drained for good":  {establish, func(r *rig) { r.flow.Drain(r.now, Operator) }, false},
		"without terms":     {establish, func(r *rig) { r.flow.terms = nil }, false},
		"another SYN":       {establish, func(r *rig) { s := r.syn(Client); s.Seq = s.Seq.Add(1e6); r.pass(Client, s) }, false},
		"one FIN":           {establish, func(r *rig) { r.pass(Client, r.fin(Client, 0, 0, 0)) }, true},
		"reset on the wire": {establish, func(r *rig) { r.pass(Client, r.rst(Client, 0)) }, false},
		"reset with bytes held": {establish, func(r *rig) {
			r.enter(Client, 100)
			r.take(Client, r.rst(Client, 100))
			r.wantState(InCustody)
		}, false},
		"split": {splitEstablished, func(*rig) {}, true},
		"split, both closed": {splitEstablished, func(r *rig) {
			r.take(Client, r.fin(Client, 0, 0, 0))
			r.take(Server, r.seg(Server, 0, 0, 1))
			r.take(Server, r.fin(Server, 0, 0, 1))
			r.take(Client, r.seg(Client, 1, 0, 1))
			r.wantState(InCustody)
		}, false},
		"answered early": {halfOpen, func(*rig) {}, false},
		"answered early, the client is there": {halfOpen, func(r *rig) {
			ack := r.seg(Client, 0, 0, 0)
			ack.Ack = r.flow.c.conn[Client].SndNxt()
			r.take(Client, ack)
			if s := r.flow.c.conn[Client].State(); s != tcpstack.Established {
				r.t.Fatalf("the client's leg is %v", s)
			}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := c.flow(t)
			c.do(r)
			if got := r.flow.Lasts(); got != c.want {
				t.Errorf("%v: it lasts: %v", r.flow.State(), got)
			}
		})
	}
}

// splitEstablished gives a split flow of which nothing is on its way.
func splitEstablished(t *testing.T) *rig { return splitHandshake(t, wire.HasMSS, wire.HasMSS) }

// halfOpen gives a flow whose client has been sent a SYN-ACK, and whose server nothing.
func halfOpen(t *testing.T) *rig {
	r := newSplit(t)
	r.terms.Early = tcpstack.NewListener(1, tcpstack.Secret{}, tcpstack.Secret{}, r.terms.Leg[Client])
	key, client := tuple.Reverse(), tuple
	if a := r.terms.Early.Receive(r.now, &key, r.syn(Client), new(tcpstack.Packet)); a != tcpstack.Opens {
		t.Fatalf("a SYN is %v", a)
	}
	r.flow = new(Flow)
	r.flow.StartEarly(r.now, new(Record), &client, r.syn(Client), Meta{}, tcpstack.Secret{}, &r.terms, &r.env)
	r.turn()
	r.now = r.now.Add(time.Millisecond)
	return r
}

// Where the network of a packet is not told, it came the way of those before it.
func TestNetworkStaysKnown(t *testing.T) {
	for name, begin := range map[string]func(r *rig){
		"wire":    func(*rig) {},
		"custody": func(r *rig) { r.enter(Client, 100) },
		"gap":     func(r *rig) { r.flow.Gap(r.now) },
	} {
		t.Run(name, func(t *testing.T) {
			r := establish(t)
			begin(r)
			for from, net := range []Network{LAN, WAN} {
				d := &r.flow.Record().Dir[from]
				s := r.seg(Side(from), 0, 0, 0)
				r.flow.Receive(r.now, Side(from), s, Meta{TTL: 9})
				if d.Net != net || d.TTL != 9 {
					t.Errorf("the %v is in network %d, TTL %d; want %d, 9", Side(from), d.Net, d.TTL, net)
				}
				s = r.seg(Side(from), 0, 0, 0)
				if r.flow.Receive(r.now, Side(from), s, Meta{TTL: 9, From: 3 - net}); d.Net != 3-net {
					t.Errorf("the %v has moved to network %d, not %d", Side(from), 3-net, d.Net)
				}
			}
		})
	}
}
