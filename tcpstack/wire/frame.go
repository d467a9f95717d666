// Package wire reads and writes the bytes of Ethernet, IP, TCP and ICMP
// headers and of the virtio-net header. It allocates nothing and copies no
// payload. RFC 791, 8200, 9293, 7323, 2018, 1071.
package wire

import "encoding/binary"

// Lengths in bytes of headers without options.
const (
	EthLen  = 14
	IPv4Len = 20
	IPv6Len = 40
	TCPLen  = 20
)

// HeadersLen gives the bytes of the IP and TCP headers of a packet, without options.
func HeadersLen(is4 bool) int {
	if is4 {
		return IPv4Len + TCPLen
	}
	return IPv6Len + TCPLen
}

// EtherTypes and protocol numbers.
const (
	EtherIPv4   = 0x0800
	EtherIPv6   = 0x86dd
	ProtoTCP    = 6
	ProtoICMP   = 1
	ProtoICMPv6 = 58
)

// Kind says what Parse found.
type Kind uint8

// What a frame can be. Everything but KindTCP is passed on by accd without
// looking further; the kinds are the reasons.
const (
	KindTCP       Kind = iota // a whole TCP segment
	KindICMPError             // an ICMP error that quotes a TCP segment: see Quote
	KindOther                 // IP, but neither of the above
	KindFragment              // an IPv4 or IPv6 fragment
	KindIPOptions             // TCP behind IPv4 options or IPv6 extension headers
	KindBad                   // truncated, or lengths that contradict each other
	KindNotIP
)

// View is one frame and where its parts are. Parse fills it; the accessors
// read and write the frame's own bytes. Offsets are from the frame's start.
// Accessors of TCP fields are valid for KindTCP only.
type View struct {
	Frame []byte // from the Ethernet header on, without virtio-net header
	Kind  Kind
	Is6   bool
	L3    int // start of the IP header
	L4    int // start of the TCP or ICMP header
	Data  int // start of the TCP payload
	End   int // end of the IP packet; Ethernet padding lies behind it

	// Partial says that the TCP checksum covers the pseudo header only
	// (virtio-net NEEDS_CSUM). Parse clears it; who read the frame sets it.
	Partial bool
}

// Parse finds the parts of an Ethernet frame and gives its kind, which it also
// stores. The view borrows frame.
func (v *View) Parse(frame []byte) Kind {
	*v = View{Frame: frame, L3: EthLen}
	v.Kind = v.parse(frame)
	return v.Kind
}

// ParseIP is Parse for a packet that starts with its IP header.
func (v *View) ParseIP(packet []byte) Kind {
	*v = View{Frame: packet}
	if len(packet) == 0 {
		v.Kind = KindBad
		return v.Kind
	}
	switch packet[0] >> 4 {
	case 4:
		v.Kind = v.parse4()
	case 6:
		v.Kind = v.parse6()
	default:
		v.Kind = KindNotIP
	}
	return v.Kind
}

func (v *View) parse(f []byte) Kind {
	if len(f) < EthLen {
		return KindBad
	}
	switch binary.BigEndian.Uint16(f[12:]) {
	case EtherIPv4:
		return v.parse4()
	case EtherIPv6:
		return v.parse6()
	}
	return KindNotIP
}

func (v *View) parse4() Kind {
	p := v.Frame[v.L3:]
	if len(p) < IPv4Len || p[0]>>4 != 4 {
		return KindBad
	}
	hlen := int(p[0]&15) * 4
	total := int(binary.BigEndian.Uint16(p[2:]))
	if hlen < IPv4Len || total < hlen || total > len(p) {
		return KindBad
	}
	v.L4, v.End = v.L3+hlen, v.L3+total
	if binary.BigEndian.Uint16(p[6:])&0x3fff != 0 {
		return KindFragment
	}
	switch p[9] {
	case ProtoTCP:
		if hlen != IPv4Len {
			return KindIPOptions
		}
		return v.parseTCP()
	case ProtoICMP:
		// RFC 792: 3 unreachable, 11 time exceeded, 12 parameter problem. A source
		// quench, 4, is none of ours (RFC 9293, MUST-55; RFC 6633).
		if b := v.Frame[v.L4:v.End]; len(b) >= 8 && (b[0] == 3 || b[0] == 11 || b[0] == 12) {
			return v.parseQuote()
		}
	}
	return KindOther
}

