package e2e

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"accd/lab"
)

// A daemon that hangs is steered around until it comes back.
func TestHang(t *testing.T) {
	needAccd(t)
	t.Parallel()
	const idle, busy = 20, 8
	n := newNetwork(t, shape{emulated: true})
	n.impair(lab.Path{Rate: 100e6, Delay: 10 * time.Millisecond})
	d := n.startAccd(config{})
	echo := n.echo(families[1])
	pairs := n.startPairs(idle)
	streams := n.startStreams(busy, sockets{client: paced(15e6), server: paced(15e6)})
	time.Sleep(500 * time.Millisecond)

	const hang = 5 * time.Second
	// A machine that is too busy needs longer in any case.
	limit := 2*time.Second + 10*n.firstEcho(t, echo, patience)
	d.signal(syscall.SIGSTOP)
	begin := time.Now()
	took := n.firstEcho(t, echo, limit)
	t.Logf("a new connection carries data %v after the hang began", took)
	if ok, err := talkAll(pairs); ok != idle || time.Since(begin) > limit {
		t.Errorf("%d of %d idle connections carry data %v after the hang began, want all within %v: %v", ok, idle, time.Since(begin), limit, err)
	}
	time.Sleep(time.Until(begin.Add(hang)))
	d.signal(syscall.SIGCONT)

	continued := marks(streams)
	if stuck := progressed(streams, continued, 10*time.Second); stuck > 0 {
		t.Errorf("%d of %d busy connections do not go on after a hang of %v", stuck, busy, hang)
	}
	if ok, err := talkAll(pairs); ok != idle {
		t.Errorf("%d of %d idle connections carry data after the hang, want all: %v", ok, idle, err)
	}
	check(t, finishAll(streams, patience))
	if !await(2*time.Second, func() bool { return d.status().State == "accelerating" }) {
		t.Errorf("accd is %s after the hang", d.status().State)
	}
	for _, f := range families {
		client, server := n.connect(f)
		d.inCustody(t, 4*mib, 4*mib, func() error { return exchange(client, server, 4*mib, 4*mib) })
	}
}

// A transfer that is always busy keeps its element in the steering set alive for
// longer than the set's timeout.
func TestOutlivesTimeout(t *testing.T) {
	needAccd(t)
	t.Parallel()
	const timeout = 5 * time.Second
	n := newNetwork(t, shape{emulated: true})
	n.impair(lab.Path{Rate: 20e6, Delay: 5 * time.Millisecond})
	d := n.startAccd(config{steering: fmt.Sprintf("flow_timeout: %v", timeout)})
	idle := n.startPairs(2)
	streams := n.startStreams(4, sockets{})
	begin := d.status().Terminator
	time.Sleep(2*timeout + timeout/2)
	end := d.status().Terminator
	moved := sum(marks(streams))
	took := end.Taken.Up - begin.Taken.Up + end.Taken.Down - begin.Taken.Down
	if float64(took) < custody*float64(moved) {
		t.Errorf("accd acknowledged %d of %d bytes in %v", took, moved, 2*timeout+timeout/2)
	}
	check(t, finishAll(streams, patience))
	// What was quiet for longer is native by now, and works.
	if ok, err := talkAll(idle); ok != len(idle) {
		t.Errorf("%d of %d connections whose element ended carry data: %v", ok, len(idle), err)
	}
}

func sum(all []int64) (s int64) {
	for _, n := range all {
		s += n
	}
	return s
}

// The set of steered flows is emptied in the middle of transfers: packets go by
// accd for a while, and it asks for them back.
func TestOutlivesSet(t *testing.T) {
	needAccd(t)
	t.Parallel()
	n := newNetwork(t, shape{emulated: true})
	n.impair(lab.Path{Rate: 50e6, Delay: 5 * time.Millisecond})
	// fail: block is what makes a table that others than accd may change.
	d := n.startAccd(config{steering: "fail: block"})
	streams := n.startStreams(4, sockets{})
	time.Sleep(500 * time.Millisecond)
	for range 3 {
		for _, set := range []string{"flows4", "flows6", "opening4", "opening6"} {
			sh(t, n.box, "nft flush set inet accd "+set)
		}
		// What was on its way may still arrive; what is sent from now on
		// must too.
		time.Sleep(500 * time.Millisecond)
		if stuck := progressed(streams, marks(streams), 10*time.Second); stuck > 0 {
			t.Errorf("%d of %d streams do not go on after the set was emptied", stuck, len(streams))
		}
		time.Sleep(time.Second)
	}
	check(t, finishAll(streams, patience))
	for _, f := range families {
		client, server := n.connect(f)
		d.inCustody(t, 4*mib, 4*mib, func() error { return exchange(client, server, 4*mib, 4*mib) })
	}
}
