package splice

// The handshake of a flow that is split: SYN and SYN-ACK pass with options of
// accd's own, so that each leg has what accd and its endpoint can do, whatever
// the two endpoints have in common. docs/custody.md, Split, is to be read first,
// with RFC 7323, 2.2 and RFC 9293, 3.7.1.
//
// The server is asked first and the client hears what the server said, so a port
// that is closed, filtered or unreachable looks so, and a forged SYN costs what
// it costs when it is relayed: a slot of the Opening, and at most one SYN for a
// SYN.

import (
	"time"

	"accd/tcpstack"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// splitWindow is the window in the SYN of a split leg (never scaled, RFC 7323,
// 2.2): what is held per direction is at least twice that.
const splitWindow = 65535

// Rewrite fills p with what accd says to the other endpoint instead of the SYN
// or SYN-ACK s of from, which Receive was given just before. terms are those of
// the flow to be, and mss bytes what is asked of the server at most, whose
// network is not known yet; both matter for the first SYN only, and nil terms
// relay it. It is false if the handshake is relayed: because the terms say so,
// because its SYN carries what may not be changed, or because it was relayed
// from the start.
func (o *Opening) Rewrite(now mono.Time, from Side, client wire.Tuple, s *tcpstack.Segment, terms *Terms, mss int, p *tcpstack.Packet) bool {
	h := o.slot(now, &client, nil)
	if h == nil {
		return false
	}
	answer := s.Flags.Has(wire.ACK)
	if !answer && !h.split && terms != nil && terms.Split && !h.syn.again && h.bad == None && h.syn.data == 0 && !s.Flags.Any(wire.FIN|wire.URG) && s.Options.Set&wire.HasFastOpen == 0 {
		h.split, h.scale = true, terms.WindowScale()
		h.mss = [2]uint16{Client: terms.mss(Client, client.Is4()), Server: uint16(mss)}
		h.ecn = terms.ecn(h.syn.flags)
	}
	if !h.split || answer != (from == Server) || !answer && s.Seq != h.syn.iss || answer && s.Ack != h.syn.iss.Add(1) {
		return false
	}
	to := from.Other()
	*p = tcpstack.Packet{Seq: s.Seq, Ack: s.Ack, Flags: s.Flags &^ (wire.ECE | wire.CWR | wire.AE), Window: splitWindow, Payload: p.Payload[:0]}
	q := &p.Options
	*q = wire.Options{
		Set: wire.HasMSS | wire.HasWScale | wire.HasSACKPermitted | wire.HasTS,
		MSS: h.mss[to], WScale: h.scale, TSVal: h.clock(now, to),
	}
	p.Flags |= h.ecnBits(to)
	if answer {
		q.Set = wire.HasMSS | h.syn.set&(wire.HasWScale|wire.HasSACKPermitted|wire.HasTS)
		q.TSEcr = h.syn.tsVal
	}
	if p.Flags.Any(wire.AE|wire.CWR) && answer && h.sent[to] == 0 {
		tcpstack.FirstAccECN(q)
	}
	h.sent[to] = min(h.sent[to]+1, 100)
	return true
}

// Splits reports whether the handshake of a client's tuple is being split.
func (o *Opening) Splits(now mono.Time, client wire.Tuple) bool {
	h := o.slot(now, &client, nil)
	return h != nil && h.split
}

// WindowScale gives the least shift with which a window of all that may be held can
// be offered (RFC 7323, 2.3).
func (t *Terms) WindowScale() (n uint8) {
	for n < wire.MaxWScale && 65535<<n < t.held() {
		n++
	}
	return n
}

// mss gives the MSS option for the endpoint at side.
func (t *Terms) mss(side Side, is4 bool) uint16 {
	mtu := t.Leg[side].MTU
	if mtu == 0 {
		mtu = 1500
	}
	return uint16(min(mtu-wire.HeadersLen(is4), 65535))
}

// clock gives the TSval for the endpoint at side, in milliseconds: those of the
// opposite endpoint go on, so that the two understand each other should accd die
// before the handshake is over. If that has none they begin with its ISN, which
// nobody guesses and which differs for every flow and leg (RFC 7323, 7.1).
func (h *handshake) clock(now mono.Time, side Side) uint32 {
	x := [2]*half{Client: &h.synAck, Server: &h.syn}[side]
	if x.tsAt != 0 {
		return x.tsVal + uint32(now.Sub(x.tsAt)/time.Millisecond)
	}
	return x.iss.Uint32() + uint32(now/mono.Time(time.Millisecond))
}

// negotiate fills legs with what the two handshakes have agreed on.
func (o *Opening) negotiate(now mono.Time, h *handshake) {
	said := [2]*half{&h.syn, &h.synAck}
	for i := range o.legs {
		me, far := said[i], said[1-i]
		s := &o.legs[i]
		*s = tcpstack.Snapshot{
			Tuple:      h.tuple,
			MSS:        int(me.mss),
			SACK:       me.set&wire.HasSACKPermitted != 0,
			Timestamps: me.set&wire.HasTS != 0,
			SndUna:     far.iss.Add(1),
			SndNxt:     far.iss.Add(1),
			SndWnd:     int(me.window),
			RcvNxt:     me.iss.Add(1),
			RcvEdge:    me.iss.Add(1 + splitWindow),
		}
		if Side(i) == Client {
			s.Tuple = h.tuple.Reverse()
		}
		h.agree(Side(i), s)
		if me.set&wire.HasWScale != 0 {
			s.SndScale, s.RcvScale = me.scale, h.scale
		}
		if s.Timestamps {
			s.TSRecent, s.TSRecentAge = me.tsVal, now
			s.TSVal = h.clock(now, Side(i))
		}
	}
	if rtt := now.Sub(h.synAck.at); !h.synAck.again && rtt <= unrepeated {
		o.legs[Client].SRTT = rtt
	}
	if rtt := h.synAck.at.Sub(h.syn.at); !h.syn.again && !h.synAck.again && rtt <= unrepeated {
		o.legs[Server].SRTT = rtt
	}
	for i := range o.legs {
		s := &o.legs[i]
		s.RTTVar, s.MinRTT = s.SRTT/2, s.SRTT
	}
}

// Legs gives what each leg of the handshake that Receive has just reported as
// established has agreed on, by the endpoint it leads to, if it was split.
func (o *Opening) Legs() (legs *[2]tcpstack.Snapshot, split bool) { return &o.legs, o.split }

// ecn gives what accd's two ends ask for and grant, when the client's SYN has these
// flags. Where policy leaves it open the server is asked for classic ECN if the
// client asks for any: as much of a risk as without accd.
func (t *Terms) ecn(syn wire.Flags) (p [2]tcpstack.ECNPolicy) {
	p = [2]tcpstack.ECNPolicy{t.Leg[Client].ECN, t.Leg[Server].ECN}
	if p[Server] == tcpstack.ECNGrant && syn.Has(wire.CWR|wire.ECE) {
		p[Server] = tcpstack.ECNClassic
	}
	return p
}

// ecnBits gives the ECN bits of the SYN or SYN-ACK towards a side: each leg agrees on
// its own (RFC 9768, 3.3.1). A third SYN-ACK is sent without (3.2.3.2.2).
func (h *handshake) ecnBits(to Side) wire.Flags {
	if to == Server {
		return h.ecn[Server].Ask(int(h.sent[Server]))
	}
	agreed := h.ecn[Client].Grant(h.syn.flags)
	if agreed == tcpstack.AccurateECN && h.sent[Client] >= 2 {
		return 0
	}
	return agreed.Answer(h.syn.mark)
}

// agree fills what the leg to a side has agreed on of ECN.
func (h *handshake) agree(side Side, s *tcpstack.Snapshot) {
	var ect bool
	if side == Client {
		s.ECN = h.ecn[Client].Grant(h.syn.flags)
		s.AwaitThird = true
		ect = !h.syn.quiet && (s.ECN != tcpstack.AccurateECN || h.sent[Client] <= 2)
	} else {
		s.ECN, ect = h.ecn[Server].Granted(h.synAck.flags, int(h.sent[Server]))
		s.TellSYNACK, s.SYNACKArrived = true, h.synAck.mark
	}
	if !ect {
		s.ECTLost = tcpstack.MaxECTLost
	}
}
