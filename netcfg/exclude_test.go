package netcfg

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"regexp"
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
// before most of the rules see it.
func TestFragmentsAreNotSteered(t *testing.T) {
	r := newRouterLab(t)
	r.echo(r.server, ":80")
	native := r.watchNative()
	a := r.start(r.plan())
	c := r.dial(r.client, server4+":80")
	if err := c.exchange(1000, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	before := native()
	const mark = 0xfeed // in the urgent pointer, so that it is known again
	steered := make(chan bool, 16)
	a.relay.stop()
	a.relay = startRelay(a.Steering, func(_, _ int, ip []byte) {
		if ip[9] == unix.IPPROTO_TCP && binary.BigEndian.Uint16(ip[20+18:]) == mark {
			steered <- true
		}
	})

	segment := make([]byte, 40)
	binary.BigEndian.PutUint16(segment[0:], c.local().Port())
	binary.BigEndian.PutUint16(segment[2:], 80)
	segment[12], segment[13] = 5<<4, ack
	binary.BigEndian.PutUint16(segment[18:], mark)
	send := func(id uint16, frag uint16, body []byte) {
		r.ok(r.client.Do(func() error {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			src, dst := netip.MustParseAddr(client4).As4(), netip.MustParseAddr(server4).As4()
			p := []byte{0x45, 0, 0, 0, byte(id >> 8), byte(id), byte(frag >> 8), byte(frag), 64, unix.IPPROTO_TCP, 0, 0}
			p = append(append(append(p, src[:]...), dst[:]...), body...)
			return unix.Sendto(fd, p, 0, &unix.SockaddrInet4{Addr: dst})
		}))
	}
	// Whole, it is steered.
	send(1, 0, segment)
	select {
	case <-steered:
	case <-time.After(2 * time.Second):
		t.Fatal("the whole segment was not steered")
	}
	if got := native(); got != before {
		t.Fatalf("before the fragments %s went natively, want %s", got, before)
	}
	send(2, 0x2000, segment[:24])
	send(2, 24/8, segment[24:])
	eventually(t, 2*time.Second, "the fragments go natively", func() bool { return native() != before })
	select {
	case <-steered:
		t.Error("the fragments were steered")
	default:
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
	r := newRouterLab(t)
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
	r := newRouterLab(t)
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
