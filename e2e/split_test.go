package e2e

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

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
