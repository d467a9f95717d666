package netcfg

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func prefixes(s ...string) (p []netip.Prefix) {
	for _, s := range s {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

// plainHost forwards both families and has nothing special.
func plainHost() *host {
	local := func(f *family) []netlink.Rule {
		return []netlink.Rule{
			{Family: f.af(), Priority: 0, Table: unix.RT_TABLE_LOCAL, Protocol: unix.RTPROT_KERNEL},
			{Family: f.af(), Priority: 32766, Table: unix.RT_TABLE_MAIN, Protocol: unix.RTPROT_KERNEL},
		}
	}
	return &host{
		forwards: families,
		rpFilter: map[string]string{"all": "0", "default": "0", "lo": "0", "eth0": "0", "eth1": "0"},
		rules:    map[*family][]netlink.Rule{v4: local(v4), v6: local(v6)},
	}
}

// plans are the desired states that golden files keep.
func plans() map[string]func() (Plan, *host) {
	return map[string]func() (Plan, *host){
		"router": func() (Plan, *host) {
			return Plan{
				LAN: Network{Interfaces: []string{"eth1", "eth2"}},
				WAN: Network{Interfaces: []string{"eth0"}},
				Clauses: []Clause{
					{Ports: []PortRange{{22, 22}, {3389, 3389}}, DSCP: []uint8{46}},
					{Accelerate: true, From: prefixes("10.1.0.0/16", "10.1.2.0/24", "10.2.0.0/16", "2001:db8::/32"), NotTo: prefixes("192.168.0.0/16"), Ports: []PortRange{{443, 443}, {8000, 8999}, {9000, 9000}}, In: []string{"eth1"}},
					{Accelerate: true, To: prefixes("255.0.0.0/8", "0.0.0.0/0")},
					{NotFrom: prefixes("::/0")},
					{Accelerate: true},
				},
			}, plainHost()
		},
		// One interface for both sides, strict reverse path filtering, IPv4
		// only, names of its own, and fail: block.
		"one-armed": func() (Plan, *host) {
			x := plainHost()
			x.forwards = []*family{v4}
			x.rpFilter["all"] = "1"
			x.rpFilter["eth1"] = "2"
			return Plan{
				Names:   Names{ClientTap: "c0", ServerTap: "s0", Table: "accd_7", Preference: 100, RouteTable: 5000, Mark: 0x10, MarkMask: 0xff},
				LAN:     Network{Prefixes: prefixes("10.0.0.0/8", "fd00::/8")},
				WAN:     Network{Prefixes: prefixes("0.0.0.0/0")},
				Clauses: []Clause{{Accelerate: true}},
				Block:   true, FlowTimeout: 26*time.Hour + 500*time.Millisecond, Flows: 1000, Openings: 10,
			}, x
		},
	}
}

func TestDesiredState(t *testing.T) {
	for name, make := range plans() {
		t.Run(name, func(t *testing.T) {
			p, x := make()
			p = p.withDefaults()
			if err := p.validate(); err != nil {
				t.Fatal(err)
			}
			golden(t, name, desired(&p, x, [roles]int{7, 8}, tracked).String())
		})
	}
}

// The tables of a host where nobody looks at packets, and where somebody has begun to.
func TestTablesWhereNobodyLooks(t *testing.T) {
	p, _ := plans()["router"]()
	p = p.withDefaults()
	taps := [roles]int{7, 8}
	blocks := p
	blocks.Block, blocks.FlowTimeout = true, 10*time.Second
	from := []arrival{{"eth1", 3, LAN}, {"eth0", 2, WAN}}
	for name, r := range map[string]*ruleset{
		"untracked":      steering(&p, taps, families, untracked),
		"joined":         steering(&p, taps, families, joined),
		"shortcut":       shortcut(&p, from, taps, families),
		"shortcut-block": shortcut(&blocks, from[1:], taps, families[:1]),
	} {
		t.Run(name, func(t *testing.T) { golden(t, name, r.String()) })
	}
}

// golden compares a text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); d != "" {
		t.Errorf("%s (- want, + got; -update rewrites):\n%s", file, d)
	}
}

