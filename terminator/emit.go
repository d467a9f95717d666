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

// passLast passes the frame in view, the last of fl, and says by its source that it is.
func (s *shard) passLast(fl *flow, from splice.Side, f *link.Frame) {
	if s.parts(fl, s.view.Flags()) {
		copy(f.Bytes[6:], s.t.cfg.Farewell[:])
	}
	s.pass(from, f)
}

// emitLast is emit for the last packet of fl.
func (s *shard) emitLast(fl *flow, to splice.Side) {
	source := s.dev[to].neighbour
	if s.parts(fl, s.packet.Flags) {
		source = s.t.cfg.Farewell
	}
	s.write(to, source)
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
