package terminator

import (
	"accd/splice"
	"accd/tcpstack/wire"
	"accd/terminator/link"
)

// passFor passes the frame in view and counts why.
func (s *shard) passFor(why Reason, from splice.Side, f *link.Frame) {
	s.count.reasons[why]++
	s.pass(from, f)
}

// pass writes the frame in view to the other tap, unmodified but for the
// destination MAC and the TTL: the kernel forwards it twice, before and after
// accd, and a router counts once.
func (s *shard) pass(from splice.Side, f *link.Frame) {
	v, to := &s.view, from.Other()
	d := &s.dev[to]
	copy(f.Bytes, d.mac[:])
	v.SetTTL(above(v.TTL()))
	payload := 0
	if v.Kind == wire.KindTCP {
		payload = v.End - v.Data
	}
	s.count.out[to].add(v.End-v.L3, payload, int(f.Virtio.GSOSize))
	s.forward(to, f)
}

// passFlow passes the frame in view, which is of fl, and lets go of fl if it rests.
func (s *shard) passFlow(fl *flow, from splice.Side, f *link.Frame) {
	if source := s.news(fl, from.Other(), s.view.Flags()); source != nil {
		copy(f.Bytes[6:], source[:])
	}
	s.leave(fl)
	s.pass(from, f)
}

// emitFlow is emit for a packet of fl.
func (s *shard) emitFlow(fl *flow, to splice.Side) {
	source := s.news(fl, to, s.packet.Flags)
	if source == nil {
		source = &s.dev[to].neighbour
	}
	s.write(to, *source)
}

// news gives the source address by which the frame at hand towards a side, of these
// flags, tells steering something of fl: that it is over, or that it may take the
// shortcut; nil: nothing.
func (s *shard) news(fl *flow, to splice.Side, flags wire.Flags) *[6]byte {
	switch {
	case fl.State() == splice.Gone:
		if s.parts(fl, flags) {
			return &s.t.cfg.Farewell
		}
	case fl.invite && to == splice.Server && s.invites(fl, flags):
		return &s.t.cfg.Shortcut
	}
	return nil
}

// parts reports whether the frame at hand, of these flags, may tell that the steering
// of fl, which is Gone, is over, and notes that it is told. The last frame may be an
// ACK, as where two FINs have crossed: nobody looks whether such a one is the last.
func (s *shard) parts(fl *flow, flags wire.Flags) bool {
	fl.parted = flags.Any(wire.FIN|wire.RST) && s.t.cfg.Farewell != [6]byte{} && fl.Why() != splice.Replaced
	return fl.parted
}

// emit writes the shard's packet to the tap that faces to, with headers as the
// shard's template says.
func (s *shard) emit(to splice.Side) { s.write(to, s.dev[to].neighbour) }

// write is emit from a source address.
func (s *shard) write(to splice.Side, source [6]byte) {
	d, p, h := &s.dev[to], &s.packet, &s.header
	h.DstMAC, h.SrcMAC = d.mac, source
	h.Tuple, h.TOS, h.TTL, h.FlowLabel = s.template.Tuple, s.template.TOS|uint8(p.ECN), s.template.TTL, s.template.FlowLabel
	h.Seq, h.Ack, h.Flags, h.Window, h.Urgent = p.Seq, p.Ack, p.Flags, p.Window, p.Urgent
	h.Options, h.PayloadLen = &p.Options, p.Len
	n, l4 := h.Put(s.head[:])
	s.virtio = wire.VirtioHeader{}
	if d.offload {
		s.virtio.Flags = wire.VirtioNeedsCsum
		s.virtio.CsumStart, s.virtio.CsumOffset = uint16(l4), 16
		if p.GSOSize > 0 && p.Len > p.GSOSize {
			s.virtio.GSOType = wire.VirtioGSOTCPv6
			if h.Tuple.Is4() {
				s.virtio.GSOType = wire.VirtioGSOTCPv4
			}
			if p.Flags.Has(wire.CWR) {
				s.virtio.GSOType |= wire.VirtioGSOECN
			}
			s.virtio.GSOSize, s.virtio.HdrLen = uint16(p.GSOSize), uint16(n)
		}
	} else {
		wire.FinishChecksum(s.head[:n], l4, p.Payload)
	}
	s.count.out[to].add(n-wire.EthLen+p.Len, p.Len, p.GSOSize)
	s.post(to, &s.virtio, s.head[:n], p.Payload, s.virtio.GSOSize > 0)
}

// sent notes that a tap is gone.
func (s *shard) sent(err error) {
	if err != nil && s.err == nil {
		s.err = err
	}
}