func TestValidate(t *testing.T) {
	long := strings.Repeat("x", 16)
	for _, c := range []struct {
		name string
		plan Plan
		want string // part of the error, "" for none
	}{
		{"defaults", Plan{}, ""},
		{"long tap", Plan{Names: Names{ClientTap: long}}, "longer than 15"},
		{"same taps", Plan{Names: Names{ClientTap: "accd1"}}, "both taps"},
		{"mark outside mask", Plan{Names: Names{Mark: 0x10000}}, "do not fit the mask"},
		{"marks overflow mask", Plan{Names: Names{Mark: 0xfffe}}, "do not fit the mask"},
		{"seventh mark below", Plan{Names: Names{Mark: 0x2, MarkMask: 0x7}}, ""},
		{"system tables", Plan{Names: Names{RouteTable: 250}}, "other than 253 to 255"},
		{"queues", Plan{Queues: 256}, "256 queues"},
		{"timeout", Plan{BeatTimeout: time.Microsecond}, "beat timeout"},
		{"both sides", Plan{LAN: Network{Interfaces: []string{"eth0"}}, WAN: Network{Interfaces: []string{"eth0"}}}, "both sides"},
		{"ports", Plan{Clauses: []Clause{{Ports: []PortRange{{2, 1}}}}}, "ports 2 to 1"},
		{"dscp", Plan{Clauses: []Clause{{DSCP: []uint8{64}}}}, "DSCP 64"},
		{"prefix", Plan{Clauses: []Clause{{NotTo: []netip.Prefix{{}}}}}, "invalid prefix"},
	} {
		p := c.plan.withDefaults()
		err := p.validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
}

// The kernel wants the elements of an interval set disjoint.
func TestMerge(t *testing.T) {
	var all []interval
	for _, p := range prefixes("10.0.1.0/24", "10.0.0.0/24", "10.0.0.128/25", "10.1.0.0/16", "255.255.255.0/24", "255.0.0.0/8", "0.0.0.0/32") {
		all = append(all, prefixInterval(p))
	}
	got, elements := v4.elements(merge(all))
	want := "0.0.0.0-0.0.0.0, 10.0.0.0-10.0.1.255, 10.1.0.0-10.1.255.255, 255.0.0.0-255.255.255.255"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if n := len(elements); n != 7 {
		t.Errorf("%d elements, want 7: the last interval has no end", n)
	}
}

func TestObstacles(t *testing.T) {
	at := func(pref, table int) netlink.Rule {
		return netlink.Rule{Family: netlink.FAMILY_V4, Priority: pref, Table: table}
	}
	for _, c := range []struct {
		name  string
		rules []netlink.Rule
		want  string
	}{
		{"usual", nil, ""},
		{"before ours and before the moved local rule", []netlink.Rule{at(5, 100)}, "rule 5"},
		{"among ours", []netlink.Rule{at(12, 100)}, "rule 12"},
		{"behind", []netlink.Rule{at(18, 100)}, ""},
	} {
		x := plainHost()
		x.rules[v4] = append(x.rules[v4], c.rules...)
		p := Plan{}.withDefaults()
		err := x.obstacles(&p)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
	// Somebody has moved the local rule behind ours already: a rule of his
	// before ours changes nothing.
	x := plainHost()
	x.rules[v4] = []netlink.Rule{at(9, 2004), at(100, unix.RT_TABLE_LOCAL)}
	p := Plan{}.withDefaults()
	if err := x.obstacles(&p); err != nil {
		t.Error(err)
	}
	// Established connections of a flowtable's devices skip the rules.
	x = plainHost()
	x.flowtables = []*nftables.Flowtable{{Name: "ft", Table: &nftables.Table{Name: "fw"}, Devices: []string{"eth0", "eth9"}}}
	for _, c := range []struct {
		side string
		want bool
	}{{"eth0", true}, {"eth1", false}} {
		p.LAN.Interfaces = []string{c.side}
		if err := x.obstacles(&p); (err != nil) != c.want {
			t.Errorf("flowtable over eth0 and eth9, side %s: error %v, want one: %t", c.side, err, c.want)
		}
	}
	x = plainHost()
	x.forwards = nil
	if err := x.obstacles(&p); err == nil || !strings.Contains(err.Error(), "ip_forward=1") {
		t.Errorf("no forwarding: error %v", err)
	}
}
