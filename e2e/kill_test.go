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
	// The queue has room for what comes at once after a pause of the emulator's:
	// losses would be blamed on the crash.
	n.impair(lab.Path{Rate: 200e6, Delay: 5 * time.Millisecond, Queue: 8 << 20})
	d := n.startAccd(config{})
	echo := n.echo(families[0])

	pairs := n.startPairs(idle)
	// Together less than the link carries, so that the queue is empty most of
	// the time.
	streams := n.startStreams(busy, sockets{client: paced(15e6), server: paced(15e6)})
	time.Sleep(time.Second) // well into the transfers
	before := d.status().Terminator
	if before.Held == 0 {
		t.Error("accd holds nothing before the crash, so the crash shows nothing")
	}
	t.Logf("before the crash: %d flows, %d in custody, %d bytes held", before.Flows, before.InCustody, before.Held)

	// A machine that is too busy needs longer in any case.
	usual := n.firstEcho(t, echo, patience)
	d.kill()
	took := n.firstEcho(t, echo, max(100*time.Millisecond, 4*usual))
	t.Logf("a new connection carries data %v after the crash, and in %v before", took, usual)
	if ok, err := talkAll(pairs); ok != idle {
		t.Errorf("%d of %d idle connections carry data after the crash, want all: %v", ok, idle, err)
	}
	time.Sleep(time.Second) // native, with streams whose held bytes are gone

	d.start()
	restarted := marks(streams)
	goesOn := func(i int) bool { return streams[i].got.Load() > restarted[i] }
	await(grace(2*time.Second, senders(streams)...), func() bool {
		for i, s := range streams {
			if !goesOn(i) && !s.isReset() {
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
		case goesOn(i):
			alive = append(alive, s)
		default:
			t.Errorf("%s neither goes on nor is it reset on both sides", s)
		}
	}
	t.Logf("of %d busy connections %d go on and %d were reset on both sides", busy, len(alive), reset)

	if ok, err := talkAll(pairs); ok != idle {
		t.Errorf("%d of %d idle connections carry data after the restart, want all: %v", ok, idle, err)
	}
	for _, f := range families {
		client, server := n.connect(f)
		d.inCustody(t, 4*mib, 4*mib, func() error { return exchange(client, server, 4*mib, 4*mib) })
	}
	check(t, finishAll(alive, patience))
	d.wantSound()

	d.kill()
	if out, code := n.run("cleanup", "-c", d.conf); code != 0 {
		t.Errorf("accd cleanup: exit code %d\n%s", code, out)
	}
	d.wantNoTrace()
	if ok, err := talkAll(pairs); ok != idle {
		t.Errorf("%d of %d idle connections carry data after the cleanup, want all: %v", ok, idle, err)
	}
	if k := leaks(); k != 0 {
		t.Errorf("%d packets left the box without NAT, want 0", k)
	}
}

// countLeaks counts TCP packets that arrive at the wan with an address of the
// client's.
func countLeaks(t testing.TB, wan *netlab.Namespace) func() int {
	nft(t, wan, `table inet e2e {
		counter leaks { }
		chain pre {
			type filter hook prerouting priority -400;
			ip saddr 10.1.0.0/24 meta l4proto tcp counter name leaks
			ip6 saddr 2001:db8:1::/64 meta l4proto tcp counter name leaks
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
