package terminator

// How a connection becomes a flow: followed while the endpoints open it, split, or
// answered early.

import (
	"accd/policy"
	"accd/splice"
	"accd/tcpstack"
	"accd/tcpstack/buf"
	"accd/tcpstack/wire"
)

// handshake follows a passing segment that may belong to the opening of a
// connection: one without a flow, or with the addresses and ports of an older
// one, fl. It gives the flow that the segment establishes, or nil, and the
// reason why the segment passes unless that flow takes it.
func (s *shard) handshake(from splice.Side, client wire.Tuple, fl *flow, meta splice.Meta) (made *flow, why Reason) {
	flags := s.segment.Flags
	isSYN := flags.Has(wire.SYN) && !flags.Has(wire.RST)
	if why, ok := hosts(client); !ok {
		return nil, why
	}
	switch {
	case s.stopping && !s.opening.Splits(s.now, client):
		return nil, Stopping
	case from == splice.Client && isSYN && !flags.Has(wire.ACK):
		if why, ok := s.mayOpen(client, meta); !ok {
			return nil, why
		}
	}
	// What is not followed is not changed either.
	relayed := isSYN && (from == splice.Client || s.opening.Follows(s.now, client))
	established := s.opening.Receive(s.now, from, client, &s.segment, meta, &s.record)
	switch {
	case established:
		s.clients.done(client.Src, s.now)
		return s.admit(client, fl)
	case relayed && s.rewrite(from, client, meta):
		return nil, Rewritten
	case relayed:
		splice.RelaySYN(&s.view, s.mss(from, client, meta))
		return nil, Opening
	}
	return nil, NoFlow
}

// hosts says whether both addresses are those of hosts, and not of the same, and
// why not.
func hosts(client wire.Tuple) (Reason, bool) {
	switch {
	case client.Src == client.Dst:
		return Land, false
	case !client.Src.Unicast() || !client.Dst.Unicast():
		return NotUnicast, false // RFC 9293, MUST-57 and MUST-63
	}
	return Opening, true
}

// early answers a client in the server's stead, if its rule says so, and reports
// whether it took the shard's segment. Only what opens a connection is answered:
// an ACK out of nowhere may belong to a connection older than accd.
func (s *shard) early(client wire.Tuple, meta splice.Meta) bool {
	flags := s.segment.Flags
	opens := flags.Has(wire.SYN) && !flags.Has(wire.ACK)
	if s.stopping || flags.Has(wire.RST) || !opens && !flags.Has(wire.ACK) || flags.Has(wire.SYN|wire.ACK) {
		return false
	}
	if _, ok := hosts(client); !ok {
		return false
	}
	near := s.network(client, splice.Client, meta.From)
	v := s.decide(client, near, meta.TOS)
	if v.Handshake != policy.Early || s.opening.Follows(s.now, client) {
		return false
	}
	room := s.env.MaySplit() && s.room()
	if opens && (!room || !s.segment.Options.Only(splice.Harmless)) {
		return false // it is relayed
	}
	ruling := s.terms.of(v, near, s.network(client, splice.Server, splice.Unknown), true)
	terms := s.terms.at(ruling).terms
	key := client.Reverse()
	segment := s.segment // what Receive drops may still pass
	segment.Payload = buf.Ref{}
	why := Unanswered
	switch arrival := terms.Early.Receive(s.now, &key, &segment, &s.packet); {
	case arrival == tcpstack.Opens && room && s.newFlows.take(s.now):
		s.startEarly(client, ruling, meta)
		why = Rewritten
	case arrival == tcpstack.Opens && opens:
		return false // it is relayed
	case arrival == tcpstack.Opens:
		// Of a cookie: it comes again.
	case arrival == tcpstack.Answered && opens:
		s.template = splice.Template{Tuple: key, TTL: meta.TTL, TOS: meta.TOS &^ 3}
		s.emit(splice.Client)
		why = Rewritten
	case arrival == tcpstack.Answered:
		return false
	}
	// What follows the lost ACK of a cookie does not pass: the server knows nothing
	// of it yet.
	s.segment.Drop()
	s.count.reasons[why]++
	return true
}

// startEarly makes a flow of the shard's segment, by which a client that is answered
// early opens a connection. It takes the payload.
func (s *shard) startEarly(client wire.Tuple, ruling uint32, meta splice.Meta) {
	s.t.flows.Add(1)
	s.record = splice.Record{Tuple: client}
	fl := s.add(&s.record)
	terms := s.rule(fl, ruling)
	s.count.flows++
	s.current = fl
	fl.StartEarly(s.now, &s.place(fl).Record, &client, &s.segment, meta, s.secret, terms, &s.env)
	s.current = nil
	s.segment.Payload = buf.Ref{}
	s.ready(fl)
}

