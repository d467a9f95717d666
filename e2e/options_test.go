package e2e

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"accd/netcfg/netlab"
)

// Endpoints without one of the usual options are accelerated all the same.
func TestPoorOptions(t *testing.T) {
	n := newNetwork(t, shape{})
	d := n.startAccd(config{})
	const size = 8 * mib
	for _, who := range []struct {
		name string
		ns   *netlab.Namespace
	}{{"client", n.client}, {"server", n.server}} {
		for _, key := range []string{"tcp_timestamps", "tcp_sack", "tcp_window_scaling"} {
			must(t, who.ns.Sysctl("net.ipv4."+key, "0"))
			for _, f := range families {
				t.Run(fmt.Sprintf("%s/%s-without-%s", f.name, who.name, strings.TrimPrefix(key, "tcp_")), func(t *testing.T) {
					client, server := n.connect(f)
					d.inCustody(t, size, size, func() error { return exchange(client, server, size, size) })
				})
			}
			must(t, who.ns.Sysctl("net.ipv4."+key, "1"))
		}
	}
}

// A connection that speaks Multipath TCP does so through accd, which leaves it
// alone.
func TestMultipathPasses(t *testing.T) {
	n := newNetwork(t, shape{})
	d := n.startAccd(config{})
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			client, server := n.connect(f, sockets{mptcp: true})
			for who, c := range map[string]*net.TCPConn{"client": client, "server": server} {
				if ok, err := c.MultipathTCP(); err != nil || !ok {
					t.Fatalf("the %s does not speak Multipath TCP (%v)", who, err)
				}
			}
			d.untouched(t, func() error { return exchange(client, server, 4*mib, 4*mib) })
		})
	}
}

// Segments that carry a TCP-MD5 signature arrive as they were signed.
func TestMD5Passes(t *testing.T) {
	n := newNetwork(t, shape{})
	d := n.startAccd(config{})
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			key := "e2e"
			client, server := n.connect(f, sockets{
				client: func(fd int) error { return setMD5(fd, f.server.AsSlice(), key) },
				server: func(fd int) error { return setMD5(fd, f.client.AsSlice(), key) },
			})
			d.untouched(t, func() error { return exchange(client, server, 4*mib, 4*mib) })
		})
	}
}

// setMD5 gives a socket a key for its connections with an address
// (struct tcp_md5sig of linux/tcp.h).
func setMD5(fd int, peer []byte, key string) error {
	var sig struct {
		addr   [128]byte
		flags  uint8
		prefix uint8
		keyLen uint16
		_      int32
		key    [80]byte
	}
	family, at := uint16(unix.AF_INET), 4
	if len(peer) == net.IPv6len {
		family, at = unix.AF_INET6, 8
	}
	binary.NativeEndian.PutUint16(sig.addr[:], family)
	copy(sig.addr[at:], peer)
	sig.keyLen = uint16(copy(sig.key[:], key))
	_, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_MD5SIG,
		uintptr(unsafe.Pointer(&sig)), unsafe.Sizeof(sig), 0)
	if errno == unix.ENOPROTOOPT {
		return fmt.Errorf("TCP_MD5SIG: this kernel has none (CONFIG_TCP_MD5SIG): %w", errno)
	}
	if errno != 0 {
		return fmt.Errorf("TCP_MD5SIG: %w", errno)
	}
	return nil
}

// Connections older than accd are none of its business, and outlive it.
func TestOlderFlowPasses(t *testing.T) {
	n := newNetwork(t, shape{})
	type pair struct{ client, server *net.TCPConn }
	var idle, used []pair
	for _, f := range families {
		for _, set := range []*[]pair{&idle, &used} {
			c, s := n.connect(f)
			must(t, together(
				func() error { return send(c, 0, mib) },
				func() error { return receive(s, 0, mib) }))
			*set = append(*set, pair{c, s})
		}
	}
	d := n.startAccd(config{})
	for _, p := range used {
		d.untouched(t, func() error {
			return together(
				func() error { return send(p.server, 0, 32*mib) },
				func() error { return receive(p.client, 0, 32*mib) })
		})
	}
	d.stop()
	for _, p := range append(idle, used...) {
		check(t, exchange(p.client, p.server, 4*mib, 4*mib))
	}
}
