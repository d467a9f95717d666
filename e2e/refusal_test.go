package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

// target is what cannot be connected to, and outcome how that shows.
type (
	target struct {
		name string
		to   netip.AddrPort
	}
	outcome struct {
		errno syscall.Errno // 0: a timeout
		took  time.Duration
	}
)

// Connections that cannot be made fail as they do without accd: with the same
// error, and as fast.
func TestRefusal(t *testing.T) {
	const filtered, prohibited, closed = 7001, 7002, 7003
	n := newNetwork(t, shape{})
	nft(t, n.server, fmt.Sprintf(`table inet e2e {
		chain input {
			type filter hook input priority 0;
			tcp dport %d drop
			tcp dport %d reject with icmpx admin-prohibited
		}
	}`, filtered, prohibited))
	// A host the router behind the box knows to be away, and one the box itself does.
	sh(t, n.wan, "ip route add unreachable 203.0.113.66/32")
	sh(t, n.wan, "ip -6 route add unreachable 2001:db8:3::66/128")
	sh(t, n.box, "ip route add unreachable 203.0.113.67/32")
	sh(t, n.box, "ip -6 route add unreachable 2001:db8:3::67/128")

	var targets []target
	for _, f := range families {
		away, unknown := "203.0.113.66", "203.0.113.67"
		if f.server.Is6() {
			away, unknown = "2001:db8:3::66", "2001:db8:3::67"
		}
		targets = append(targets,
			target{f.name + "/closed", netip.AddrPortFrom(f.server, closed)},
			target{f.name + "/prohibited", netip.AddrPortFrom(f.server, prohibited)},
			target{f.name + "/filtered", netip.AddrPortFrom(f.server, filtered)},
			target{f.name + "/unreachable", netip.AddrPortFrom(netip.MustParseAddr(away), 80)},
			target{f.name + "/unreachable-from-box", netip.AddrPortFrom(netip.MustParseAddr(unknown), 80)},
		)
	}
	try := func(t *testing.T, to netip.AddrPort) (o outcome) {
		t.Helper()
		begin := time.Now()
		c, err := n.dial(to, sockets{}, 1500*time.Millisecond)
		o.took = time.Since(begin)
		if err == nil {
			c.Close()
			t.Fatalf("connected to %s, which should not be possible", to)
		}
		errors.As(err, &o.errno)
		return o
	}
	without := map[string]outcome{}
	for _, x := range targets {
		without[x.name] = try(t, x.to)
		t.Logf("without accd, %s: %v (%v)", x.name, without[x.name].errno, without[x.name].took)
	}
	for handshake, c := range map[string]config{"relay": {}, "split": splitting} {
		n.refuses(t, handshake, c, targets, without, try)
	}
}

// refuses runs accd with c and wants every target to fail as it did without.
func (n *network) refuses(t *testing.T, handshake string, c config, targets []target, without map[string]outcome, try func(*testing.T, netip.AddrPort) outcome) {
	d := n.startAccd(c)
	defer d.stop()
	for _, x := range targets {
		t.Run(handshake+"/"+x.name, func(t *testing.T) {
			d.untouched(t, func() error {
				was, is := without[x.name], try(t, x.to)
				if is.errno != was.errno {
					return fmt.Errorf("the error is %v, without accd it is %v", is.errno, was.errno)
				}
				if is.took > was.took+50*time.Millisecond {
					return fmt.Errorf("it took %v, without accd %v", is.took, was.took)
				}
				return nil
			})
		})
	}
	if d != nil && d.status().Terminator.New != 0 {
		t.Errorf("accd made %d flows of connections that never were", d.status().Terminator.New)
	}
}