func (v *View) parse6() Kind {
	p := v.Frame[v.L3:]
	if len(p) < IPv6Len || p[0]>>4 != 6 {
		return KindBad
	}
	v.Is6 = true
	total := IPv6Len + int(binary.BigEndian.Uint16(p[4:]))
	if total > len(p) {
		return KindBad
	}
	v.L4, v.End = v.L3+IPv6Len, v.L3+total
	switch p[6] {
	case ProtoTCP:
		return v.parseTCP()
	case ProtoICMPv6:
		// RFC 4443: errors are types below 128.
		if b := v.Frame[v.L4:v.End]; len(b) >= 8 && b[0] >= 1 && b[0] <= 4 {
			return v.parseQuote()
		}
	case 44: // RFC 8200, 4.5: fragment header
		return KindFragment
	case 0, 43, 60: // hop-by-hop, routing, destination options
		return KindIPOptions
	}
	return KindOther
}

func (v *View) parseTCP() Kind {
	t := v.Frame[v.L4:v.End]
	if len(t) < TCPLen {
		return KindBad
	}
	off := int(t[12]>>4) * 4
	if off < TCPLen || off > len(t) {
		return KindBad
	}
	v.Data = v.L4 + off
	return KindTCP
}

// parseQuote accepts an ICMP error that quotes at least the ports and the
// sequence number of an unfragmented TCP segment.
func (v *View) parseQuote() Kind {
	q := v.Frame[v.L4+8 : v.End]
	if v.Is6 {
		if len(q) < IPv6Len+8 || q[0]>>4 != 6 || q[6] != ProtoTCP {
			return KindOther
		}
		v.Data = v.L4 + 8 + IPv6Len
		return KindICMPError
	}
	if len(q) < IPv4Len || q[0]>>4 != 4 || q[9] != ProtoTCP || binary.BigEndian.Uint16(q[6:])&0x1fff != 0 {
		return KindOther
	}
	hlen := int(q[0]&15) * 4
	if hlen < IPv4Len || len(q) < hlen+8 {
		return KindOther
	}
	v.Data = v.L4 + 8 + hlen
	return KindICMPError
}

func (v *View) addrs(l3 int) (src, dst []byte) {
	if v.Is6 {
		return v.Frame[l3+8 : l3+24], v.Frame[l3+24 : l3+40]
	}
	return v.Frame[l3+12 : l3+16], v.Frame[l3+16 : l3+20]
}

func (v *View) tuple(l3, l4 int) (t Tuple) {
	src, dst := v.addrs(l3)
	if v.Is6 {
		copy(t.Src[:], src)
		copy(t.Dst[:], dst)
	} else {
		t.Src[10], t.Src[11], t.Dst[10], t.Dst[11] = 0xff, 0xff, 0xff, 0xff
		copy(t.Src[12:], src)
		copy(t.Dst[12:], dst)
	}
	t.SrcPort = binary.BigEndian.Uint16(v.Frame[l4:])
	t.DstPort = binary.BigEndian.Uint16(v.Frame[l4+2:])
	return t
}

// Tuple gives the addresses and ports of a TCP segment, as sent.
func (v *View) Tuple() Tuple { return v.tuple(v.L3, v.L4) }

