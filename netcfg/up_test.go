package netcfg

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
)

// Both directions of a connection, its SYN included, go through the taps, with
// NAT on the way to the server only, whatever the family.
func TestBothLegsGoThroughTheTaps(t *testing.T) {
	r := newRouterLab(t)
	r.echo(r.server, ":80")
	r.ok(r.box.PortForward("", 8080, netip.MustParseAddrPort(server4+":80")))
	r.ok(r.box.PortForward("", 8080, netip.MustParseAddrPort("["+server6+"]:80")))
	p := r.plan()
	p.Queues = 2
	a := r.start(p)
	for _, c := range []struct{ name, dial, seen string }{
		{"masquerade, IPv4", server4 + ":80", boxWAN4},
		{"masquerade, IPv6", "[" + server6 + "]:80", boxWAN6},
		{"destination NAT too, IPv4", boxLAN4 + ":8080", boxWAN4},
		{"destination NAT too, IPv6", "[" + boxLAN6 + "]:8080", boxWAN6},
	} {
		var syns, frames [roles]int64
		for x := range roles {
			syns[x], frames[x] = a.relay.syns[x].Load(), a.relay.frames[x].Load()
		}
		c1 := r.dial(r.client, c.dial)
		if err := c1.exchange(1<<20, 5*time.Second); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got := c1.seen.Addr().String(); got != c.seen {
			t.Errorf("%s: the server saw %s, want %s", c.name, got, c.seen)
		}
		c1.Close()
		for x := range roles {
			if n := a.relay.syns[x].Load() - syns[x]; n != 1 {
				t.Errorf("%s: %d SYNs from the %s tap, want 1", c.name, n, x)
			}
			if n := a.relay.frames[x].Load() - frames[x]; n < 15 {
				t.Errorf("%s: %d segments from the %s tap, want all of a megabyte", c.name, n, x)
			}
		}
	}
	for _, tap := range []string{"accd0", "accd1"} {
		if out := r.run(r.box, "ip", "-o", "link", "show", tap); !strings.Contains(out, "qdisc noqueue") {
			t.Errorf("the tap has a queueing discipline: %s", out)
		}
	}
	// veth gives superpackets, and the taps carry them.
	for x := range roles {
		if n := a.relay.largest[x].Load(); n < 20000 {
			t.Errorf("the largest frame from the %s tap has %d bytes, want superpackets", x, n)
		}
	}
	if n := a.relay.sides[client][LAN].Load(); n == 0 || a.relay.sides[client][WAN].Load()+a.relay.sides[client][Unknown].Load() > 0 {
		t.Errorf("the frames of the client leg came from sides unknown %d, lan %d, wan %d; want lan only",
			a.relay.sides[client][Unknown].Load(), n, a.relay.sides[client][WAN].Load())
	}
	if n := a.relay.sides[server][WAN].Load(); n == 0 || a.relay.sides[server][LAN].Load()+a.relay.sides[server][Unknown].Load() > 0 {
		t.Errorf("the frames of the server leg came from sides unknown %d, lan %d, wan %d; want wan only",
			a.relay.sides[server][Unknown].Load(), a.relay.sides[server][LAN].Load(), n)
	}
	if n := r.flowsOf(a, "flows4"); n != 2 {
		t.Errorf("%d elements in flows4, want 2", n)
	}
}

