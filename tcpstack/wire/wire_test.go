package wire

import (
	"flag"
	"math/rand/v2"
	"net/netip"
	"testing"
)

var seed = flag.Uint64("seed", 0, "seed of the random tests; 0: a new one")

func rng(t testing.TB) *rand.Rand {
	n := *seed
	if n == 0 {
		n = rand.Uint64()
	}
	t.Logf("-seed=%d", n)
	return rand.New(rand.NewPCG(n, 0))
}

func fill(r *rand.Rand, b []byte) []byte {
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

var (
	tuple4 = TupleOf(netip.MustParseAddrPort("10.1.2.3:4711"), netip.MustParseAddrPort("192.0.2.9:80"))
	tuple6 = TupleOf(netip.MustParseAddrPort("[2001:db8::1]:4711"), netip.MustParseAddrPort("[2001:db8:1::2]:443"))
)

// frame builds a complete frame with a right checksum.
func frame(h Header, payload []byte) []byte {
	b := make([]byte, MaxHeader)
	h.PayloadLen = len(payload)
	n, l4 := h.Put(b)
	FinishChecksum(b[:n], l4, [][]byte{payload})
	return append(b[:n], payload...)
}

// naive sums 16-bit words as RFC 1071, 4.1 does.
func naive(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

func TestUnicast(t *testing.T) {
	for s, want := range map[string]bool{
		"10.0.0.1": true, "127.0.0.1": true, "223.255.255.255": true,
		"0.0.0.0": false, "0.1.2.3": false, "224.0.0.1": false, "239.1.1.1": false, "255.255.255.255": false, "240.0.0.1": false,
		"::1": true, "2001:db8::1": true, "fe80::1": true, "::": false, "ff02::1": false,
	} {
		if got := AddrOf(netip.MustParseAddr(s)).Unicast(); got != want {
			t.Errorf("%s: %v, want %v", s, got, want)
		}
	}
}
