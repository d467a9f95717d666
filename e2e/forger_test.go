package e2e

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"accd/netcfg/netlab"
	"accd/tcpstack/wire"
)

// badDSCP marks what the tests forge. The router behind the box counts and drops it,
// so no endpoint answers: what comes back is accd's.
const badDSCP = 42

// forged is a packet that no honest endpoint sends, IPv6 if its addresses are. Its
// checksums are made right last, but for what is to be wrong.
type forged struct {
	src, dst       string // addresses and ports
	seq, ack       uint32
	flags          wire.Flags
	options        []byte // of TCP; a multiple of 4
	ipOptions      bool
	payload        int
	badChecksum    bool
	fragment, more int // offset in bytes; 1: more follow
}

func (f forged) bytes() []byte {
	src, dst := netip.MustParseAddrPort(f.src), netip.MustParseAddrPort(f.dst)
	t := make([]byte, wire.TCPLen, wire.TCPLen+len(f.options)+f.payload)
	binary.BigEndian.PutUint16(t[0:], src.Port())
	binary.BigEndian.PutUint16(t[2:], dst.Port())
	binary.BigEndian.PutUint32(t[4:], f.seq)
	binary.BigEndian.PutUint32(t[8:], f.ack)
	binary.BigEndian.PutUint16(t[12:], uint16(5+len(f.options)/4)<<12|uint16(f.flags))
	binary.BigEndian.PutUint16(t[14:], 1000)
	t = append(append(t, f.options...), make([]byte, f.payload)...)
	binary.BigEndian.PutUint16(t[16:], ^wire.Fold(wire.Sum(t, wire.PseudoSum(src.Addr().AsSlice(), dst.Addr().AsSlice(), wire.ProtoTCP, len(t)))))
	if f.badChecksum {
		t[16] ^= 0x55
	}
	if src.Addr().Is6() {
		return f.ip6(src.Addr(), dst.Addr(), t)
	}
	return f.ip4(src.Addr(), dst.Addr(), t)
}

// ip4 puts an IPv4 header (RFC 791, 3.1) before t.
func (f forged) ip4(src, dst netip.Addr, t []byte) []byte {
	b := make([]byte, wire.IPv4Len)
	b[1], b[4], b[5], b[8], b[9] = badDSCP<<2, 0x4d, 0x5a, 64, wire.ProtoTCP
	binary.BigEndian.PutUint16(b[6:], uint16(f.fragment/8|f.more<<13))
	copy(b[12:], src.AsSlice())
	copy(b[16:], dst.AsSlice())
	if f.ipOptions {
		b = append(b, 1, 1, 1, 0)
	}
	b[0] = 0x40 | byte(len(b)/4)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)+len(t)))
	binary.BigEndian.PutUint16(b[10:], ^wire.Fold(wire.Sum(b, 0)))
	return append(b, t...)
}

// ip6 puts an IPv6 header and its extensions (RFC 8200, 3 and 4) before t.
func (f forged) ip6(src, dst netip.Addr, t []byte) []byte {
	b := make([]byte, wire.IPv6Len)
	b[0], b[1], b[6], b[7] = 0x60|badDSCP>>2, badDSCP<<6&0xff, wire.ProtoTCP, 64
	copy(b[8:], src.AsSlice())
	copy(b[24:], dst.AsSlice())
	if f.ipOptions {
		b[6] = unix.IPPROTO_HOPOPTS
		b = append(b, wire.ProtoTCP, 0, 1, 4, 0, 0, 0, 0) // one PadN
	}
	if f.fragment > 0 || f.more > 0 {
		b[6] = unix.IPPROTO_FRAGMENT
		b = append(b, wire.ProtoTCP, 0, byte(f.fragment>>8), byte(f.fragment|f.more), 0, 0, 0x4d, 0x5a)
	}
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-wire.IPv6Len+len(t)))
	return append(b, t...)
}

// forger sends packets as they are, past the TCP and IP of its namespace.
type forger struct {
	fd int
	to unix.SockaddrLinklayer
}

// step is a forged packet and who sends it.
type step struct {
	by *forger
	forged
}

// forger gives one at the eth0 of from, to the device dev of a neighbour.
func (n *network) forger(from, neighbour *netlab.Namespace, dev string) *forger {
	n.t.Helper()
	f := &forger{to: unix.SockaddrLinklayer{Halen: 6}}
	must(n.t, neighbour.Do(func() error {
		d, err := net.InterfaceByName(dev)
		if err == nil {
			copy(f.to.Addr[:], d.HardwareAddr)
		}
		return err
	}))
	must(n.t, from.Do(func() error {
		d, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		f.to.Ifindex = d.Index
		f.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	}))
	n.t.Cleanup(func() { check(n.t, unix.Close(f.fd)) })
	return f
}

func (f *forger) send(t testing.TB, p forged) {
	t.Helper()
	b := p.bytes()
	f.to.Protocol = 0x0008 // IPv4, in network order
	if b[0]>>4 == 6 {
		f.to.Protocol = 0xdd86
	}
	must(t, unix.Sendto(f.fd, b, 0, &f.to))
}