// A connection to the box itself and the box's answers go through the taps too.
func TestConnectionToTheBox(t *testing.T) {
	r := newRouterLab(t)
	r.echo(r.box, ":22")
	a := r.start(r.plan())
	for _, addr := range []string{boxLAN4 + ":22", "[" + boxLAN6 + "]:22"} {
		before := a.relay.frames[server].Load()
		c := r.dial(r.client, addr)
		if err := c.exchange(1<<20, 5*time.Second); err != nil {
			t.Fatal(addr, err)
		}
		if c.seen != c.local() {
			t.Errorf("%s: the box saw %s, want %s", addr, c.seen, c.local())
		}
		if n := a.relay.frames[server].Load() - before; n < 10 {
			t.Errorf("%s: %d segments from the server tap, want the box's answers", addr, n)
		}
	}
	// What the box says to itself is nobody's business.
	before := a.relay.syns[client].Load()
	if err := r.dial(r.box, boxLAN4+":22").exchange(1000, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if a.relay.syns[client].Load() != before {
		t.Error("a connection of the box to itself was steered")
	}
}

// Queue i of both taps carries the same connections, so that one shard has both
// legs of each, IPv4 and IPv6.
func TestLegsShareAQueue(t *testing.T) {
	r := newRouterLab(t)
	r.echo(r.server, ":80")
	p := r.plan()
	p.Queues = 4
	a := r.start(p)
	a.relay.stop()
	var mu sync.Mutex
	type name struct {
		version byte
		port    uint16 // the client's; the families may use the same
	}
	queues := make(map[name][roles]map[int]bool)
	a.relay = startRelay(a.Steering, func(from, queue int, ip []byte) {
		l4 := 20
		if ip[0]>>4 == 6 {
			l4 = 40
		}
		port := name{ip[0] >> 4, binary.BigEndian.Uint16(ip[l4+2*from:])}
		mu.Lock()
		defer mu.Unlock()
		if _, ok := queues[port]; !ok {
			queues[port] = [roles]map[int]bool{{}, {}}
		}
		queues[port][from][queue] = true
	})
	for range 20 {
		for _, addr := range []string{server4 + ":80", "[" + server6 + "]:80"} {
			c := r.dial(r.client, addr)
			if err := c.exchange(100<<10, 5*time.Second); err != nil {
				t.Fatal(err)
			}
			c.Close()
		}
	}
	a.hang()
	used := make(map[int]bool)
	for port, q := range queues {
		maps.Copy(used, q[client])
		if !maps.Equal(q[client], q[server]) || len(q[client]) != 1 {
			t.Errorf("%v: queues %v of the client tap and %v of the server tap, want the same one", port, q[client], q[server])
		}
	}
	if len(queues) != 40 || len(used) < 2 {
		t.Errorf("%d connections on %d queues, want 40 on several", len(queues), len(used))
	}
}

// Clauses decide, the first that matches; a reload decides anew for new
// connections and leaves the others alone.
func TestClausesAndReload(t *testing.T) {
	r := newRouterLab(t)
	for _, port := range []string{":80", ":81", ":82"} {
		r.echo(r.server, port)
	}
	p := r.plan()
	p.Clauses = []Clause{
		{Ports: []PortRange{{81, 81}}},
		{Accelerate: true, From: prefixes("10.0.1.0/24", "fd00:1::/64"), NotTo: prefixes("10.9.0.0/16"), In: []string{"nowhere", "lan"}, Ports: []PortRange{{80, 81}}, DSCP: []uint8{0}},
	}
	a := r.start(p)
	steered := func(c *peer) bool {
		t.Helper()
		before := a.relay.frames[client].Load()
		if err := c.exchange(1000, 5*time.Second); err != nil {
			t.Fatal(err)
		}
		return a.relay.frames[client].Load() > before
	}
	var old *peer
	for _, c := range []struct {
		addr string
		want bool
	}{{server4 + ":80", true}, {server4 + ":81", false}, {server4 + ":82", false}, {"[" + server6 + "]:80", true}, {"[" + server6 + "]:81", false}} {
		conn := r.dial(r.client, c.addr)
		if got := steered(conn); got != c.want {
			t.Errorf("%s is steered: %t, want %t", c.addr, got, c.want)
		}
		if old == nil {
			old = conn
		}
	}
	p.Clauses = []Clause{{Accelerate: true, Ports: []PortRange{{81, 81}}}}
	r.ok(a.Reload(p))
	if !steered(old) {
		t.Error("a reload ended the steering of a known flow")
	}
	if steered(r.dial(r.client, server4+":80")) || !steered(r.dial(r.client, server4+":81")) {
		t.Error("new connections do not follow the new clauses")
	}
	p.Queues = 4
	if err := a.Reload(p); err == nil || !strings.Contains(err.Error(), "restart") {
		t.Errorf("reload with other queues: %v", err)
	}
}

// A hang ends steering by itself, of old and of new connections, and it comes
// back with the heartbeat.
func TestHang(t *testing.T) {
	r := newRouterLab(t)
	r.echo(r.server, ":80")
	p := r.plan()
	p.BeatTimeout = 300 * time.Millisecond
	a := r.start(p)
	old4, old6 := r.dial(r.client, server4+":80"), r.dial(r.client, "["+server6+"]:80")
	a.hang()
	start := time.Now()
	for _, c := range []*peer{old4, old6, r.dial(r.client, server4+":80")} {
		if err := c.exchange(100<<10, 5*time.Second); err != nil {
			t.Errorf("%s in a hang: %v", c.remote(), err)
		}
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("traffic took %v to flow again, want 2s at most", d)
	}
	r.ok(a.Beat())
	a.relay = startRelay(a.Steering, nil)
	defer a.relay.stop()
	before := a.relay.frames[client].Load()
	if err := old4.exchange(1000, 5*time.Second); err != nil {
		t.Error(err)
	}
	if a.relay.frames[client].Load() == before {
		t.Error("steering of a known flow did not come back with the heartbeat")
	}
}

// What somebody else does to the taps, rules and routes ends the heartbeat, and
// with it steering: traffic flows without accd.
func TestBeatNoticesTampering(t *testing.T) {
	r := newRouterLab(t)
	r.echo(r.server, ":80")
	for _, what := range []string{
		"ip link set accd0 down", "ip link set accd1 down", "ip rule del pref 15", "ip -6 rule del pref 11", "ip route flush table 4040",
	} {
		t.Run(what, func(t *testing.T) {
			p := r.plan()
			p.BeatTimeout = 300 * time.Millisecond
			a := r.start(p)
			old := r.dial(r.client, server4+":80")
			a.hang()
			words := strings.Fields(what)
			r.run(r.box, words[0], words[1:]...)
			if err := a.Beat(); err == nil || !strings.Contains(err.Error(), "accd") {
				t.Errorf("Beat: %v, want what is wrong", err)
			}
			for _, c := range []*peer{old, r.dial(r.client, server4+":80")} {
				if err := c.exchange(100<<10, 5*time.Second); err != nil {
					t.Errorf("%s: %v", c.remote(), err)
				}
			}
			a.stop()
		})
	}
}

// Death in the middle of transfers: connections go on natively, nothing leaves
// the box without NAT, and the next start and Cleanup find the host as it was.
func TestDeath(t *testing.T) {
	r := newRouterLab(t)
	r.echo(r.server, ":80")
	// Counts what leaves with an address that only NAT may show.
	r.run(r.box, "nft", "add table inet watch; add counter inet watch leaks; add chain inet watch out { type filter hook postrouting priority 300; };"+
		"add rule inet watch out oifname wan ip saddr 10.0.1.0/24 counter name leaks;"+
		"add rule inet watch out oifname wan ip6 saddr fd00:1::/64 counter name leaks")
	before := r.snapshot()
	a := r.start(r.plan())
	var busy []*peer
	done := make(chan error)
	for range 4 {
		for _, addr := range []string{server4 + ":80", "[" + server6 + "]:80"} {
			c := r.dial(r.client, addr)
			busy = append(busy, c)
		}
	}
	for _, c := range busy {
		go func() { done <- c.exchange(64<<20, 20*time.Second) }()
	}
	eventually(t, 5*time.Second, "the transfers are in full swing", func() bool { return a.relay.frames[client].Load() > 500 })
	a.kill()
	fresh := r.dial(r.client, server4+":80")
	if err := fresh.exchange(1000, time.Second); err != nil {
		t.Errorf("a new connection after the death: %v", err)
	}
	for range busy {
		if err := <-done; err != nil {
			t.Errorf("a busy connection: %v", err)
		}
	}
	if out := r.run(r.box, "nft", "list", "counter", "inet", "watch", "leaks"); !strings.Contains(out, "packets 0 ") {
		t.Errorf("packets left without NAT:\n%s", out)
	}

	// What is left has no effect, and the next start takes it over.
	b := r.start(r.plan())
	c := r.dial(r.client, server4+":80")
	if err := c.exchange(1000, 5*time.Second); err != nil {
		t.Error(err)
	}
	if b.relay.syns[client].Load() != 1 {
		t.Error("the next start does not steer")
	}
	if err := busy[0].exchange(1000, 5*time.Second); err != nil {
		t.Errorf("a surviving connection after the restart: %v", err)
	}
	b.kill()
	r.ok(r.box.Do(func() error { return Cleanup(Names{StateDir: r.dir}) }))
	if d := cmp.Diff(strings.Split(before, "\n"), strings.Split(r.snapshot(), "\n")); d != "" {
		t.Errorf("Cleanup did not restore the host (- before, + after):\n%s", d)
	}
}

// Down leaves the host as it was before Up, strict reverse path filtering
// included, which Up has to move out of the way.
func TestDownRestores(t *testing.T) {
	for _, rp := range []string{"0", "1", "2"} {
		t.Run("rp_filter="+rp, func(t *testing.T) {
			r := newRouterLab(t)
			r.echo(r.server, ":80")
			r.ok(r.box.Sysctl("net.ipv4.conf.all.rp_filter", rp))
			before := r.snapshot()
			a := r.start(r.plan())
			if err := r.dial(r.client, server4+":80").exchange(100<<10, 5*time.Second); err != nil {
				t.Fatal(err)
			}
			if rp == "1" {
				if v, _ := r.box.SysctlValue("net.ipv4.conf.lan.rp_filter"); v != "1" {
					t.Errorf("the filter of lan is %s while accd runs, want the 1 that all had", v)
				}
			}
			a.stop()
			if d := cmp.Diff(strings.Split(before, "\n"), strings.Split(r.snapshot(), "\n")); d != "" {
				t.Errorf("Down did not restore the host (- before, + after):\n%s", d)
			}
			r.ok(r.box.Do(a.Down))
			if err := a.Beat(); err == nil {
				t.Error("Beat after Down succeeded")
			}
		})
	}
}

// Only one process has a namespace in hand, and one that fails leaves nothing.
func TestSecondInstance(t *testing.T) {
	r := newRouterLab(t)
	a := r.start(r.plan())
	during := r.snapshot()
	r.ok(r.box.Do(func() error {
		if _, err := Up(context.Background(), r.plan(), zap.NewNop()); !errors.Is(err, ErrRunning) {
			t.Errorf("a second Up: %v, want ErrRunning", err)
		}
		if err := Cleanup(Names{StateDir: r.dir}); !errors.Is(err, ErrRunning) {
			t.Errorf("Cleanup of a running accd: %v, want ErrRunning", err)
		}
		// Nor with a journal of their own, which is nobody's lock.
		elsewhere := r.plan()
		elsewhere.StateDir = t.TempDir()
		if _, err := Up(context.Background(), elsewhere, zap.NewNop()); err == nil || !strings.Contains(err.Error(), " exists") {
			t.Errorf("a second Up with another journal: %v, want the tap that exists", err)
		}
		if err := Cleanup(elsewhere.Names); !errors.Is(err, ErrRunning) {
			t.Errorf("Cleanup of a running accd with another journal: %v, want ErrRunning", err)
		}
		if left, err := os.ReadDir(elsewhere.StateDir); err != nil || len(left) > 0 {
			t.Errorf("they left %v, %v", left, err)
		}
		return nil
	}))
	if d := cmp.Diff(strings.Split(during, "\n"), strings.Split(r.snapshot(), "\n")); d != "" {
		t.Errorf("the second instance changed something:\n%s", d)
	}
	a.stop()

	r.run(r.box, "ip", "link", "add", "accd1", "type", "bridge")
	before := r.snapshot()
	r.ok(r.box.Do(func() error {
		if _, err := Up(context.Background(), r.plan(), zap.NewNop()); err == nil || !strings.Contains(err.Error(), "accd1") {
			t.Errorf("Up with a foreign accd1: %v", err)
		}
		return nil
	}))
	if d := cmp.Diff(strings.Split(before, "\n"), strings.Split(r.snapshot(), "\n")); d != "" {
		t.Errorf("an Up that failed left something:\n%s", d)
	}
}

// Elements end without packets, last with packets of the client, and come
// back by Steer; Forget ends them.
func TestFlowsInTheSet(t *testing.T) {
	r := newRouterLab(t)
	r.echo(r.server, ":80")
	p := r.plan()
	p.FlowTimeout, p.OpeningTimeout = 600*time.Millisecond, 200*time.Millisecond
	a := r.start(p)
	c := r.dial(r.client, server4+":80")
	steered := func() bool {
		before := a.relay.frames[client].Load()
		if err := c.exchange(10, 5*time.Second); err != nil {
			t.Fatal(err)
		}
		return a.relay.frames[client].Load() > before
	}
	start := time.Now()
	for time.Since(start) < 1500*time.Millisecond {
		if !steered() {
			t.Fatalf("a busy flow lost its steering after %v", time.Since(start))
		}
		time.Sleep(100 * time.Millisecond) // the pace of the flow
	}
	if n := r.flowsOf(a, "opening4"); n != 0 {
		t.Errorf("%d handshakes in the set after the flow's, want 0: they are moved", n)
	}
	eventually(t, 5*time.Second, "an idle flow's element ends", func() bool { return r.flowsOf(a, "flows4") == 0 })
	if steered() {
		t.Error("a flow without element is steered")
	}
	a.Steer(c.local(), c.remote())
	eventually(t, 2*time.Second, "Steer adds the element", func() bool { return r.flowsOf(a, "flows4") == 1 })
	if !steered() {
		t.Error("a flow added by Steer is not steered")
	}
	a.Forget(c.local(), c.remote())
	if steered() {
		t.Error("a forgotten flow is steered")
	}
	c4 := c
	c = r.dial(r.client, "["+server6+"]:80")
	if !steered() {
		t.Error("a new flow is not steered, IPv6")
	}
	a.Forget(c.local(), c.remote())
	if steered() {
		t.Error("a forgotten flow is steered, IPv6")
	}
	c = c4
	eventually(t, 2*time.Second, "Forget removes the elements", func() bool { return r.flowsOf(a, "flows4")+r.flowsOf(a, "flows6") == 0 })
	a.Forget(c.local(), c.remote()) // again: harmless
	a.Steer(c.local(), c.remote())
	eventually(t, 2*time.Second, "Steer after Forget", steered)
	if n := a.Lost(); n != 0 {
		t.Errorf("%d changes lost, want 0", n)
	}
}

// Recall loses none of more flows than may wait.
func TestRecall(t *testing.T) {
	r := newRouterLab(t)
	a := r.start(r.plan())
	const n = flowBacklog + 3*flowBatch
	server := netip.MustParseAddrPort("192.0.2.1:80")
	for i := range n {
		a.Recall(netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}), 1024), server)
	}
	eventually(t, 5*time.Second, "all flows are in the set", func() bool { return r.flowsOf(a, "flows4") == n })
	if n := a.Lost(); n != 0 {
		t.Errorf("%d changes lost", n)
	}
}