// rewrite sends accd's own SYN or SYN-ACK instead of the one in the shard's
// segment, if its handshake is split.
func (s *shard) rewrite(from splice.Side, client wire.Tuple, meta splice.Meta) bool {
	var terms *splice.Terms
	if from == splice.Client {
		near := s.network(client, splice.Client, meta.From)
		far := s.network(client, splice.Server, splice.Unknown)
		v := s.decide(client, near, meta.TOS)
		if v.Handshake == policy.Split && s.env.MaySplit() && s.room() {
			terms = s.terms.at(s.terms.of(v, near, far, true)).terms
		}
	}
	if !s.opening.Rewrite(s.now, from, client, &s.segment, terms, s.terms.clamp(s.view.Is6), &s.packet) {
		return false
	}
	s.template = splice.Template{Tuple: s.view.Tuple(), TTL: meta.TTL, TOS: meta.TOS &^ 3, FlowLabel: meta.FlowLabel}
	s.emit(from.Other())
	return true
}

// mss gives what the MSS of a relayed SYN or SYN-ACK is clamped to: what all
// networks carry or, where the rule says jumbo, what the leg it goes out on does,
// since accd is what sends on the other. An endpoint whose network is not known
// before it answers is taken to be across from the one that asks.
func (s *shard) mss(from splice.Side, client wire.Tuple, meta splice.Meta) int {
	asked := meta
	if from == splice.Server {
		var ok bool
		if asked, ok = s.opening.Asked(s.now, client); !ok {
			return s.terms.clamp(s.view.Is6)
		}
	}
	near := s.network(client, splice.Client, asked.From)
	if !s.decide(client, near, asked.TOS).Jumbo {
		return s.terms.clamp(s.view.Is6)
	}
	if from == splice.Server {
		return s.terms.carries(near, s.view.Is6)
	}
	far := s.network(client, splice.Server, splice.Unknown)
	if far == policy.Unknown {
		switch near {
		case policy.LAN:
			far = policy.WAN
		case policy.WAN:
			far = policy.LAN
		}
	}
	return s.terms.carries(far, s.view.Is6)
}

// mayOpen says whether a client's SYN is followed, and why not.
func (s *shard) mayOpen(client wire.Tuple, meta splice.Meta) (Reason, bool) {
	if s.decide(client, s.network(client, splice.Client, meta.From), meta.TOS).Action != policy.Accelerate {
		return Rule, false
	}
	if !s.opening.Follows(s.now, client) && !s.clients.begin(client.Src, s.now) {
		return ClientOpening, false
	}
	return Opening, true
}

// network gives the side of an endpoint whose packets came from n.
func (s *shard) network(client wire.Tuple, of splice.Side, n splice.Network) policy.Network {
	address := client.Src
	if of == splice.Server {
		address = client.Dst
	}
	return s.policy.Network(address, policy.Network(n))
}

// decide gives what the policy says of a client.
func (s *shard) decide(client wire.Tuple, from policy.Network, tos uint8) *policy.Verdict {
	return s.policy.Decide(client, policy.Meta{From: from, DSCP: tos >> 2})
}

// room reports whether there may be one more flow.
func (s *shard) room() bool { return s.t.flows.Load() < int64(s.t.most) && s.flows.room() }

// admit makes a flow of the handshake in the shard's record, unless a limit or
// the policy forbids it. old is the flow of an earlier connection of the same
// name, or nil. A handshake that was split has passed its limits with its SYN: it
// cannot be native any more.
func (s *shard) admit(client wire.Tuple, old *flow) (*flow, Reason) {
	rec := &s.record
	from := s.network(client, splice.Client, rec.Dir[splice.Client].Net)
	to := s.network(client, splice.Server, rec.Dir[splice.Server].Net)
	v := s.decide(client, from, rec.Dir[splice.Client].TOS)
	legs, split := s.opening.Legs()
	if v.Action != policy.Accelerate && !split {
		return nil, Rule
	}
	if !s.newFlows.take(s.now) && !split {
		return nil, TooManyNew
	}
	fl := old
	if fl == nil {
		if n := s.t.flows.Add(1); n > int64(s.t.most) && !split || !s.flows.room() {
			s.t.flows.Add(-1)
			return nil, TableFull
		}
		fl = s.add(rec)
	} else {
		s.count.replaced++
		fl.Replace()
		s.renew(fl)
	}
	s.count.flows++
	s.current = fl
	rec = &s.place(fl).Record
	if terms := s.rule(fl, s.terms.of(v, from, to, split)); split {
		fl.StartSplit(s.now, rec, legs, terms, &s.env)
		if s.stopping {
			fl.Kill(s.now) // its ends cannot go on without accd
		}
	} else {
		fl.Start(s.now, rec, terms, &s.env)
	}
	s.current = nil
	return fl, Opening
}
