package terminator

import (
	"accd/policy"
	"accd/splice"
	"accd/tcpstack/buf"
	"accd/tcpstack/wire"
	"accd/terminator/link"
)

// neighbour reads the destination of a frame: 02:ac:cd:00:00:0n is the
// neighbour that the routes of steered packets point to, n the network of the
// interface they came in by.
func neighbour(frame []byte) (n splice.Network, ok bool) {
	if len(frame) < wire.EthLen || [5]byte(frame) != [5]byte{0x02, 0xac, 0xcd} || frame[5] > byte(splice.WAN) {
		return 0, false
	}
	return splice.Network(frame[5]), true
}

// receive decides about one frame that came in by from's tap. handed says that
// another shard read it.
func (s *shard) receive(from splice.Side, f *link.Frame, handed bool) {
	network, ok := neighbour(f.Bytes)
	if !ok {
		s.count.reasons[NotForUs]++
		return
	}
	v := &s.view
	kind := v.Parse(f.Bytes)
	if v.End == 0 {
		s.count.reasons[NotIP]++
		return
	}
	v.Partial = f.Virtio.Flags&wire.VirtioNeedsCsum != 0
	if !handed {
		s.count.count(from, v, f.Virtio.GSOSize)
	}
	switch kind {
	case wire.KindTCP:
		s.receiveTCP(from, f, network, handed)
	case wire.KindICMPError:
		s.receiveICMP(from, f, handed)
	case wire.KindFragment:
		s.receiveOdd(Fragmented, splice.Fragment, from, f)
	case wire.KindIPOptions:
		s.receiveOdd(IPOptions, splice.IPOption, from, f)
	case wire.KindBad:
		s.passFor(Malformed, from, f)
	default:
		s.passFor(NotTCP, from, f)
	}
}

// receiveTCP asks the flow of a segment what becomes of it.
func (s *shard) receiveTCP(from splice.Side, f *link.Frame, network splice.Network, handed bool) {
	v := &s.view
	// What is partial or marked valid needs no look (RFC 9293, MUST-3: the
	// rest does). A corrupted segment changes nothing here.
	if !v.Partial && f.Virtio.Flags&wire.VirtioDataValid == 0 && !v.ChecksumOK() {
		s.passFor(BadChecksum, from, f)
		return
	}
	client := v.Tuple()
	if from == splice.Server {
		client = client.Reverse()
	}
	fl := s.flows.find(client)
	if fl == nil && !handed && !v.Flags().Has(wire.SYN) {
		if to := s.other(client); to != nil {
			s.count.handoff.tcp++
			s.hand(to, from, f)
			return
		}
	}
	meta := s.meta(network)
	s.read(f)
	if fl != nil {
		if s.offer(fl, from, meta) == splice.Taken {
			return
		}
		if !fl.Reopening() && fl.State() != splice.Gone {
			s.segment.Drop()
			s.pass(from, f)
			return
		}
	}
	made, why := s.handshake(from, client, fl, meta)
	if made != nil && s.offer(made, from, meta) == splice.Taken {
		return
	}
	s.segment.Drop()
	if why == Rewritten {
		s.count.reasons[why]++
		return
	}
	s.passFor(why, from, f)
}

// offer gives the segment to its flow.
func (s *shard) offer(fl *flow, from splice.Side, meta splice.Meta) splice.Disposition {
	fl.heard = s.now
	s.current = fl
	disposition := fl.Receive(s.now, from, &s.segment, meta)
	s.current = nil
	if fl.active || fl.State() != splice.OnWire || s.late(fl) {
		s.ready(fl)
	}
	return disposition
}

// meta is what a flow is told of the packet in view beside the segment. The TTL
// is what the packet had before the kernel forwarded it to the tap.
func (s *shard) meta(network splice.Network) splice.Meta {
	v := &s.view
	return splice.Meta{TTL: above(v.TTL()), TOS: v.TOS(), FlowLabel: v.FlowLabel(), From: network}
}

// above gives the TTL one hop back.
func above(ttl uint8) uint8 {
	if ttl == 255 {
		return ttl
	}
	return ttl + 1
}

