package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"accd/lab"
	"accd/netcfg/netlab"
)

// A crash: connections that held nothing go on without accd as if nothing had
// been, the others are reset on both sides when it comes back, and nothing
// leaves without NAT at any time.
func TestKill(t *testing.T) {
	needAccd(t)
	const idle, busy = 100, 20
	n := newNetwork(t, shape{emulated: true, masquerade: true})
	leaks := countLeaks(t, n.wan)
	n.impair(lab.Path{Rate: 200e6, Delay: 10 * time.Millisecond})
	d := n.startAccd(config{})
	echo := n.echo(families[0])

	pairs := n.startPairs(idle)
	streams := make([]*stream, busy)
	for i := range streams {
		streams[i] = n.startStream(families[i%2], i/2%2 == 0)
	}
	if stuck := progressed(streams, make([]int64, busy), patience); stuck > 0 {
		t.Fatalf("%d of %d streams do not start", stuck, busy)
	}
	time.Sleep(time.Second) // until they fill the link
	before := d.status().Terminator
	if before.InCustody < busy/2 {
		t.Errorf("%d of %d busy connections are in custody before the crash, want at least half", before.InCustody, busy)
	}
	t.Logf("before the crash: %d flows, %d in custody, %d bytes held", before.Flows, before.InCustody, before.Held)

	d.kill()
	took := n.firstEcho(t, echo, 100*time.Millisecond)
	t.Logf("a new connection carries data %v after the crash", took)
	if ok, err := talkAll(pairs); ok != idle {
		t.Errorf("%d of %d idle connections carry data after the crash, want all: %v", ok, idle, err)
	}
	time.Sleep(time.Second) // native, with streams whose held bytes are gone

	dump(t, n.wan)
	ctdump(t, n.box)
	d.start()
	restarted := marks(streams)
	settled := await(2*time.Second, func() bool {
		for i, s := range streams {
			if s.got.Load() <= restarted[i] && !s.isReset() {
				return false
			}
		}
		return true
	})
	var alive []*stream
	reset := 0
	for i, s := range streams {
		switch {
		case s.isReset():
			reset++
		case s.got.Load() > restarted[i]:
			alive = append(alive, s)
		default:
			t.Errorf("%s neither goes on nor is it reset on both sides", s)
		}
	}
	t.Logf("of %d busy connections %d go on and %d were reset on both sides (settled: %v)", busy, len(alive), reset, settled)

	if ok, err := talkAll(pairs); ok != idle {
		t.Errorf("%d of %d idle connections carry data after the restart, want all: %v", ok, idle, err)
	}
	for _, f := range families {
		client, server := n.connect(f)
		d.inCustody(t, 4*mib, 4*mib, func() error { return exchange(client, server, 4*mib, 4*mib) })
	}
	check(t, finishAll(alive, patience))
	if k := leaks(); k != 0 {
		t.Errorf("%d packets left the box without NAT, want 0", k)
	}

	d.kill()
	if out, code := n.run("cleanup", "-c", d.conf); code != 0 {
		t.Errorf("accd cleanup: exit code %d\n%s", code, out)
	}
	d.wantNoTrace()
	if ok, err := talkAll(pairs); ok != idle {
		t.Errorf("%d of %d idle connections carry data after the cleanup, want all: %v", ok, idle, err)
	}
}

// countLeaks counts packets that arrive at the wan with an address of the
// client's.
func countLeaks(t testing.TB, wan *netlab.Namespace) func() int {
	nft(t, wan, `table inet e2e {
		counter leaks { }
		chain pre {
			type filter hook prerouting priority -400;
			ip saddr 10.1.0.0/24 counter name leaks
			ip6 saddr 2001:db8:1::/64 ip6 nexthdr tcp counter name leaks
		}
	}`)
	return func() (packets int) {
		t.Helper()
		out := sh(t, wan, "nft list counter inet e2e leaks")
		_, rest, _ := strings.Cut(out, "packets ")
		if _, err := fmt.Sscan(rest, &packets); err != nil {
			t.Fatalf("nft says %q: %v", out, err)
		}
		return packets
	}
}