// TCPTuple gives the tuple and the sequence number of a TCP packet that is
// KindIPOptions or the first KindFragment of one; ok is false if the packet does
// not show them.
func (v *View) TCPTuple() (t Tuple, seq Seq, ok bool) {
	shown := func(at int) (Tuple, Seq, bool) {
		return v.tuple(v.L3, at), SeqOf(binary.BigEndian.Uint32(v.Frame[at+4:])), true
	}
	at := v.L4
	if !v.Is6 {
		p := v.Frame[v.L3:]
		first := binary.BigEndian.Uint16(p[6:])&0x1fff == 0
		if p[9] != ProtoTCP || !first || at+8 > v.End {
			return t, seq, false
		}
		return shown(at)
	}
	for next := v.Frame[v.L3+6]; at+8 <= v.End; {
		b := v.Frame[at:v.End]
		switch next {
		case ProtoTCP:
			return shown(at)
		case 44: // RFC 8200, 4.5
			if binary.BigEndian.Uint16(b[2:])&^7 != 0 {
				return t, seq, false
			}
			at += 8
		case 0, 43, 60: // RFC 8200, 4.3, 4.4, 4.6
			at += 8 + 8*int(b[1])
		default:
			return t, seq, false
		}
		next = b[0]
	}
	return t, seq, false
}

// Quote gives, for KindICMPError, the tuple and the sequence number of the
// segment the error is about, as that segment's sender wrote them.
func (v *View) Quote() (Tuple, Seq) {
	return v.tuple(v.L4+8, v.Data), SeqOf(binary.BigEndian.Uint32(v.Frame[v.Data+4:]))
}

// PacketTooBig gives, for KindICMPError, the MTU in bytes that a router asks
// for (RFC 1191, 4; RFC 4443, 3.2). ok is false for every other error; an MTU
// of 0 comes from a router older than RFC 1191.
func (v *View) PacketTooBig() (mtu int, ok bool) {
	b := v.Frame[v.L4:]
	if v.Is6 {
		return int(binary.BigEndian.Uint32(b[4:])), b[0] == 2
	}
	return int(binary.BigEndian.Uint16(b[6:])), b[0] == 3 && b[1] == 4
}

// Unreachable reports, for KindICMPError, that the destination cannot be reached
// and waiting will not help whoever opens a connection (RFC 792 and RFC 4443, 3.1:
// destination unreachable, but for news of a packet too big).
func (v *View) Unreachable() bool {
	b := v.Frame[v.L4:]
	if v.Is6 {
		return b[0] == 1
	}
	return b[0] == 3 && b[1] != 4
}

// SrcPort and DstPort give the ports.
func (v *View) SrcPort() uint16 { return binary.BigEndian.Uint16(v.Frame[v.L4:]) }

// DstPort gives the destination port.
func (v *View) DstPort() uint16 { return binary.BigEndian.Uint16(v.Frame[v.L4+2:]) }

// Seq gives the sequence number.
func (v *View) Seq() Seq { return SeqOf(binary.BigEndian.Uint32(v.Frame[v.L4+4:])) }

// Ack gives the acknowledgment number, meaningful with the ACK flag.
func (v *View) Ack() Seq { return SeqOf(binary.BigEndian.Uint32(v.Frame[v.L4+8:])) }

// Flags gives the control bits.
func (v *View) Flags() Flags { return Flags(binary.BigEndian.Uint16(v.Frame[v.L4+12:]) & 0x1ff) }

// SetFlags replaces the control bits and mends the checksum.
func (v *View) SetFlags(f Flags) {
	b := v.Frame[v.L4+12 : v.L4+14]
	old := binary.BigEndian.Uint16(b)
	v.patch(v.L4+12, old&^0x1ff|uint16(f)&0x1ff)
}

// Window gives the window field, unscaled.
func (v *View) Window() uint16 { return binary.BigEndian.Uint16(v.Frame[v.L4+14:]) }

// Urgent gives the urgent pointer, meaningful with the URG flag.
func (v *View) Urgent() uint16 { return binary.BigEndian.Uint16(v.Frame[v.L4+18:]) }

// OptionBytes gives the bytes of the TCP options.
func (v *View) OptionBytes() []byte { return v.Frame[v.L4+TCPLen : v.Data] }

// Payload gives the bytes of the TCP payload.
func (v *View) Payload() []byte { return v.Frame[v.Data:v.End] }

// TOS gives the traffic class: DSCP in the upper six bits, ECN in the lower two.
func (v *View) TOS() uint8 {
	if v.Is6 {
		return uint8(binary.BigEndian.Uint16(v.Frame[v.L3:]) >> 4)
	}
	return v.Frame[v.L3+1]
}