// read fills the shard's segment from the frame in view.
func (s *shard) read(f *link.Frame) {
	v, seg := &s.view, &s.segment
	seg.Seq, seg.Ack = v.Seq(), v.Ack()
	seg.Flags, seg.ECN, seg.Window, seg.Urgent = v.Flags(), v.ECN(), v.Window(), v.Urgent()
	seg.Options.Decode(v.OptionBytes())
	seg.Payload, seg.GSOSize = buf.Ref{}, int(f.Virtio.GSOSize)
	if v.Data < v.End {
		seg.Payload = f.Ref(v.Data, v.End)
	}
}

// handshake follows a passing segment that may belong to the opening of a
// connection: one without a flow, or with the addresses and ports of an older
// one, fl. It gives the flow that the segment establishes, or nil, and the
// reason why the segment passes unless that flow takes it.
func (s *shard) handshake(from splice.Side, client wire.Tuple, fl *flow, meta splice.Meta) (made *flow, why Reason) {
	flags := s.segment.Flags
	switch {
	case s.stopping && !s.opening.Splits(s.now, client):
		return nil, Stopping
	case from == splice.Client && flags.Has(wire.SYN) && !flags.Has(wire.ACK):
		if why, ok := s.mayOpen(client, meta); !ok {
			return nil, why
		}
	}
	// What is not followed is not changed either.
	relayed := flags.Has(wire.SYN) && (from == splice.Client || s.opening.Follows(s.now, client))
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

// rewrite sends accd's own SYN or SYN-ACK instead of the one in the shard's
// segment, if its handshake is split.
func (s *shard) rewrite(from splice.Side, client wire.Tuple, meta splice.Meta) bool {
	var terms *splice.Terms
	if from == splice.Client {
		near := s.network(client, splice.Client, meta.From)
		far := s.network(client, splice.Server, splice.Unknown)
		v := s.decide(client, near, meta.TOS)
		if v.Handshake == policy.Split && s.env.MaySplit() && s.t.flows.Load() < int64(s.policy.Limits.Flows) {
			terms = s.terms.of(v, near, far, true)
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
		if s.t.flows.Add(1) > int64(s.policy.Limits.Flows) && !split {
			s.t.flows.Add(-1)
			return nil, TableFull
		}
		fl = s.flows.add(client, s.now)
		s.t.owners.set(client, s.index)
	} else {
		s.count.replaced++
		fl.Replace()
		s.flows.renew(fl, s.now)
	}
	fl.verdict = v
	s.count.flows++
	s.current = fl
	if terms := s.terms.of(v, from, to, split); split {
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

// receiveICMP asks the flow that an ICMP error quotes. Only news of a packet too
// big concern accd; all others are the endpoints' business (RFC 5927, 5).
func (s *shard) receiveICMP(from splice.Side, f *link.Frame, handed bool) {
	v := &s.view
	mtu, tooBig := v.PacketTooBig()
	if !tooBig || !v.Partial && f.Virtio.Flags&wire.VirtioDataValid == 0 && !v.ChecksumOK() {
		s.passFor(ICMPError, from, f)
		return
	}
	quoted, seq := v.Quote()
	// The quoted packet went to the server, or else to the client.
	client, to := quoted, splice.Server
	fl := s.flows.find(client)
	if fl == nil {
		client, to = quoted.Reverse(), splice.Client
		fl = s.flows.find(client)
	}
	if fl != nil {
		s.current = fl
		disposition := fl.PacketTooBig(s.now, to, seq, mtu)
		s.current = nil
		s.ready(fl)
		if disposition == splice.Pass {
			s.passFor(ICMPError, from, f)
		}
		return
	}
	for _, client := range [2]wire.Tuple{quoted, quoted.Reverse()} {
		if owner := s.other(client); owner != nil && !handed {
			s.count.handoff.icmp++
			s.hand(owner, from, f)
			return
		}
	}
	s.passFor(ICMPError, from, f)
}

// receiveOdd passes a packet with IP options or a fragment. If it shows the
// ports of a flow, that flow drains first (custody.md, "URG, unknown option, IP
// option, fragment").
func (s *shard) receiveOdd(why Reason, drain splice.Reason, from splice.Side, f *link.Frame) {
	v := &s.view
	if client, ok := v.TCPTuple(); ok {
		if from == splice.Server {
			client = client.Reverse()
		}
		if fl := s.flows.find(client); fl != nil {
			s.current = fl
			fl.Drain(s.now, drain)
			s.current = nil
			s.ready(fl)
		}
	}
	s.passFor(why, from, f)
}
