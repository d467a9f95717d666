package splice

import "accd/tcpstack/wire"

// RelaySYN changes a SYN or SYN-ACK in what accd may change when it relays one
// (docs/custody.md, Opening): the MSS is clamped to mss bytes, unless that is 0,
// and the ECN bits are cleared, because a Conn speaks neither RFC 3168 nor
// AccECN yet. One with options that keep accd out of the connection passes as it
// is: it may be signed, flags and all (RFC 2385, 2.0).
func RelaySYN(v *wire.View, mss int) {
	var o wire.Options
	if o.Decode(v.OptionBytes()); !o.Only(harmless) {
		return
	}
	if mss > 0 && mss <= 0xffff {
		v.ClampMSS(uint16(mss))
	}
	if f := v.Flags(); f.Any(wire.ECE | wire.CWR | wire.AE) {
		v.SetFlags(f &^ (wire.ECE | wire.CWR | wire.AE))
	}
}
