package wire

import "encoding/binary"

// ECN is the codepoint in the lower two bits of the traffic class (RFC 3168, 5).
type ECN uint8

// The codepoints.
const (
	NotECT ECN = iota // the sender does not want marks
	ECT1              // ECN-capable; RFC 9331 gives it to L4S
	ECT0              // ECN-capable
	CE                // congestion experienced: a node on the way has marked it
)

// String gives the codepoint as RFC 3168 writes it.
func (e ECN) String() string { return [...]string{"Not-ECT", "ECT(1)", "ECT(0)", "CE"}[e&3] }

// ECN gives the codepoint of the IP header.
func (v *View) ECN() ECN { return ECN(v.TOS() & 3) }

// SetECN replaces the codepoint and mends the IPv4 header checksum.
func (v *View) SetECN(e ECN) {
	h := v.Frame[v.L3:]
	if v.Is6 {
		h[1] = h[1]&^0x30 | uint8(e)<<4
		return
	}
	old := binary.BigEndian.Uint16(h)
	h[1] = h[1]&^3 | uint8(e)
	update(h[10:12], old, binary.BigEndian.Uint16(h))
}
