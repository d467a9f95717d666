package splice

import "accd/tcpstack/wire"

// RelaySYN changes a SYN or SYN-ACK in what accd may change when it relays one
// (docs/custody.md, Opening): the MSS is clamped to mss bytes, unless that is 0,
// and the ECN bits are cleared, because a Conn speaks neither RFC 3168 nor
// AccECN yet.
func RelaySYN(v *wire.View, mss int) {
	if mss > 0 && mss <= 0xffff {
		v.ClampMSS(uint16(mss))
	}
	if f := v.Flags(); f.Any(wire.ECE | wire.CWR | wire.AE) {
		v.SetFlags(f &^ (wire.ECE | wire.CWR | wire.AE))
	}
}
