package netcfg

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// watchNative counts TCP packets that the box forwards from lan to wan past the
// taps, and gives how to read the count.
func (r *routerLab) watchNative() func() string {
	r.run(r.box, "nft", "add table inet watch; add counter inet watch native; add chain inet watch pass { type filter hook forward priority 0; };"+
		"add rule inet watch pass iifname lan oifname wan meta l4proto tcp counter name native")
	return func() string {
		out := r.run(r.box, "nft", "list", "counter", "inet", "watch", "native")
		return regexp.MustCompile(`packets \d+`).FindString(out)
	}
}

// Signed segments and MPTCP are none of accd's business: their SYNs go natively.
func TestSignedAndMultipathAreNotSteered(t *testing.T) {
	r := newRouterLab(t)
	r.echo(r.server, ":80")
	native := r.watchNative()
	a := r.start(r.plan())
	signed := func(_, _ string, c syscall.RawConn) (err error) {
		sig := &unix.TCPMD5Sig{Keylen: 3, Key: [80]byte{'k', 'e', 'y'}}
		*(*unix.RawSockaddrInet4)(unsafe.Pointer(&sig.Addr)) = unix.RawSockaddrInet4{
			Family: unix.AF_INET, Addr: netip.MustParseAddr(server4).As4(),
		}
		c.Control(func(fd uintptr) { err = unix.SetsockoptTCPMD5Sig(int(fd), unix.IPPROTO_TCP, unix.TCP_MD5SIG, sig) })
		return err
	}
	for name, d := range map[string]*net.Dialer{"MD5": {Control: signed}, "MPTCP": {}} {
		d.SetMultipathTCP(name == "MPTCP")
		before := native()
		err := r.client.Do(func() error {
			// The server does not know the key and says nothing.
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			defer cancel()
			c, err := d.DialContext(ctx, "tcp", server4+":80")
			if err == nil {
				c.Close()
			}
			return err
		})
		if name == "MPTCP" && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := a.relay.frames[client].Load() + a.relay.frames[server].Load(); n != 0 {
			t.Errorf("%s: %d segments were steered (%v)", name, n, err)
		}
		if native() == before {
			t.Errorf("%s: nothing went natively either (%v)", name, err)
		}
	}
}

