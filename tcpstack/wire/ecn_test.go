package wire

import (
	"net/netip"
	"testing"
)

// TestECN: each codepoint can be set and read, the DSCP and the flow label beside
// it stay, and the IPv4 header checksum fits.
func TestECN(t *testing.T) {
	for _, src := range []string{"10.0.0.1:1", "[2001:db8::1]:1"} {
		a := netip.MustParseAddrPort(src)
		h := Header{Tuple: TupleOf(a, a), TOS: 0xb8 | uint8(ECT0), TTL: 64, FlowLabel: 0xabcde, Flags: ACK}
		var b [MaxHeader]byte
		n, _ := h.Put(b[:])
		var v View
		if v.Parse(b[:n]) != KindTCP || v.ECN() != ECT0 {
			t.Fatalf("%s: built with %v", src, v.ECN())
		}
		for _, e := range []ECN{CE, NotECT, ECT1, ECT0} {
			v.SetECN(e)
			if v.ECN() != e || v.TOS()&^3 != 0xb8 || v.TTL() != 64 || v.Is6 && v.FlowLabel() != 0xabcde {
				t.Errorf("%s: after %v: TOS %#x, flow label %#x", src, e, v.TOS(), v.FlowLabel())
			}
			if !v.Is6 && Fold(Sum(b[EthLen:EthLen+IPv4Len], 0)) != 0xffff {
				t.Errorf("%s: after %v the header checksum is wrong", src, e)
			}
		}
	}
}
