package policy

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"accd/tcpstack/wire"
)

var seed = flag.Uint64("seed", uint64(time.Now().UnixNano()), "of the random rules")

// TestKernelAgrees: what the kernel is told to steer is what Decide accelerates,
// for random rules and connections.
func TestKernelAgrees(t *testing.T) {
	t.Logf("-seed %d", *seed)
	rnd := rand.New(rand.NewPCG(*seed, 0))
	pick := func(from []string) string {
		n := 1 + rnd.IntN(3)
		var out []string
		for range n {
			out = append(out, fmt.Sprintf("%q", from[rnd.IntN(len(from))]))
		}
		return "[" + strings.Join(out, ", ") + "]"
	}
	addresses := []string{"10.0.0.0/8", "10.1.0.0/16", "!10.1.2.0/24", "192.0.2.7", "!192.0.2.0/24", "2001:db8::/32", "!2001:db8:1::/48", "0.0.0.0/0", "::/0"}
	portList := []string{"22", "443", "!443", "1-1023", "!100-500", "8000-8999"}
	values := []string{"ef", "!ef", "af11", "10", "!be"}
	arrivals := []string{`["eth0"]`, `["eth1"]`, `["eth0", "eth1"]`}
	hosts := []string{"10.1.2.3", "10.1.9.9", "10.200.0.1", "192.0.2.7", "192.0.2.8", "203.0.113.1", "2001:db8::1", "2001:db8:1::1", "fd00::1"}
	tried := 0
	for range 300 {
		var src strings.Builder
		src.WriteString("version: 1\nsides: { lan: { interfaces: [eth1] }, wan: { interfaces: [eth0] } }\nrules:\n")
		for i := range 1 + rnd.IntN(5) {
			var parts []string
			for _, f := range []struct {
				key, value string
			}{{"from", pick(addresses)}, {"to", pick(addresses)}, {"port", pick(portList)}, {"dscp", pick(values)}, {"in", arrivals[rnd.IntN(3)]}} {
				if rnd.IntN(3) == 0 {
					parts = append(parts, f.key+": "+f.value)
				}
			}
			fmt.Fprintf(&src, "  - { name: r%d, match: { %s }, action: %s }\n", i, strings.Join(parts, ", "), Action(rnd.IntN(2)))
		}
		fmt.Fprintf(&src, "  - { name: default, action: %s }\n", Action(rnd.IntN(2)))
		table, problems := Parse("random.yaml", []byte(src.String()))
		if table == nil {
			if !strings.Contains(problems.String(), "matches no") {
				t.Fatalf("%s\n%s", &src, problems)
			}
			continue
		}
		tried++
		clauses := table.Steering()
		for range 200 {
			from, to := netip.MustParseAddr(hosts[rnd.IntN(len(hosts))]), netip.MustParseAddr(hosts[rnd.IntN(len(hosts))])
			port := []uint16{22, 80, 300, 443, 8080, 9000}[rnd.IntN(6)]
			side := Network(rnd.IntN(3))
			meta := Meta{From: side, DSCP: []uint8{0, 10, 46}[rnd.IntN(3)]}
			dev := [...]string{Unknown: "eth9", LAN: "eth1", WAN: "eth0"}[side]
			v := table.Decide(wire.TupleOf(netip.AddrPortFrom(from, 999), netip.AddrPortFrom(to, port)), meta)
			i := slices.IndexFunc(clauses, func(c Clause) bool { return c.steers(from, to, port, dev, meta.DSCP) })
			if i != v.Index || clauses[i].Accelerate != (v.Action == Accelerate) || clauses[i].Rule != v.Rule {
				t.Fatalf("-seed %d: %v → %v:%d %s %+v: the kernel takes clause %d %+v, Decide rule %d\n%s", *seed, from, to, port, dev, meta, i, clauses[i], v.Index, &src)
			}
		}
	}
	if tried < 100 {
		t.Errorf("only %d of 300 random files were valid", tried)
	}
}

// steers reads a clause as its comments say.
func (c *Clause) steers(from, to netip.Addr, port uint16, dev string, dscp uint8) bool {
	within := func(a netip.Addr, all []netip.Prefix) bool {
		return slices.ContainsFunc(all, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	return (len(c.From) == 0 || within(from, c.From)) && !within(from, c.NotFrom) &&
		(len(c.To) == 0 || within(to, c.To)) && !within(to, c.NotTo) &&
		(len(c.Ports) == 0 || slices.ContainsFunc(c.Ports, func(r PortRange) bool { return r.First <= port && port <= r.Last })) &&
		(len(c.In) == 0 || slices.Contains(c.In, dev)) &&
		(len(c.DSCP) == 0 || slices.Contains(c.DSCP, dscp))
}
