package wire

import (
	"net/netip"
	"strconv"
)

// Addr is an IP address in 16 bytes; IPv4 is IPv4-mapped (RFC 4291, 2.5.5.2).
type Addr [16]byte

// AddrOf makes an Addr of a netip.Addr.
func AddrOf(a netip.Addr) Addr { return a.As16() }

// Netip gives the address as the standard library has it, IPv4 unmapped.
func (a Addr) Netip() netip.Addr { return netip.AddrFrom16(a).Unmap() }

// Is4 reports whether a is an IPv4-mapped address.
func (a Addr) Is4() bool {
	return *(*[12]byte)(a[:12]) == [12]byte{10: 0xff, 11: 0xff}
}

// Unicast reports whether a can be the address of one host: not unspecified, not
// multicast, not broadcast or reserved (RFC 1122, 3.2.1.3; RFC 1112, 4; RFC 4291,
// 2.5.2 and 2.7). A subnet's broadcast address looks like any other.
func (a Addr) Unicast() bool {
	if a.Is4() {
		return a[12] != 0 && a[12] < 224
	}
	return a[0] != 0xff && a != Addr{}
}

// Tuple names one direction of a TCP connection. It holds no pointers, so it
// can be a key in tables the garbage collector need not read.
type Tuple struct {
	Src, Dst         Addr
	SrcPort, DstPort uint16
}

// TupleOf makes a Tuple of two endpoints.
func TupleOf(src, dst netip.AddrPort) Tuple {
	return Tuple{AddrOf(src.Addr()), AddrOf(dst.Addr()), src.Port(), dst.Port()}
}

// Reverse gives the tuple of the opposite direction.
func (t Tuple) Reverse() Tuple {
	return Tuple{Src: t.Dst, Dst: t.Src, SrcPort: t.DstPort, DstPort: t.SrcPort}
}

// Is4 reports whether the connection runs over IPv4.
func (t Tuple) Is4() bool { return t.Src.Is4() }

// Source gives the sending endpoint: "10.0.0.1:4711", "[2001:db8::1]:80".
func (t Tuple) Source() string { return endpoint(t.Src, t.SrcPort) }

// String gives "10.0.0.1:4711 → 10.0.0.2:80".
func (t Tuple) String() string {
	return endpoint(t.Src, t.SrcPort) + " → " + endpoint(t.Dst, t.DstPort)
}

func endpoint(a Addr, port uint16) string {
	if a.Is4() {
		return a.Netip().String() + ":" + strconv.Itoa(int(port))
	}
	return "[" + a.Netip().String() + "]:" + strconv.Itoa(int(port))
}
