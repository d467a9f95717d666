package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"accd/lab"
	"accd/netcfg/netlab"
)

// splitting is a daemon's configuration that splits every handshake.
var splitting = config{last: "handshake: split"}

// Each leg of a split connection has what its own endpoint can do: poor options
// of the one do not make the other poor.
func TestSplit(t *testing.T) {
	n := newNetwork(t, shape{})
	d := n.startAccd(splitting)
	const size = 64 * mib
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			client, server := n.connect(f)
			d.inCustody(t, size, size, func() error { return exchange(client, server, size, size) })
		})
	}
	for _, who := range []struct {
		name       string
		ns, other  *netlab.Namespace
		otherAsked string
	}{{"client", n.client, n.server, "the server"}, {"server", n.server, n.client, "the client"}} {
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
	if d != nil {
		if !await(patience, func() bool { return len(d.flows()) == 0 }) {
			t.Errorf("accd still follows connections that were closed: %v", d.flows())
		}
	}
}

// What one leg has agreed on is its own: a client without timestamps, SACK and
// window scaling reaches a server that has them all.
func TestSplitNegotiatesEachLeg(t *testing.T) {
	n := newNetwork(t, shape{})
	for _, key := range []string{"tcp_timestamps", "tcp_sack", "tcp_window_scaling"} {
		must(t, n.client.Sysctl("net.ipv4."+key, "0"))
	}
	n.startAccd(splitting)
	const all = tcpiTimestamps | tcpiSACK | tcpiWScale
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			client, server := n.connect(f)
			if got := options(t, client); got != 0 {
				t.Errorf("the client's leg has options %#x, want none", got)
			}
			if got := options(t, server); got != all && !*native {
				t.Errorf("the server's leg has options %#x, want %#x", got, all)
			}
		})
	}
}

// The options of a connection, as TCP_INFO has them (linux/tcp.h).
const (
	tcpiTimestamps = 1 << iota
	tcpiSACK
	tcpiWScale
)

// options gives the options that the kernel's end of a connection has agreed on.
func options(t *testing.T, c *net.TCPConn) (set uint8) {
	t.Helper()
	raw, err := c.SyscallConn()
	must(t, err)
	must(t, raw.Control(func(fd uintptr) {
		var info *unix.TCPInfo
		if info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			set = info.Options & (tcpiTimestamps | tcpiSACK | tcpiWScale)
		}
	}))
	must(t, err)
	return set
}

// answering is a configuration in which accd answers clients before it asks the
// server.
var answering = config{last: "handshake: split\n    accept: early"}

// A client that is answered early is connected after one round trip of its own leg,
// whatever lies behind; and one whose server refuses is reset.
func TestEarly(t *testing.T) {
	const away = 100 * time.Millisecond // round trip
	n := newNetwork(t, shape{emulated: true})
	n.impair(lab.Path{Rate: 1e9, Delay: away / 2})
	d := n.startAccd(answering)
	const size = 8 * mib
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			l, err := n.listen(f, sockets{})
			must(t, err)
			defer l.Close()
			begin := time.Now()
			client, err := n.dial(l.Addr().(*net.TCPAddr).AddrPort(), sockets{}, patience)
			must(t, err)
			if took := time.Since(begin); took > away && !*native {
				t.Errorf("the client is connected after %v, behind a round trip of %v", took, away)
			}
			server, err := l.Accept()
			must(t, err)
			d.inCustody(t, size, size, func() error {
				return exchange(client.(*net.TCPConn), server.(*net.TCPConn), size, size)
			})
		})
		t.Run(f.name+"/refused", func(t *testing.T) {
			client, err := n.dial(netip.AddrPortFrom(f.server, 7003), sockets{}, patience)
			if *native {
				return
			}
			must(t, err)
			defer client.Close()
			must(t, client.SetReadDeadline(time.Now().Add(patience)))
			if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("a client whose server refuses got %v", err)
			}
		})
	}
}

// More clients at once than a shard keeps half open get through all the same, by
// SYN cookies.
func TestEarlyCrowd(t *testing.T) {
	n := newNetwork(t, shape{})
	n.startAccd(answering)
	ok, err := talkAll(n.startPairs(400))
	if ok != 400 {
		t.Errorf("%d of 400 connections work: %v", ok, err)
	}
}

// accd that is killed leaves split connections to the next, which resets both
// ends: without it they hang.
func TestKillResetsSplit(t *testing.T) {
	n := newNetwork(t, shape{})
	d := n.startAccd(splitting)
	if d == nil {
		t.Skip("needs accd")
	}
	p := n.startPairs(1)[0]
	d.kill()
	d.start()
	for name, c := range map[string]interface {
		Read([]byte) (int, error)
		SetReadDeadline(time.Time) error
	}{"client": p.client, "server": p.server} {
		must(t, c.SetReadDeadline(time.Now().Add(5*time.Second)))
		if _, err := c.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "reset") {
			t.Errorf("the %s got %v, want a reset", name, err)
		}
	}
}