// What a firewall does to the table when it is loaded again is seen and repaired.
func TestRestore(t *testing.T) {
	r := newRouterLab(t)
	r.echo(r.server, ":80")
	p := r.plan()
	p.Block = true
	a := r.start(p)
	c := r.dial(r.client, server4+":80")
	steered := func() bool {
		before := a.relay.frames[client].Load()
		r.ok(c.exchange(10, 5*time.Second))
		return a.relay.frames[client].Load() > before
	}
	r.run(r.box, "nft", "insert", "rule", "inet", "accd", "incoming", "counter") // an operator's own does no harm
	for _, harm := range []string{
		"flush set inet accd flows4", "flush set inet accd flows6", "flush table inet accd", "flush chain inet accd tracked", "delete table inet accd",
	} {
		if !steered() {
			t.Fatalf("before %s: the flow is not steered", harm)
		}
		if lost, err := a.Restore(); lost || err != nil {
			t.Errorf("before %s: %v, %v", harm, lost, err)
		}
		r.run(r.box, "nft", strings.Fields(harm)...)
		if lost, err := a.Restore(); !lost || err != nil {
			t.Errorf("after %s: %v, %v", harm, lost, err)
		}
		a.Steer(c.local(), c.remote())
		eventually(t, 2*time.Second, "Steer after "+harm, steered)
	}
}

