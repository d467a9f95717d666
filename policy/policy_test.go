package policy

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"accd/tcpstack/cc"
	"accd/tcpstack/wire"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// parse fails the test unless src is a file without errors.
func parse(t *testing.T, src string) *Table {
	t.Helper()
	table, problems := Parse("test.yaml", []byte(src))
	if table == nil {
		t.Fatalf("unexpected problems:\n%s", problems)
	}
	return table
}

func tuple(src, dst string) wire.Tuple {
	return wire.TupleOf(netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst))
}

// TestMessages compares what is said about each file of testdata with its
// golden output.
func TestMessages(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.yaml")
	if len(files) < 5 {
		t.Fatalf("only %d files in testdata", len(files))
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			table, problems := Parse(filepath.Base(file), src)
			if (table == nil) != (problems.Errors() > 0) {
				t.Errorf("table %v with %d errors", table != nil, problems.Errors())
			}
			got := problems.String()
			golden := strings.TrimSuffix(file, ".yaml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("(-want +got; rewrite with -update)\n%s", d)
			}
		})
	}
}

// TestTenMistakes: a file with ten different mistakes gives ten messages, each
// with its own place.
func TestTenMistakes(t *testing.T) {
	src, err := os.ReadFile("testdata/ten.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, problems := Parse("ten.yaml", src)
	if problems.Errors() < 10 {
		t.Errorf("%d errors, want at least 10:\n%s", problems.Errors(), problems)
	}
	seen := map[[2]int]string{}
	for _, p := range problems.List {
		at := [2]int{p.Line, p.Column}
		if seen[at] != "" {
			t.Errorf("%d:%d: both %q and %q", p.Line, p.Column, seen[at], p.Text)
		}
		seen[at] = p.Text
	}
}

func TestSettings(t *testing.T) {
	src, err := os.ReadFile("testdata/operator.yaml")
	if err != nil {
		t.Fatal(err)
	}
	table := parse(t, string(src))
	want := Steer{
		Mode: "router", NoShortcut: true, Queues: 2, ClientTap: "tcpa", ServerTap: "tcpb", Table: "accd_lab",
		RulePreference: 20, Mark: 0x1000, MarkMask: 0xff0f, RouteTable: 5000,
		FlowTimeout: 5 * time.Second, OpeningTimeout: 2 * time.Second,
	}
	if d := cmp.Diff(want, table.Steer); d != "" {
		t.Error("Steer:", d)
	}
	if d := cmp.Diff(Limits{200_000, 2 << 30, 20_000, 256}, table.Limits); d != "" {
		t.Error("Limits:", d)
	}
	bulk := table.Verdicts()[1]
	wan := Profile{Name: "sat", Congestion: "bbr", Parameters: cc.Params{"loss_threshold": 0.05, "probe_rtt_duration": 0.1}, InitialWindow: 32, MaxBuffer: 64 << 20, MaxRate: 1_250_000, UserTimeout: 30 * time.Second, ECN: "accurate"}
	if d := cmp.Diff(wan, bulk.WAN); d != "" {
		t.Error("WAN:", d)
	}
	if bulk.Profile(LAN).Name != "lan" || bulk.Profile(Unknown).Name != "default" || bulk.Line != 38 || !bulk.Jumbo || bulk.PathMemory || bulk.Handshake != Early ||
		table.Verdicts()[2].Jumbo || !table.Verdicts()[2].PathMemory {
		t.Errorf("verdict: %+v", bulk)
	}
	if table.Admin.Socket != "/run/accd/lab.sock" || table.Log.Level != "debug" || len(table.Hash) != 12 {
		t.Errorf("%+v %+v %q", table.Admin, table.Log, table.Hash)
	}
	if n := table.Network(wire.AddrOf(netip.MustParseAddr("fd00::1")), Unknown); n != LAN {
		t.Errorf("fd00::1 is on side %v", n)
	}
	if n := table.Network(wire.AddrOf(netip.MustParseAddr("fd00::1")), WAN); n != WAN {
		t.Errorf("the interface does not win: %v", n)
	}
}

func TestDecide(t *testing.T) {
	table := parse(t, `
version: 1
sides: { lan: { interfaces: [eth1] }, wan: { interfaces: [eth0] } }
rules:
  - { name: ports, match: { port: [22, "8000-8999", "!8080"] }, action: pass }
  - { name: inner, match: { from: [10.0.0.0/8, "!10.9.0.0/16"], to: 192.0.2.7 }, action: accelerate }
  - { name: not-six, match: { to: "!2001:db8::/32", from: "fd00::/8" }, action: accelerate }
  - { name: arrival, match: { in: eth0, dscp: [ef, "10"] }, action: pass }
  - { name: marked, match: { dscp: ["!be"] }, action: pass }
  - { name: default, action: accelerate }
`)
	for _, c := range []struct {
		src, dst string
		meta     Meta
		want     string
	}{
		{"10.1.1.1:999", "192.0.2.7:22", Meta{}, "ports"},
		{"10.1.1.1:999", "192.0.2.8:8999", Meta{}, "ports"},
		{"[fd00::1]:999", "[2001:db8::2]:8000", Meta{}, "ports"},
		{"10.1.1.1:999", "192.0.2.7:8080", Meta{}, "inner"},
		{"10.1.1.1:22", "192.0.2.7:443", Meta{}, "inner"},
		{"10.9.1.1:22", "192.0.2.7:443", Meta{}, "default"},
		{"11.0.0.1:22", "192.0.2.7:443", Meta{}, "default"},
		{"[fd00::1]:999", "[2001:db9::2]:443", Meta{}, "not-six"},
		{"[fd00::1]:999", "[2001:db8::2]:443", Meta{}, "default"},
		{"1.1.1.1:1", "2.2.2.2:443", Meta{From: WAN, DSCP: 46}, "arrival"},
		{"1.1.1.1:1", "2.2.2.2:443", Meta{From: WAN, DSCP: 10}, "arrival"},
		{"1.1.1.1:1", "2.2.2.2:443", Meta{From: WAN, DSCP: 12}, "marked"},
		{"1.1.1.1:1", "2.2.2.2:443", Meta{From: LAN, DSCP: 46}, "marked"},
		{"1.1.1.1:1", "2.2.2.2:443", Meta{DSCP: 46}, "marked"},
		{"1.1.1.1:1", "2.2.2.2:443", Meta{From: WAN}, "default"},
	} {
		v := table.Decide(tuple(c.src, c.dst), c.meta)
		if v.Rule != c.want {
			t.Errorf("%s → %s %+v: rule %q, want %q", c.src, c.dst, c.meta, v.Rule, c.want)
		}
		if v != table.Verdicts()[v.Index] {
			t.Errorf("verdict of %q is not shared", v.Rule)
		}
	}
}

func TestDecideAllocatesNothing(t *testing.T) {
	src, err := os.ReadFile("testdata/operator.yaml")
	if err != nil {
		t.Fatal(err)
	}
	table := parse(t, string(src))
	k, meta := tuple("10.1.0.9:4000", "198.51.100.1:443"), Meta{From: LAN}
	if n := testing.AllocsPerRun(100, func() { table.Decide(k, meta) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestSteering(t *testing.T) {
	src, err := os.ReadFile("testdata/operator.yaml")
	if err != nil {
		t.Fatal(err)
	}
	prefix := netip.MustParsePrefix
	want := []Clause{
		{Rule: "interactive", Ports: []PortRange{{22, 22}, {3389, 3389}}, DSCP: []uint8{46}},
		{
			Rule: "sat-bulk", Accelerate: true,
			From: []netip.Prefix{prefix("10.1.0.0/16"), prefix("fd00:1::/32")}, NotTo: []netip.Prefix{prefix("192.168.0.0/16")},
			Ports: []PortRange{{443, 443}, {873, 873}, {8000, 8079}, {8081, 8999}}, In: []string{"eth1", "eth2"},
		},
		{Rule: "default", Accelerate: true},
	}
	got := parse(t, string(src)).Steering()
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); d != "" {
		t.Error(d)
	}
}

// TestParameters: parameters of a congestion control are checked against those
// it says it has.
func TestParameters(t *testing.T) {
	for _, c := range []struct{ profile, want string }{
		{`congestion: bbr, parameters: { loss_treshold: 2% }`, `1:61: error: unknown parameter of bbr "loss_treshold" (did you mean "loss_threshold"? accepted: `},
		{`parameters: { beta: 2% }, congestion: bbr`, `1:50: error: beta: "2%" must be between `},
		{`congestion: bbr, parameters: { probe_rtt_duration: 1 }`, `1:81: error: probe_rtt_duration: "1" lacks a unit`},
		{`congestion: cubic, parameters: { beta: much }`, `1:69: error: beta: "much" is not a number`},
		{`congestion: ledbat, parameters: { target: 30 }`, `1:72: error: target: "30" lacks a unit`},
		{`congestion: ledbat, parameters: { target: 300ms }`, `1:72: error: target: "300ms" must be between 5ms and 100ms (time that a packet may wait in the queue)`},
		{`congestion: hybla, parameters: { target: 30ms }`, `1:63: error: unknown parameter of hybla "target" (accepted: `},
		{`congestion: reno, parameters: beta`, `1:60: error: parameters: expected fields of reno, found "beta"`},
	} {
		_, p := Parse("f", []byte(`{version: 1, profiles: { p: {`+c.profile+`} }, rules: [{name: default, action: pass}]}`))
		if len(p.List) != 1 || !strings.HasPrefix(p.Lines()[0], "f:"+c.want) {
			t.Errorf("%s: got\n%s\nwant f:%s…", c.profile, p, c.want)
		}
	}
}

// TestSplitOnly: what a relayed leg cannot obey is said, unless a split one has the
// same profile.
func TestSplitOnly(t *testing.T) {
	for _, c := range []struct {
		split, side, want string
	}{
		{"", "profile: p", `f:1:201: warning: rule "default": user_timeout on its wan leg has no effect without handshake: split`},
		{"", "ecn: off", `f:1:201: warning: rule "default": ecn on its wan leg has no effect without handshake: split`},
		{"", "congestion: bbr", ""},
		{"handshake: split, ", "profile: p", ""},
		{"handshake: split, ", "profile: p, ecn: off", `f:1:201: warning: rule "default": ecn on its wan leg has no effect without handshake: split`},
	} {
		src := fmt.Sprintf(`{version: 1, sides: { wan: { interfaces: [eth0] } }, profiles: { p: { user_timeout: 2m } }, rules: [`+
			`{name: a, match: { port: 80 }, action: accelerate, %-20swan: { profile: p }}, {name: default, action: accelerate, wan: { %s }}]}`, c.split, c.side)
		_, p := Parse("f", []byte(src))
		var got []string
		for _, l := range p.Lines() {
			if strings.Contains(l, `"default"`) {
				got = append(got, l)
			}
		}
		if strings.Join(got, "\n") != c.want {
			t.Errorf("%q %q: got\n%s\nwant\n%s", c.split, c.side, p, c.want)
		}
	}
}

// TestShadow: a rule is reported as shadowed only if nothing can reach it.
func TestShadow(t *testing.T) {
	for _, c := range []struct {
		first, second string
		shadowed      bool
	}{
		{`port: [443]`, `port: [443]`, true},
		{`port: [443]`, `port: [443, 444]`, false},
		{`port: ["!22"]`, `port: [443]`, true},
		{`from: 10.0.0.0/8`, `from: 10.1.0.0/16, port: 443`, true},
		{`from: 10.1.0.0/16`, `from: 10.0.0.0/8`, false},
		{`from: 10.0.0.0/8`, `from: "!11.0.0.0/8"`, false},
		{`from: "!10.0.0.0/8"`, `from: 11.0.0.0/8`, true},
		{`from: "!10.0.0.0/8"`, `from: 10.1.0.0/16`, false},
		{`from: "!10.1.0.0/16"`, `from: 10.0.0.0/8`, false},
		{`from: "!10.1.0.0/16"`, `from: "!10.0.0.0/8"`, true},
		{`from: ["10.0.0.0/8", "!10.1.0.0/16"]`, `from: ["10.0.0.0/9", "!10.1.0.0/16"]`, true},
		{`dscp: [ef, af11]`, `dscp: ef`, true},
		{`dscp: ef`, `port: 443`, false},
		{`in: eth0`, `in: eth0, port: 443`, true},
		{`in: eth0`, `in: eth1`, false},
		{`in: [eth0, eth1]`, `port: 443`, false},
	} {
		_, p := Parse("test.yaml", []byte(`
version: 1
sides: { lan: { interfaces: [eth1] }, wan: { interfaces: [eth0] } }
rules:
  - { name: first, match: { `+c.first+` }, action: pass }
  - { name: second, match: { `+c.second+` }, action: accelerate }
  - { name: default, action: pass }
`))
		if p.Errors() != 0 || p.Warnings() > 1 || (p.Warnings() == 1) != c.shadowed {
			t.Errorf("%s before %s: shadowed should be %v:\n%s", c.first, c.second, c.shadowed, p)
		}
	}
}

func TestUnits(t *testing.T) {
	for _, c := range []struct {
		in   string
		size int64 // -1: refused, as below
		rate int64
		n    int
	}{
		{"64KiB", 65536, -1, -1},
		{"1.5GiB", 3 << 29, -1, -1},
		{"2 mb", 2_000_000, -1, -1},
		{"20mbit", -1, 2_500_000, -1},
		{"1.5Gbit", -1, 187_500_000, -1},
		{"7bit", -1, -1, -1},
		{"200k", -1, -1, 200_000},
		{"7", -1, -1, 7},
		{"0", -1, -1, -1},
		{"0B", -1, -1, -1},
		{"-1k", -1, -1, -1},
		{"99999999999999999999GiB", -1, -1, -1},
		{"", -1, -1, -1},
	} {
		size, err := parseSize(c.in)
		if err != nil {
			size = -1
		}
		rate, err := parseRate(c.in)
		if err != nil {
			rate = -1
		}
		n, err := parseCount(c.in)
		if err != nil {
			n = -1
		}
		if size != c.size || rate != c.rate || n != c.n {
			t.Errorf("%q: size %d, rate %d, count %d, want %d, %d, %d", c.in, size, rate, n, c.size, c.rate, c.n)
		}
	}
	if v, err := parseShare("5%"); v != 0.05 || err != nil {
		t.Errorf("5%%: %v, %v", v, err)
	}
	if s := brief(720 * time.Hour); s != "720h" {
		t.Error(s)
	}
}

func TestSuggest(t *testing.T) {
	for _, c := range []struct{ word, want string }{
		{"congestion_contrl", "congestion"}, {"congestoin", "congestion"}, {"pacng", "pacing"}, {"PACING", "pacing"},
		{"x", ""}, {"zebra", ""}, {"buffers", "buffer"},
	} {
		if got := suggest(c.word, []string{"congestion", "pacing", "buffer"}); got != c.want {
			t.Errorf("%q: %q, want %q", c.word, got, c.want)
		}
	}
}

// FuzzParse: no file makes Parse panic, and each file is either refused with an
// error or gives a table that decides.
func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.yaml")
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	k := tuple("10.1.0.9:4000", "198.51.100.1:443")
	f.Fuzz(func(t *testing.T, src []byte) {
		table, problems := Parse("fuzz.yaml", src)
		if (table == nil) != (problems.Errors() > 0) {
			t.Fatalf("table %v with %d errors", table != nil, problems.Errors())
		}
		_ = problems.String()
		if table != nil && (table.Decide(k, Meta{}) == nil || len(table.Steering()) != len(table.Verdicts())) {
			t.Fatal("a table that does not decide")
		}
	})
}

// A user timeout belongs to a profile; accept: early to a split handshake.
func TestSplitRules(t *testing.T) {
	parse := func(rule string) (*Table, int) {
		table, problems := Parse("t.yaml", []byte("version: 1\nsides: { lan: { interfaces: [eth0] } }\nprofiles:\n  short: { user_timeout: 30s }\nrules:\n"+
			"  - { name: all, action: accelerate, "+rule+" }\n"))
		return table, problems.Errors()
	}
	for rule, want := range map[string]Handshake{
		"handshake: relay": Relay, "handshake: split": Split, "handshake: split, accept: late": Split,
		"accept: early, handshake: split": Early,
	} {
		table, n := parse(rule + ", lan: { profile: short }")
		if n != 0 {
			t.Errorf("%s: %d errors", rule, n)
			continue
		}
		v := table.Decide(wire.Tuple{}, Meta{})
		if v.Handshake != want || v.LAN.UserTimeout != 30*time.Second || v.WAN.UserTimeout != 0 {
			t.Errorf("%s: %v, %v", rule, v.Handshake, v.LAN.UserTimeout)
		}
		if table.AnswersEarly() != (want == Early) {
			t.Errorf("%s: AnswersEarly is %v", rule, table.AnswersEarly())
		}
	}
	if _, n := parse("accept: early"); n == 0 {
		t.Error("accept: early without split is accepted")
	}
	if _, n := parse("handshake: split, lan: { user_timeout: 3 }"); n == 0 {
		t.Error("a timeout without a unit is accepted")
	}
}
