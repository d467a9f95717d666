package netlab

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes network namespaces")
	}
}

func pfx(s ...string) (p []netip.Prefix) {
	for _, s := range s {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

// A client reaches a server through a masquerading router, and from outside a
// forwarded port reaches the client's side, over both families.
func TestRouterLab(t *testing.T) {
	needRoot(t)
	l, err := New("router")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var ns [3]*Namespace
	for i, role := range []string{"client", "box", "server"} {
		if ns[i], err = l.Add(role); err != nil {
			t.Fatal(err)
		}
	}
	client, box, server := ns[0], ns[1], ns[2]
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(l.Connect(
		End{NS: client, Dev: "eth0", Addrs: pfx("10.0.1.2/24", "fd00:1::2/64")},
		End{NS: box, Dev: "lan", Addrs: pfx("10.0.1.1/24", "fd00:1::1/64")}))
	check(l.Connect(
		End{NS: box, Dev: "wan", Addrs: pfx("10.0.2.1/24", "fd00:2::1/64"), MTU: 1400, NoOffload: true},
		End{NS: server, Dev: "eth0", Addrs: pfx("10.0.2.2/24", "fd00:2::2/64"), MTU: 1400, NoOffload: true}))
	check(client.Route(netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("10.0.1.1")))
	check(client.Route(netip.MustParsePrefix("::/0"), netip.MustParseAddr("fd00:1::1")))
	check(box.Forward())
	check(box.Masquerade("wan"))
	check(box.PortForward("lan", 8080, netip.MustParseAddrPort("10.0.2.2:80")))
	check(box.PortForward("lan", 8080, netip.MustParseAddrPort("[fd00:2::2]:80")))

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, c := range []struct{ listen, dial, peer string }{
		{"10.0.2.2:80", "10.0.2.2:80", "10.0.2.1"},
		{"10.0.2.2:80", "10.0.1.1:8080", "10.0.2.1"},
		{"[fd00:2::2]:80", "[fd00:2::2]:80", "fd00:2::1"},
		{"[fd00:2::2]:80", "[fd00:1::1]:8080", "fd00:2::1"},
	} {
		ln, err := server.Listen("tcp", c.listen)
		check(err)
		go func() {
			if s, err := ln.Accept(); err == nil {
				fmt.Fprint(s, s.RemoteAddr())
				s.Close()
			}
		}()
		conn, err := client.Dial(ctx, "tcp", c.dial)
		check(err)
		b, err := io.ReadAll(conn)
		check(err)
		conn.Close()
		ln.Close()
		if got := netip.MustParseAddrPort(string(b)).Addr().String(); got != c.peer {
			t.Errorf("%s: the server saw %s, want %s", c.dial, got, c.peer)
		}
	}
	out, err := server.Run(ctx, "cat", "/proc/self/net/dev")
	check(err)
	if !strings.Contains(out, "eth0") {
		t.Errorf("a program in the namespace sees\n%s", out)
	}
}

// Close kills what still runs inside and leaves no name behind; so does the
// next lab for one whose process is gone.
func TestNothingIsLeft(t *testing.T) {
	needRoot(t)
	l, err := New("left")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ours, err := l.Add("ours")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "1000")
	if err := ours.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the program inside outlived the lab")
	}
	if _, err := os.Stat(namesDir + "/" + ours.Name); err == nil {
		t.Error("the name of the namespace outlived the lab")
	}

	// The start time is not that of this process: its owner is dead.
	dead := &Lab{name: fmt.Sprintf("%s.dead.%d.1", prefix, os.Getpid())}
	n, err := dead.Add("stale")
	if err != nil {
		t.Fatal(err)
	}
	next, err := New("next")
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if _, err := os.Stat(namesDir + "/" + n.Name); err == nil {
		t.Error("the namespace of a dead lab was not removed")
	}
	n.links.Close()
	n.handle.Close()
}