// fail: block stops what is steered when accd dies, until Cleanup: with NAT, and where packets
// take the shortcut.
func TestBlock(t *testing.T) {
	t.Run("NAT", func(t *testing.T) { testBlock(t, newRouterLab(t)) })
	t.Run("shortcut", func(t *testing.T) { testBlock(t, newPlainLab(t)) })
}

func testBlock(t *testing.T, r *routerLab) {
	r.echo(r.server, ":80")
	r.echo(r.server, ":81")
	before := r.snapshot()
	p := r.plan()
	p.Block = true
	p.Clauses = []Clause{{Ports: []PortRange{{81, 81}}}, {Accelerate: true}}
	a := r.hurried(p)
	c := r.dial(r.client, server4+":80")
	r.ok(c.exchange(1000, 5*time.Second))
	a.kill()
	if err := c.exchange(1000, 300*time.Millisecond); !isTimeout(err) {
		t.Errorf("a steered connection after the death: %v, want a timeout", err)
	}
	if _, err := r.tryDial(r.client, server4+":80", 300*time.Millisecond); !isTimeout(err) {
		t.Errorf("a new connection after the death: %v, want a timeout", err)
	}
	r.ok(r.dial(r.client, server4+":81").exchange(1000, 5*time.Second))
	r.ok(r.box.Do(func() error { return Cleanup(Names{StateDir: r.dir}) }))
	if err := c.exchange(1000, 5*time.Second); err != nil {
		t.Errorf("after Cleanup: %v", err)
	}
	if d := cmp.Diff(strings.Split(before, "\n"), strings.Split(r.snapshot(), "\n")); d != "" {
		t.Errorf("Cleanup did not restore the host (- before, + after):\n%s", d)
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout() || errors.Is(err, context.DeadlineExceeded)
}

// A host that cannot be steered on is refused in words.
func TestUpRefuses(t *testing.T) {
	r := newRouterLab(t)
	up := func() error {
		return r.box.Do(func() error {
			s, err := Up(context.Background(), r.plan(), zaptest.NewLogger(t))
			if err == nil {
				s.Down()
			}
			return err
		})
	}
	r.run(r.box, "ip", "rule", "add", "pref", "12", "lookup", "7")
	if err := up(); err == nil || !strings.Contains(err.Error(), "rule 12") {
		t.Errorf("a rule in the way: %v", err)
	}
	r.run(r.box, "ip", "rule", "del", "pref", "12")
	r.ok(r.box.Sysctl("net.ipv6.conf.all.forwarding", "0"))
	if err := up(); err != nil {
		t.Errorf("IPv4 only: %v", err)
	}
	r.ok(r.box.Sysctl("net.ipv4.ip_forward", "0"))
	if err := up(); err == nil || !strings.Contains(err.Error(), "ip_forward=1") {
		t.Errorf("no forwarding: %v", err)
	}
}
