package e2e

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"accd/netcfg/netlab"
)

// jumbo gives every link of the network frames of 9000 bytes; beyond the box the
// path carries no more than mtu in either direction, and its router says nothing
// of what it drops.
func (n *network) jumbo(mtu int) {
	n.t.Helper()
	for _, l := range []struct {
		ns  *netlab.Namespace
		dev string
	}{{n.client, "eth0"}, {n.box, boxLAN}, {n.box, boxWAN}, {n.wan, "eth0"}, {n.wan, "eth1"}, {n.server, "eth0"}} {
		sh(n.t, l.ns, "ip link set "+l.dev+" mtu 9000")
	}
	for _, r := range []string{
		"ip route replace 203.0.113.0/24 dev eth1 src 203.0.113.1",
		"ip -6 route replace 2001:db8:3::/64 dev eth1 metric 256",
		"ip route replace 10.1.0.0/24 via 192.0.2.1",
		"ip -6 route replace 2001:db8:1::/64 via 2001:db8:2::1",
	} {
		sh(n.t, n.wan, fmt.Sprintf("%s mtu %d", r, mtu))
	}
	nft(n.t, n.wan, `table inet mute { chain out { type filter hook output priority 0;
		icmp type destination-unreachable counter drop
		icmpv6 type packet-too-big counter drop
	}
}`)
	// An end that sends over the path itself needs to look for its MTU too.
	must(n.t, n.server.Sysctl("net.ipv4.tcp_mtu_probing", "1"))
	must(n.t, n.client.Sysctl("net.ipv4.tcp_mtu_probing", "1"))
}

// A local network with jumbo frames before a path of 1,500 or 1,280 bytes whose
// routers are not heard: accd finds what passes, on its own leg, and the client
// goes on with frames of 9000 bytes.
func TestJumbo(t *testing.T) {
	for _, mtu := range []int{1500, 1280} {
		t.Run(fmt.Sprint(mtu), func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t, shape{})
			n.jumbo(mtu)
			d := n.startAccd(config{last: "jumbo: true"})
			for _, f := range families {
				t.Run(f.name, func(t *testing.T) {
					const size = 64 * mib
					client, server := n.connect(f)
					d.inCustody(t, size, 0, func() error { return move(client, server, size) })
					if d == nil {
						return
					}
					flow := d.flowOf(t, client)
					if got := flow.ServerLeg.PathMTU; got != mtu {
						t.Errorf("the path to the server is taken to carry %d bytes, want %d", got, mtu)
					}
					if mss, err := mssOf(client); err != nil || mss < 8000 {
						t.Errorf("the client sends segments of %d bytes (%v), want jumbo ones", mss, err)
					}
					// The other way the server has to find it out.
					d.inCustody(t, 0, size, func() error { return move(server, client, size) })
				})
			}
		})
	}
}

// Somebody off the path who knows a connection's addresses and ports, but not its
// numbers, cannot make it send smaller packets.
func TestForgedTooBig(t *testing.T) {
	n := newNetwork(t, shape{})
	d := n.startAccd(config{})
	f := families[0]
	client, server := n.connect(f)
	up := func() error { return move(client, server, 256*mib) }
	d.inCustody(t, 256*mib, 0, func() error {
		return together(up, func() error { return n.forgeTooBig(client, 20_000) })
	})
	if d == nil {
		return
	}
	flow := d.flowOf(t, client)
	if flow.ServerLeg.PathMTU != 1500 {
		t.Errorf("the path to the server is taken to carry %d bytes after forged news, want 1500", flow.ServerLeg.PathMTU)
	}
	if n := d.status().Terminator.Passed["icmp-error"]; n == 0 {
		t.Error("no forged message reached accd")
	}
}

// forgeTooBig has the router send news of packets of a client's connection that
// were too big, with numbers at random.
func (n *network) forgeTooBig(client *net.TCPConn, count int) error {
	from, to := client.LocalAddr().(*net.TCPAddr).AddrPort(), client.RemoteAddr().(*net.TCPAddr).AddrPort()
	return n.wan.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		for range count {
			if err := unix.Sendto(fd, tooBig(from, to, rand.Uint32(), 576), 0, &unix.SockaddrInet4{Addr: from.Addr().As4()}); err != nil {
				return err
			}
		}
		return nil
	})
}

// tooBig is an ICMP message about a segment, from the router in the WAN
// (RFC 1191, 4).
func tooBig(from, to netip.AddrPort, seq uint32, mtu uint16) []byte {
	quote := ipv4(unix.IPPROTO_TCP, from.Addr(), to.Addr(), 1500)
	quote = binary.BigEndian.AppendUint16(quote, from.Port())
	quote = binary.BigEndian.AppendUint16(quote, to.Port())
	quote = binary.BigEndian.AppendUint32(quote, seq)
	message := append([]byte{3, 4, 0, 0, 0, 0, byte(mtu >> 8), byte(mtu)}, quote...)
	binary.BigEndian.PutUint16(message[2:], checksum(message))
	router := netip.MustParseAddr("192.0.2.2")
	return append(ipv4(unix.IPPROTO_ICMP, router, from.Addr(), 20+len(message)), message...)
}

// ipv4 is a header with DF set.
func ipv4(proto byte, src, dst netip.Addr, length int) []byte {
	h := make([]byte, 20)
	h[0], h[6], h[8], h[9] = 0x45, 0x40, 64, proto
	binary.BigEndian.PutUint16(h[2:], uint16(length))
	s, d := src.As4(), dst.As4()
	copy(h[12:], s[:])
	copy(h[16:], d[:])
	binary.BigEndian.PutUint16(h[10:], checksum(h))
	return h
}

// checksum is RFC 1071's.
func checksum(b []byte) uint16 {
	sum := uint32(0)
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// move sends so much and leaves the connection open.
func move(from, to *net.TCPConn, size int64) error {
	return together(
		func() error { return send(from, 0, size) },
		func() error { return receive(to, 0, size) },
	)
}

// flowOf gives what accd knows of a client's connection.
func (d *daemon) flowOf(t *testing.T, client *net.TCPConn) flow {
	t.Helper()
	for _, f := range d.flows() {
		if f.Client == client.LocalAddr().String() {
			return f
		}
	}
	t.Fatalf("accd does not know %v", client.LocalAddr())
	return flow{}
}

// mssOf gives the size of the segments a socket sends.
func mssOf(c *net.TCPConn) (mss int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	failed := raw.Control(func(fd uintptr) { mss, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG) })
	if failed != nil {
		err = failed
	}
	return mss, err
}
