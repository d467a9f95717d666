package wire

import "encoding/binary"

// MaxHeader is the room in bytes that Header.Put may need.
const MaxHeader = EthLen + IPv6Len + TCPLen + 40

// Header describes the headers of one outgoing TCP packet.
type Header struct {
	DstMAC, SrcMAC [6]byte
	Tuple          Tuple // Src sends
	TOS, TTL       uint8
	FlowLabel      uint32 // IPv6 only
	Seq, Ack       Seq
	Flags          Flags
	Window         uint16 // as on the wire, scaled
	Urgent         uint16
	Options        *Options // nil: none
	PayloadLen     int      // bytes that follow the headers
}

// Put writes Ethernet, IP and TCP headers to b, which holds at least MaxHeader
// bytes, and gives their length and the start of the TCP header. The TCP
// checksum field gets the folded pseudo-header sum, as VirtioNeedsCsum wants
// it; FinishChecksum completes it where the device cannot. IPv4 sets DF and an
// ID of 0 (RFC 6864, 4.1: an atomic datagram).
func (h *Header) Put(b []byte) (n, l4 int) {
	copy(b[0:6], h.DstMAC[:])
	copy(b[6:12], h.SrcMAC[:])
	l3 := EthLen
	is4 := h.Tuple.Is4()
	if is4 {
		l4 = l3 + IPv4Len
		binary.BigEndian.PutUint16(b[12:], EtherIPv4)
	} else {
		l4 = l3 + IPv6Len
		binary.BigEndian.PutUint16(b[12:], EtherIPv6)
	}
	t := b[l4:]
	hlen := TCPLen
	if h.Options != nil {
		hlen += h.Options.Encode(t[TCPLen:])
	}
	binary.BigEndian.PutUint16(t[0:], h.Tuple.SrcPort)
	binary.BigEndian.PutUint16(t[2:], h.Tuple.DstPort)
	binary.BigEndian.PutUint32(t[4:], h.Seq.n)
	binary.BigEndian.PutUint32(t[8:], h.Ack.n)
	binary.BigEndian.PutUint16(t[12:], uint16(hlen/4)<<12|uint16(h.Flags))
	binary.BigEndian.PutUint16(t[14:], h.Window)
	binary.BigEndian.PutUint16(t[18:], h.Urgent)
	length := hlen + h.PayloadLen
	p := b[l3:l4]
	var src, dst []byte
	if is4 {
		p[0], p[1] = 0x45, h.TOS
		binary.BigEndian.PutUint16(p[2:], uint16(IPv4Len+length))
		binary.BigEndian.PutUint32(p[4:], 0x4000) // ID 0, DF
		p[8], p[9], p[10], p[11] = h.TTL, ProtoTCP, 0, 0
		copy(p[12:16], h.Tuple.Src[12:])
		copy(p[16:20], h.Tuple.Dst[12:])
		binary.BigEndian.PutUint16(p[10:], ^Fold(Sum(p, 0)))
		src, dst = p[12:16], p[16:20]
	} else {
		binary.BigEndian.PutUint32(p[0:], 6<<28|uint32(h.TOS)<<20|h.FlowLabel&0xfffff)
		binary.BigEndian.PutUint16(p[4:], uint16(length))
		p[6], p[7] = ProtoTCP, h.TTL
		copy(p[8:24], h.Tuple.Src[:])
		copy(p[24:40], h.Tuple.Dst[:])
		src, dst = p[8:24], p[24:40]
	}
	binary.BigEndian.PutUint16(t[16:], Fold(PseudoSum(src, dst, ProtoTCP, length)))
	return l4 + hlen, l4
}

// FinishChecksum completes the partial TCP checksum of head, whose TCP header
// starts at l4, over the rest of head and the payload pieces of body.
func FinishChecksum(head []byte, l4 int, body [][]byte) {
	acc := uint64(Fold(Sum(head[l4:], 0)))
	odd := false
	for _, p := range body {
		if len(p) == 0 {
			continue
		}
		if odd {
			// The byte is the lower half of a word that the piece before began.
			acc += uint64(p[0])
			p = p[1:]
		}
		// Folded, the pieces cannot overflow the 64 bits.
		acc += uint64(Fold(Sum(p, 0)))
		odd = len(p)%2 == 1
	}
	binary.BigEndian.PutUint16(head[l4+16:], ^Fold(acc))
}
