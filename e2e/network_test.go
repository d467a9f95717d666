package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"accd/lab"
	"accd/netcfg/netlab"
)

// patience bounds every single thing a test waits for.
const patience = 30 * time.Second

// family is an IP version, and the addresses of the hosts in it.
type family struct {
	name           string
	client, server netip.Addr
}

var families = []family{
	{"v4", netip.MustParseAddr("10.1.0.2"), netip.MustParseAddr("203.0.113.2")},
	{"v6", netip.MustParseAddr("2001:db8:1::2"), netip.MustParseAddr("2001:db8:3::2")},
}

// Devices of the box.
const (
	boxLAN = "lan0"
	boxWAN = "wan0"
)

// network is a client behind a box, and a server behind a router that stands
// for the rest of the WAN. accd runs on the box.
//
//	client eth0 ── lan0 box wan0 ══ eth0 wan eth1 ── eth0 server
type network struct {
	t                        testing.TB
	client, box, wan, server *netlab.Namespace
	cable                    *lab.Cable // box to wan; nil: a veth
	dir                      string     // for the files of daemons, short enough for a socket
}

// shape says how a network is built.
type shape struct {
	emulated   bool // box to wan is an emulated link, perfect until set otherwise
	masquerade bool // the box hides the client's addresses from the wan
	// A bare host has no address: a TCP in userspace is to have it, and its
	// cable carries plain frames.
	bareClient, bareServer bool
}

var networks atomic.Int64

// With a firewall packets of known flows do not take the shortcut, and conntrack runs.
var firewall = flag.Bool("firewall", false, "the box has a firewall that knows connections")

// firewalled admits what the lan opens, and the taps as accd doctor says.
const firewalled = `table inet firewall {
	chain forward {
		type filter hook forward priority 0; policy drop
		oifname { "accd0", "accd1" } accept
		iifname "accd0" accept
		iifname "accd1" oifname "` + boxWAN + `" accept
		ct state established,related accept
		ct state invalid drop
		iifname "` + boxLAN + `" ct state new accept
		meta l4proto { icmp, ipv6-icmp } accept
	}
}`

// newNetwork builds a network that lives as long as the test.
func newNetwork(t testing.TB, s shape) *network {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes network namespaces and tap devices; run it with sudo")
	}
	l, err := netlab.New(fmt.Sprintf("e2e%d", networks.Add(1)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { check(t, l.Close()) })
	n := &network{t: t}
	for _, h := range []struct {
		role string
		ns   **netlab.Namespace
	}{{"client", &n.client}, {"box", &n.box}, {"wan", &n.wan}, {"server", &n.server}} {
		*h.ns, err = l.Add(h.role)
		must(t, err)
		// What one connection teaches the kernel about a path is no
		// business of the next.
		must(t, (*h.ns).Sysctl("net.ipv4.tcp_no_metrics_save", "1"))
	}
	access := func(bare bool, router, host netlab.End) {
		if bare {
			router.NoOffload, host.NoOffload, host.Addrs = true, true, nil
		}
		must(t, l.Connect(host, router))
	}
	access(s.bareClient,
		netlab.End{NS: n.box, Dev: boxLAN, Addrs: prefixes("10.1.0.1/24", "2001:db8:1::1/64")},
		netlab.End{NS: n.client, Dev: "eth0", Addrs: prefixes("10.1.0.2/24", "2001:db8:1::2/64")})
	access(s.bareServer,
		netlab.End{NS: n.wan, Dev: "eth1", Addrs: prefixes("203.0.113.1/24", "2001:db8:3::1/64")},
		netlab.End{NS: n.server, Dev: "eth0", Addrs: prefixes("203.0.113.2/24", "2001:db8:3::2/64")})
	near := netlab.End{NS: n.box, Dev: boxWAN, Addrs: prefixes("192.0.2.1/24", "2001:db8:2::1/64")}
	far := netlab.End{NS: n.wan, Dev: "eth0", Addrs: prefixes("192.0.2.2/24", "2001:db8:2::2/64")}
	if s.emulated {
		n.cable, err = lab.NewCable(near, far)
		must(t, err)
		t.Cleanup(func() { check(t, n.cable.Close()) })
	} else {
		must(t, l.Connect(near, far))
	}
	type route struct {
		ns       *netlab.Namespace
		dst, via string
	}
	routes := []route{
		{n.box, "0.0.0.0/0", "192.0.2.2"}, {n.box, "::/0", "2001:db8:2::2"},
		{n.wan, "10.1.0.0/24", "192.0.2.1"}, {n.wan, "2001:db8:1::/64", "2001:db8:2::1"},
	}
	if !s.bareClient {
		routes = append(routes, route{n.client, "0.0.0.0/0", "10.1.0.1"}, route{n.client, "::/0", "2001:db8:1::1"})
	}
	if !s.bareServer {
		routes = append(routes, route{n.server, "0.0.0.0/0", "203.0.113.1"}, route{n.server, "::/0", "2001:db8:3::1"})
	}
	for _, r := range routes {
		must(t, r.ns.Route(netip.MustParsePrefix(r.dst), netip.MustParseAddr(r.via)))
	}
	must(t, n.box.Forward())
	must(t, n.wan.Forward())
	if s.masquerade {
		must(t, n.box.Masquerade(boxWAN))
	}
	if *firewall {
		nft(t, n.box, firewalled)
	}
	n.settle()
	n.dir, err = os.MkdirTemp("", "accd-e2e-")
	must(t, err)
	t.Cleanup(func() { check(t, os.RemoveAll(n.dir)) })
	if !s.bareClient && !s.bareServer {
		n.meet()
	}
	return n
}