// A fragment of a steered flow goes natively, although conntrack puts it together
// before it is routed.
func TestFragmentsAreNotSteered(t *testing.T) {
	const (
		mark  = 0xfeed // in the urgent pointer, so that it is known again
		first = 24     // bytes of the segment in its first fragment
	)
	for _, c := range []struct {
		name, server string
		header       func(next byte, n int) []byte // for n bytes behind it
		fragments    func(segment []byte) [2][]byte
	}{
		{"IPv4", server4 + ":80", func(next byte, n int) []byte { return header4(n, 0) }, func(segment []byte) [2][]byte {
			return [2][]byte{
				append(header4(first, 0x2000), segment[:first]...),
				append(header4(len(segment)-first, first/8), segment[first:]...),
			}
		}},
		// RFC 8200, 4.5.
		{"IPv6", "[" + server6 + "]:80", header6, func(segment []byte) [2][]byte {
			return [2][]byte{
				slices.Concat(header6(unix.IPPROTO_FRAGMENT, 8+first), []byte{unix.IPPROTO_TCP, 0, 0, 1, 0, 0, 0, 7}, segment[:first]),
				slices.Concat(header6(unix.IPPROTO_FRAGMENT, 8+len(segment)-first), []byte{unix.IPPROTO_TCP, 0, 0, first, 0, 0, 0, 7}, segment[first:]),
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRouterLab(t)
			r.echo(r.server, ":80")
			native := r.watchNative()
			a := r.start(r.plan())
			p := r.dial(r.client, c.server)
			r.ok(p.exchange(1000, 5*time.Second))
			before := native()
			steered := make(chan bool, 16)
			a.relay.stop()
			a.relay = startRelay(a.Steering, func(_, _ int, ip []byte) {
				tcp := ip[20:]
				if ip[0]>>4 == 6 {
					tcp = ip[40:]
				}
				if ip[0]>>4 == 6 && ip[6] == unix.IPPROTO_FRAGMENT {
					tcp = ip[48:]
				}
				if len(tcp) > 20 && binary.BigEndian.Uint16(tcp[18:]) == mark {
					steered <- true
				}
			})
			segment := make([]byte, 40)
			binary.BigEndian.PutUint16(segment[0:], p.local().Port())
			binary.BigEndian.PutUint16(segment[2:], 80)
			segment[12], segment[13] = 5<<4, ack
			binary.BigEndian.PutUint16(segment[18:], mark)
			send := func(packets ...[]byte) {
				for _, ip := range packets {
					fd, frame := r.wire(r.client, "lan")(ip)
					if _, err := unix.Write(fd, frame); err != nil {
						t.Fatal(err)
					}
				}
			}
			send(append(c.header(unix.IPPROTO_TCP, len(segment)), segment...))
			select {
			case <-steered:
			case <-time.After(2 * time.Second):
				t.Fatal("the whole segment was not steered")
			}
			if got := native(); got != before {
				t.Fatalf("before the fragments %s went natively, want %s", got, before)
			}
			parts := c.fragments(segment)
			send(parts[:]...)
			eventually(t, 2*time.Second, "the fragments go natively", func() bool { return native() != before })
			select {
			case <-steered:
				t.Error("the fragments were steered")
			default:
			}
		})
	}
}

// header4 is that of a TCP packet from the client to the server (RFC 791, 3.1) with n
// bytes behind it.
func header4(n int, fragment uint16) []byte {
	src, dst := netip.MustParseAddr(client4), netip.MustParseAddr(server4)
	h := []byte{0x45, 0, 0, byte(20 + n), 0, 7, byte(fragment >> 8), byte(fragment), 64, unix.IPPROTO_TCP, 0, 0}
	h = slices.Concat(h, src.AsSlice(), dst.AsSlice())
	binary.BigEndian.PutUint16(h[10:], headerChecksum(h))
	return h
}

// header6 is that of a packet from the client to the server (RFC 8200, 3).
func header6(next byte, n int) []byte {
	src, dst := netip.MustParseAddr(client6), netip.MustParseAddr(server6)
	return slices.Concat([]byte{0x60, 0, 0, 0, 0, byte(n), next, 64}, src.AsSlice(), dst.AsSlice())
}

// So does a fragment of an answer: conntrack undoes its NAT when it is whole again.
func TestFragmentsOfAnswersAreNotSteered(t *testing.T) {
	r := newRouterLab(t)
	r.echo(r.server, ":80")
	r.run(r.box, "nft", "add table inet watch; add counter inet watch native; add chain inet watch pass { type filter hook forward priority 0; };"+
		"add rule inet watch pass iifname wan oifname lan meta l4proto tcp counter name native")
	native := func() string { return r.run(r.box, "nft", "list", "counter", "inet", "watch", "native") }
	a := r.start(r.plan())
	last := a.last()
	p := r.dial(r.client, server4+":80")
	r.ok(p.exchange(1000, 5*time.Second))
	answer := p.answer(last(server))
	send := func(ip []byte) {
		fd, frame := r.wire(r.server, "wan")(ip)
		_, err := unix.Write(fd, frame)
		r.ok(err)
	}
	before, frames := native(), a.relay.frames[server].Load()
	send(answer)
	eventually(t, 2*time.Second, "the whole answer is steered", func() bool { return a.relay.frames[server].Load() > frames })
	if got := native(); got != before {
		t.Fatalf("before the fragments %s went natively, want %s", got, before)
	}
	frames = a.relay.frames[server].Load()
	const first = 24
	for _, part := range []struct {
		fragment uint16
		body     []byte
	}{{0x2000, answer[20 : 20+first]}, {first / 8, answer[20+first:]}} {
		ip := slices.Concat(answer[:20], part.body)
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
		binary.BigEndian.PutUint16(ip[6:], part.fragment)
		ip[10], ip[11] = 0, 0
		binary.BigEndian.PutUint16(ip[10:], headerChecksum(ip[:20]))
		send(ip)
	}
	eventually(t, 2*time.Second, "the fragments go natively", func() bool { return native() != before })
	if n := a.relay.frames[server].Load(); n != frames {
		t.Errorf("%d frames were steered", n-frames)
	}
}

// Errors about too big packets, which the box itself sends, reach the sender by
// way of the leg they are about.
func TestPathMTU(t *testing.T) {
	for _, c := range []struct {
		dev, v4, v6 string
		leg         role
	}{{"wan", "10.0.2.0/24", "fd00:2::/64", server}, {"lan", "10.0.1.0/24", "fd00:1::/64", client}} {
		t.Run(c.dev, func(t *testing.T) {
			r := newRouterLab(t)
			r.echo(r.server, ":80")
			r.run(r.box, "ip", "route", "change", c.v4, "dev", c.dev, "mtu", "lock", "1400")
			r.run(r.box, "ip", "-6", "route", "replace", c.v6, "dev", c.dev, "metric", "1", "mtu", "lock", "1400")
			a := r.start(r.plan())
			for i, addr := range []string{server4 + ":80", "[" + server6 + "]:80"} {
				if err := r.dial(r.client, addr).exchange(200<<10, 5*time.Second); err != nil {
					t.Errorf("%s: %v", addr, err)
				}
				if n := a.relay.icmp[c.leg].Load(); n < int64(i+1) {
					t.Errorf("%s: %d ICMP errors from the %s tap, want one for each family", addr, n, c.leg)
				}
				if n := a.relay.icmp[1-c.leg].Load(); n != 0 {
					t.Errorf("%s: %d ICMP errors from the %s tap, want none", addr, n, 1-c.leg)
				}
			}
		})
	}
}

// Errors that come from a host beyond the box: here the server's, which has
// moved away and says so.
func TestErrorsFromOutside(t *testing.T) {
	t.Run("NAT", func(t *testing.T) { testErrorsFromOutside(t, newRouterLab(t)) })
	t.Run("untracked", func(t *testing.T) { testErrorsFromOutside(t, newPlainLab(t)) })
}

func testErrorsFromOutside(t *testing.T, r *routerLab) {
	r.echo(r.server, ":80")
	a := r.start(r.plan())
	for i, c := range []struct{ addr, ip, reject string }{
		{server4 + ":80", "ip", "icmp type host-unreachable"},
		{"[" + server6 + "]:80", "ip6", "icmpv6 type no-route"},
	} {
		conn := r.dial(r.client, c.addr)
		r.run(r.server, "nft", fmt.Sprintf("add table %s moved; add chain %[1]s moved in { type filter hook input priority 0; }; add rule %[1]s moved in tcp dport 80 reject with %s", c.ip, c.reject))
		conn.SetDeadline(time.Now().Add(time.Second))
		conn.Write([]byte("anybody there?"))
		eventually(t, 2*time.Second, "the server tap gives the error", func() bool { return a.relay.icmp[server].Load() > int64(i) })
	}
	if n := a.relay.icmp[client].Load(); n != 0 {
		t.Errorf("%d errors from the client tap, want none", n)
	}
}

// Errors from the client's network about packets to the client belong to the
// client leg, and conntrack must not translate them.
func TestErrorsFromTheClient(t *testing.T) {
	t.Run("NAT", func(t *testing.T) { testErrorsFromTheClient(t, newRouterLab(t)) })
	t.Run("untracked", func(t *testing.T) { testErrorsFromTheClient(t, newPlainLab(t)) })
}

func testErrorsFromTheClient(t *testing.T, r *routerLab) {
	r.echo(r.server, ":80")
	a := r.start(r.plan())
	for i, c := range []struct{ addr, ip, reject string }{
		{server4 + ":80", "ip", "icmp type host-unreachable"},
		{"[" + server6 + "]:80", "ip6", "icmpv6 type no-route"},
	} {
		conn := r.dial(r.client, c.addr)
		r.run(r.client, "nft", fmt.Sprintf("add table %s moved; add chain %[1]s moved in { type filter hook input priority 0; }; add rule %[1]s moved in tcp sport 80 reject with %s", c.ip, c.reject))
		conn.Write([]byte("an echo that is refused"))
		eventually(t, 2*time.Second, "the client tap gives the error", func() bool { return a.relay.icmp[client].Load() > int64(i) })
	}
}
