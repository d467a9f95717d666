package netcfg

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// routeProtocol marks our routes and rules, so that they are found again
// whoever made them. It is none of the registered numbers (rt_protos).
const routeProtocol = 172

// state is everything that is to be on the host but the taps themselves: pure
// data, in the order in which it is applied.
type state struct {
	settings []setting // of devices that are not ours, and of the host
	taps     [roles]tapState
	rules    []ipRule
	ruleset  *ruleset
}

// tapState is what a tap gets. It disappears with the tap.
type tapState struct {
	name     string
	settings []setting
	address  netip.Prefix // so that loose reverse path filtering has one to find
	routes   []route
}

// route leads all packets of a table to a neighbour that exists only as a MAC.
type route struct {
	family    *family
	table     int
	via       netip.Addr
	side      Side
	dev       string
	blackhole bool // behind it: what finds no tap is dropped
}

// ipRule is one rule of routing policy.
type ipRule struct {
	family     *family
	preference int
	mark, mask uint32 // mask 0: every packet
	table      int
	next       int // without table: the preference of the rule to go on with
	delete     bool
	kernel     bool // is the kernel's own, not ours
}

// desired gives the state for a plan on a host, and taps of these indexes.
func desired(p *Plan, x *host, taps [roles]int, track tracking) *state {
	s := &state{ruleset: steering(p, taps, x.forwards, track)}
	s.settings = append(x.strict(p), setting{
		// A packet that goes to a tap first may belong to a socket of the
		// box: found early, the kernel would refuse to forward it.
		"net/ipv4/tcp_early_demux", "0",
	})
	for r := client; r < roles; r++ {
		name := p.tap(r)
		t := &s.taps[r]
		t.name = name
		t.address = netip.PrefixFrom(tapAddress(r), 32)
		t.settings = tapSettings(name, x)
		for _, f := range x.forwards {
			for side := Unknown; side < sides; side++ {
				// A packet that was marked for the client tap just before that
				// vanished would leave untracked, with addresses that NAT hides.
				t.routes = append(t.routes, route{
					family: f, table: p.table(r, side), via: f.neighbour(side), side: side, dev: name, blackhole: p.Block || r == client,
				})
				s.rules = append(s.rules, ipRule{
					family: f, preference: p.preference(r, side), mark: p.mark(r, side), mask: p.MarkMask, table: p.table(r, side),
				})
			}
		}
	}
	// The local rule goes behind ours, so that connections to the box can be
	// steered too. Packets without a mark of ours, and each lookup of where a packet
	// came from, go to it at once.
	for _, f := range x.forwards {
		if x.movesLocal(p, f) {
			s.rules = append(s.rules,
				ipRule{family: f, preference: p.localPreference(), table: unix.RT_TABLE_LOCAL},
				ipRule{family: f, preference: 0, table: unix.RT_TABLE_LOCAL, delete: true, kernel: true},
				ipRule{family: f, preference: p.Preference, mask: p.MarkMask, next: p.localPreference()})
		}
	}
	return s
}

// tapAddress gives the address of a tap: link-local (RFC 3927), for itself only.
func tapAddress(r role) netip.Addr {
	return netip.AddrFrom4([4]byte{169, 254, 250, 1 + byte(r)})
}

// neighbour gives the next hop that stands for a side.
func (f *family) neighbour(s Side) netip.Addr {
	if f == v4 {
		return netip.AddrFrom4([4]byte{169, 254, 250, 16 + byte(s)})
	}
	a := netip.MustParseAddr("fe80::acc:d:0").As16()
	a[15] = byte(s)
	return netip.AddrFrom16(a)
}

// tapSettings gives those of a tap.
func tapSettings(dev string, x *host) []setting {
	conf := func(ip, key, value string) setting {
		return setting{fmt.Sprintf("net/%s/conf/%s/%s", ip, dev, key), value}
	}
	out := []setting{
		conf("ipv4", "rp_filter", "0"), // clients' and servers' addresses are not routed to the tap
		// The box's own packets come back out of it. With this and without
		// rp_filter the kernel looks no source address up (fib_validate_source): what
		// accd writes it has read from the other tap, so it was looked up there.
		conf("ipv4", "accept_local", "1"),
		conf("ipv4", "src_valid_mark", "0"), // ours do not say where a packet came from
		conf("ipv4", "forwarding", "1"),
		conf("ipv4", "disable_policy", "1"), // IPsec policy was asked on the way in
		conf("ipv4", "send_redirects", "0"),
		conf("ipv4", "accept_redirects", "0"),
	}
	for _, f := range x.forwards {
		if f == v6 {
			out = append(out,
				conf("ipv6", "disable_ipv6", "0"),
				conf("ipv6", "addr_gen_mode", "1"), // none
				conf("ipv6", "accept_ra", "0"),
				conf("ipv6", "router_solicitations", "0"),
				conf("ipv6", "accept_redirects", "0"),
				conf("ipv6", "forwarding", "1"),
				conf("ipv6", "disable_policy", "1"))
		}
	}
	return out
}

// String gives the state as commands that would make it.
func (s *state) String() string {
	var b strings.Builder
	for _, x := range s.settings {
		fmt.Fprintln(&b, x)
	}
	for _, t := range s.taps {
		for _, x := range t.settings {
			fmt.Fprintln(&b, x)
		}
		fmt.Fprintf(&b, "tc qdisc replace dev %s root noqueue\n", t.name)
		fmt.Fprintf(&b, "ip link set %s arp off up\n", t.name)
		fmt.Fprintf(&b, "ip address add %s dev %s scope link\n", t.address, t.name)
		for _, r := range t.routes {
			fmt.Fprintf(&b, "ip neigh replace %s dev %s lladdr %s nud permanent\n", r.via, r.dev, macText(NeighbourMAC(r.side)))
			fmt.Fprintf(&b, "ip -%d route add default via %s dev %s table %d onlink proto %d\n", r.family.number, r.via, r.dev, r.table, routeProtocol)
			if r.blackhole {
				fmt.Fprintf(&b, "ip -%d route add blackhole default table %d metric %d proto %d\n", r.family.number, r.table, blackholeMetric, routeProtocol)
			}
		}
	}
	b.WriteString(s.ruleset.String())
	for _, r := range s.rules {
		fmt.Fprintln(&b, r)
	}
	return b.String()
}

func (r ipRule) String() string {
	verb, match, proto := "add", "", fmt.Sprintf(" proto %d", routeProtocol)
	if r.delete {
		verb = "del"
	}
	if r.mask != 0 {
		match = fmt.Sprintf(" fwmark %#x/%#x", r.mark, r.mask)
	}
	if r.kernel {
		proto = ""
	}
	action := fmt.Sprintf("lookup %d", r.table)
	if r.next != 0 {
		action = fmt.Sprintf("goto %d", r.next)
	}
	return fmt.Sprintf("ip -%d rule %s pref %d%s %s%s", r.family.number, verb, r.preference, match, action, proto)
}

func macText(m [6]byte) string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}