// settle waits until the box has its own IPv6 addresses: the kernel adds them some
// time after a device is up, and what is compared with later must not lack them.
func (n *network) settle() {
	n.t.Helper()
	missing := ""
	if !await(patience, func() bool {
		local := sh(n.t, n.box, "ip -6 route show table local type local")
		for _, dev := range []string{boxLAN, boxWAN} {
			// The address of the network, and the link-local one.
			if strings.Count(local, " dev "+dev+" ") < 2 {
				missing = dev
				return false
			}
		}
		return true
	}) {
		n.t.Fatalf("after %v %s of the box lacks IPv6 addresses", patience, missing)
	}
}

// meet lets all neighbours find each other, so that no test pays for that.
func (n *network) meet() {
	n.t.Helper()
	for _, f := range families {
		c, s := n.connect(f)
		c.Close()
		s.Close()
	}
}

// impair makes the emulated link the same in both directions.
func (n *network) impair(p lab.Path) {
	n.t.Helper()
	back := p
	back.Seed++
	must(n.t, n.cable.Set(p, back))
}

// sockets is what a test does to the sockets of a connection before it is
// opened; nil: nothing.
type sockets struct {
	client, server func(fd int) error
	mptcp          bool
	port           uint16 // of the server; 0: any
}

// control makes a net.Dialer.Control of a function on descriptors.
func control(do func(fd int) error) func(string, string, syscall.RawConn) error {
	if do == nil {
		return nil
	}
	return func(_, _ string, raw syscall.RawConn) error {
		var err error
		if e := raw.Control(func(fd uintptr) { err = do(int(fd)) }); e != nil {
			return e
		}
		return err
	}
}

// listen listens on the server.
func (n *network) listen(f family, s sockets) (l net.Listener, err error) {
	err = n.server.Do(func() (err error) {
		c := net.ListenConfig{Control: control(s.server)}
		c.SetMultipathTCP(s.mptcp)
		l, err = c.Listen(context.Background(), "tcp", netip.AddrPortFrom(f.server, s.port).String())
		return err
	})
	return l, err
}

// dial connects from the client.
func (n *network) dial(to netip.AddrPort, s sockets, limit time.Duration) (c net.Conn, err error) {
	err = n.client.Do(func() (err error) {
		d := net.Dialer{Control: control(s.client), Timeout: limit, KeepAlive: -1}
		d.SetMultipathTCP(s.mptcp)
		c, err = d.Dial("tcp", to.String())
		return err
	})
	return c, err
}

// connect opens a connection from client to server and gives both ends, which
// are closed with the test if not before.
func (n *network) connect(f family, with ...sockets) (client, server *net.TCPConn) {
	n.t.Helper()
	client, server, err := n.tryConnect(f, with...)
	must(n.t, err)
	n.t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func (n *network) tryConnect(f family, with ...sockets) (client, server *net.TCPConn, err error) {
	var s sockets
	if len(with) > 0 {
		s = with[0]
	}
	l, err := n.listen(f, s)
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	c, err := n.dial(l.Addr().(*net.TCPAddr).AddrPort(), s, patience)
	if err != nil {
		return nil, nil, err
	}
	if err := l.(*net.TCPListener).SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, nil, err
	}
	a, err := l.Accept()
	if err != nil {
		c.Close()
		return nil, nil, fmt.Errorf("the client is connected, the server is not: %w", err)
	}
	return c.(*net.TCPConn), a.(*net.TCPConn), nil
}

// sh runs a program in a namespace and gives what it says.
func sh(t testing.TB, ns *netlab.Namespace, command string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	words := strings.Fields(command)
	out, err := ns.Run(ctx, words[0], words[1:]...)
	must(t, err)
	return out
}

// nft loads rules into a namespace.
func nft(t testing.TB, ns *netlab.Namespace, rules string) {
	t.Helper()
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	err := ns.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		t.Fatalf("nft: %v\n%s", err, out.String())
	}
}

func prefixes(s ...string) (p []netip.Prefix) {
	for _, s := range s {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

// must ends the test if something failed.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// check marks the test failed if something failed.
func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// together runs functions at the same time and gives their errors.
func together(fs ...func() error) error {
	errs := make([]error, len(fs))
	done := make(chan struct{})
	for i, f := range fs {
		go func() {
			errs[i] = f()
			done <- struct{}{}
		}()
	}
	for range fs {
		<-done
	}
	return errors.Join(errs...)
}

// await waits until a condition holds and gives whether it did in time. It is
// asked again every few milliseconds.
func await(limit time.Duration, holds func() bool) bool {
	for deadline := time.Now().Add(limit); ; time.Sleep(3 * time.Millisecond) {
		if holds() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}
