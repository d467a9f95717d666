package splice

import "accd/tcpstack/wire"

// RelaySYN changes a SYN or SYN-ACK in what accd may change when it relays one
// (docs/custody.md, Opening): the MSS is clamped to mss bytes, unless that is 0,
// and the endpoints are kept from AccECN: see RelayFlags. One with options that
// keep accd out of the connection passes as it is: it may be signed, flags and
// all (RFC 2385, 2.0).
func RelaySYN(v *wire.View, mss int) {
	var o wire.Options
	if o.Decode(v.OptionBytes()); !o.Only(Harmless) {
		return
	}
	if mss > 0 && mss <= 0xffff {
		v.ClampMSS(uint16(mss))
	}
	if f := v.Flags(); f != RelayFlags(f) {
		v.SetFlags(RelayFlags(f))
	}
}

// RelayFlags gives the flags with which a SYN or SYN-ACK is relayed. Custody
// speaks the classic ECN of RFC 3168, which has no counters that would have to
// agree on both legs. So AE is cleared in a SYN, and endpoints that both know
// AccECN settle on classic ECN (RFC 9768, 3.1.1). A SYN-ACK that still says
// anything but classic ECN or none reflects what it was sent (RFC 3168, 6.1.1);
// a client that asked for AccECN would take it for an agreement, so it says none.
func RelayFlags(f wire.Flags) wire.Flags {
	switch {
	case !f.Has(wire.ACK):
		return f &^ wire.AE
	case f.Any(wire.AE | wire.CWR):
		return f &^ (wire.AE | wire.CWR | wire.ECE)
	}
	return f
}
