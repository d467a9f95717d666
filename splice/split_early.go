package splice

// A split flow whose client is answered before the server is asked: accept: early.
// docs/custody.md, Split, is to be read first.

import (
	"accd/tcpstack"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// StartEarly makes f, which is zero, a flow of the segment s of a client, of which
// terms.Early has just said that it Opens: a SYN, or the ACK of a cookie. It takes
// the payload, and borrows rec, which it fills, until the flow is Gone. The server is
// asked once the client is known to be there. secret is where sequence numbers
// towards the server begin.
func (f *Flow) StartEarly(now mono.Time, rec *Record, client *wire.Tuple, s *tcpstack.Segment, m Meta, secret tcpstack.Secret, terms *Terms, env *Env) {
	*rec = Record{Tuple: *client}
	rec.Dir[Client].ISN = s.Seq
	if s.Flags.Has(wire.ACK) {
		rec.Dir[Client].ISN = s.Seq.Add(-1)
	}
	rec.Dir[Client].headers(m)
	// The server's packets are not known yet.
	m.FlowLabel, m.From = 0, Unknown
	rec.Dir[Server].headers(m)
	f.Start(now, rec, terms, env)
	c := f.beginSplit(now)
	c.split.early, c.split.half, c.split.apart = terms.Early, !s.Flags.Has(wire.ACK), true
	key := client.Reverse()
	terms.Early.Accept(now, &c.conn[Client], &key, s, &c.stream[Client], &c.stream[Server], nil)
	iss, stamp := secret.Start(now, client)
	c.conn[Server].Dial(now, *client, iss, &c.stream[Server], &c.stream[Client], terms.Leg[Server])
	c.conn[Server].SetTimestamp(stamp)
	f.claim(c.conn[Client].SndUna(), iss)
	f.opened()
	f.care(now)
}

// opened notes that the client's handshake is over: a flood of SYNs asks no server.
func (f *Flow) opened() {
	s := &f.c.split
	if s.early == nil || f.c.conn[Client].State() == tcpstack.SynReceived {
		return
	}
	if s.half {
		s.early.Settled()
	}
	s.early, s.half = nil, false
}

// Unreachable takes an ICMP error about a packet towards a side that began at seq:
// while the server is being asked it is the answer. hard: waiting will not help.
// Taken: it was about a packet of accd's own.
func (f *Flow) Unreachable(now mono.Time, to Side, seq wire.Seq, hard bool) Disposition {
	if !f.Split() || f.c.ending.on || !f.c.conn[to].Unreachable(now, seq, hard) {
		return Pass
	}
	f.lost(now)
	return Taken
}