// FlowLabel gives the IPv6 flow label; 0 for IPv4.
func (v *View) FlowLabel() uint32 {
	if !v.Is6 {
		return 0
	}
	return binary.BigEndian.Uint32(v.Frame[v.L3:]) & 0xfffff
}

// TTL gives the IPv4 time to live or the IPv6 hop limit.
func (v *View) TTL() uint8 {
	if v.Is6 {
		return v.Frame[v.L3+7]
	}
	return v.Frame[v.L3+8]
}

// SetTTL replaces the TTL or hop limit and mends the IPv4 header checksum.
func (v *View) SetTTL(ttl uint8) {
	if v.Is6 {
		v.Frame[v.L3+7] = ttl
		return
	}
	h := v.Frame[v.L3:]
	old := binary.BigEndian.Uint16(h[8:])
	h[8] = ttl
	update(h[10:12], old, binary.BigEndian.Uint16(h[8:]))
}

// ClampMSS lowers the MSS option of a SYN to at most mss and mends the
// checksum. It reports whether there was something to lower.
func (v *View) ClampMSS(mss uint16) bool {
	b := v.OptionBytes()
	for i := 0; i < len(b); {
		switch {
		case b[i] == optEOL:
			return false
		case b[i] == optNOP:
			i++
			continue
		case i+1 >= len(b) || b[i+1] < 2 || i+int(b[i+1]) > len(b):
			return false
		case b[i] == optMSS && b[i+1] == 4:
			if binary.BigEndian.Uint16(b[i+2:]) <= mss {
				return false
			}
			at := v.L4 + TCPLen + i + 2
			if i%2 == 0 {
				v.patch(at, mss)
				return true
			}
			// An option at an odd offset straddles two checksum words.
			var hi, lo [2]byte
			copy(hi[:], v.Frame[at-1:at+1])
			copy(lo[:], v.Frame[at+1:at+3])
			hi[1], lo[0] = byte(mss>>8), byte(mss)
			v.patch(at-1, binary.BigEndian.Uint16(hi[:]))
			v.patch(at+1, binary.BigEndian.Uint16(lo[:]))
			return true
		}
		i += int(b[i+1])
	}
	return false
}

// patch replaces a 16-bit word of the TCP header at an even distance from its
// start and mends the checksum, unless that is partial and does not cover it.
func (v *View) patch(at int, word uint16) {
	b := v.Frame[at : at+2]
	old := binary.BigEndian.Uint16(b)
	binary.BigEndian.PutUint16(b, word)
	if !v.Partial {
		update(v.Frame[v.L4+16:v.L4+18], old, word)
	}
}

// HeaderOK verifies the checksum of the IPv4 header (RFC 791, 3.1); IPv6 has none.
func (v *View) HeaderOK() bool {
	return v.Is6 || Fold(Sum(v.Frame[v.L3:v.L4], 0)) == 0xffff
}

// ChecksumOK verifies the checksum of a TCP segment (RFC 9293, MUST-3) or of an
// ICMP error (RFC 792; RFC 4443, 2.3). It does not know of Partial.
func (v *View) ChecksumOK() bool {
	body := v.Frame[v.L4:v.End]
	var acc uint64
	switch src, dst := v.addrs(v.L3); {
	case v.Kind == KindTCP:
		acc = PseudoSum(src, dst, ProtoTCP, len(body))
	case v.Is6:
		acc = PseudoSum(src, dst, ProtoICMPv6, len(body))
	}
	return Fold(Sum(body, acc)) == 0xffff
}

// update mends a checksum after one word changed from old to word (RFC 1624, 3).
func update(sum []byte, old, word uint16) {
	acc := uint32(^binary.BigEndian.Uint16(sum)) + uint32(^old) + uint32(word)
	acc = acc>>16 + acc&0xffff
	acc = acc>>16 + acc&0xffff
	binary.BigEndian.PutUint16(sum, ^uint16(acc))
}
