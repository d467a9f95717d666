package netcfg

import (
	"context"
	"io/fs"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// doctor gives the checks in the box that are not ok, by name, and fails on a
// check without its parts.
func (r *routerLab) doctor() map[string]Check {
	r.t.Helper()
	bad := make(map[string]Check)
	r.ok(r.box.Do(func() error {
		for _, c := range Doctor(r.plan()) {
			if c.Name == "" || c.Found == "" || c.Status != OK && c.Status != Warn && c.Status != Fail {
				r.t.Errorf("incomplete: %+v", c)
			}
			if c.Status != OK {
				if c.Remedy == "" {
					r.t.Errorf("no remedy: %+v", c)
				}
				bad[c.Name] = c
			}
		}
		return nil
	}))
	return bad
}

// A good host has nothing to say, with accd running or not, and is not changed.
func TestDoctorOnGoodHost(t *testing.T) {
	r := newRouterLab(t)
	before := r.snapshot()
	if bad := r.doctor(); len(bad) > 0 {
		t.Errorf("findings before: %+v", bad)
	}
	if d := cmp.Diff(before, r.snapshot()); d != "" {
		t.Errorf("doctor changed the host:\n%s", d)
	}
	a := r.start(r.plan())
	if bad := r.doctor(); len(bad) > 0 {
		t.Errorf("findings while running: %+v", bad)
	}
	a.kill()
	if bad := r.doctor(); len(bad) != 1 || bad["leftovers"].Status != Warn {
		t.Errorf("findings after a death: %+v", bad)
	}
}

// Each trap is found and has its remedy.
func TestDoctorFindsTraps(t *testing.T) {
	for _, c := range []struct {
		name   string
		set    []string // command
		check  string
		status Status
		remedy string
	}{
		{"no forwarding", []string{"sysctl", "-wq", "net.ipv4.ip_forward=0"}, "forwarding IPv4", Warn, "ip_forward=1"},
		{"no IPv6 forwarding", []string{"sysctl", "-wq", "net.ipv6.conf.all.forwarding=0"}, "forwarding IPv6", Warn, "forwarding=1"},
		{"marks and strict filter", []string{"sysctl", "-wq", "net.ipv4.conf.all.src_valid_mark=1", "net.ipv4.conf.lan.rp_filter=1"}, "rp_filter", Fail, "lan.rp_filter=2"},
		{"default drop", []string{"nft", "add table inet fw; add chain inet fw pass { type filter hook forward priority 0; policy drop; }"}, "firewall", Fail,
			`nft insert rule inet fw pass oifname { "accd0", "accd1" } accept`},
		{"port forwarding by interface", []string{"nft", `add rule ip nat pre iifname "lan" tcp dport 80 dnat to 10.0.2.2`}, "firewall", Warn, `add "accd1"`},
		{"preference taken", []string{"ip", "rule", "add", "pref", "11", "lookup", "9"}, "ip rules", Fail, "rule_preference"},
		{"mark taken", []string{"ip", "rule", "add", "pref", "99", "fwmark", "0xacc1", "lookup", "9"}, "ip rules", Warn, "mark_mask"},
		{"no such interface", []string{"ip", "link", "set", "wan", "down", "name", "wan9"}, "interface wan", Warn, "spelling"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRouterLab(t)
			if c.set[0] == "nft" && strings.HasPrefix(c.set[1], "add rule ip nat") {
				r.run(r.box, "nft", "add table ip nat; add chain ip nat pre { type nat hook prerouting priority -100; }")
			}
			r.run(r.box, c.set[0], c.set[1:]...)
			bad := r.doctor()
			got := bad[c.check]
			if len(bad) != 1 || got.Status != c.status || !strings.Contains(got.Remedy, c.remedy) {
				t.Errorf("got %+v, want only %q with status %s and remedy %q", bad, c.check, c.status, c.remedy)
			}
			// The remedy for a dropping chain works as it stands, and accd does
			// not start without it. It does not open the host to the wan.
			if c.name == "default drop" {
				r.ok(r.box.Do(func() error {
					if _, err := Up(context.Background(), r.plan(), zap.NewNop()); err == nil || !strings.Contains(err.Error(), "chain pass of table fw") {
						t.Errorf("Up behind a firewall that drops: %v", err)
					}
					return nil
				}))
				r.run(r.box, "sh", "-c", strings.ReplaceAll(strings.ReplaceAll(got.Remedy, "{", "'{"), "}", "}'"))
				if bad := r.doctor(); len(bad) != 0 {
					t.Errorf("after the remedy: %+v", bad)
				}
				r.echo(r.server, ":80")
				r.start(r.plan())
				r.dial(r.client, server4+":80")
				r.ok(r.server.Route(netip.MustParsePrefix("10.0.1.0/24"), netip.MustParseAddr(boxWAN4)))
				r.echo(r.client, ":80")
				if _, err := r.tryDial(r.server, client4+":80", time.Second); err == nil {
					t.Error("the remedy lets the wan connect to the lan")
				}
			}
		})
	}
}

// Who is not allowed to open the device is not told to load a module.
func TestTunRemedy(t *testing.T) {
	for _, c := range []struct {
		err    error
		remedy string
	}{
		{&fs.PathError{Op: "open", Path: "/dev/net/tun", Err: unix.EACCES}, "run as root"},
		{&fs.PathError{Op: "open", Path: "/dev/net/tun", Err: unix.EPERM}, "run as root"}, // a container's list of devices says so
		{&fs.PathError{Op: "open", Path: "/dev/net/tun", Err: unix.ENOENT}, "modprobe tun"},
		{&fs.PathError{Op: "open", Path: "/dev/net/tun", Err: unix.ENODEV}, "modprobe tun"},
	} {
		if got := tunRemedy(c.err); !strings.HasPrefix(got, c.remedy) {
			t.Errorf("%v: remedy %q, want %q first", c.err, got, c.remedy)
		}
	}
}
