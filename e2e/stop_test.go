package e2e

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"accd/lab"
)

// A stop in the middle of 200 transfers loses none of them.
func TestStopWhileBusy(t *testing.T) {
	needAccd(t)
	const busy, limit = 200, 5 * time.Second
	n := newNetwork(t, shape{emulated: true})
	n.impair(lab.Path{Rate: 1e9, Delay: 5 * time.Millisecond})
	d := n.startAccd(config{})
	streams := n.startStreams(busy, sockets{})
	time.Sleep(2 * time.Second)
	s := d.status().Terminator
	t.Logf("before the stop: %d flows, %d in custody, %d bytes held", s.Flows, s.InCustody, s.Held)
	if s.InCustody < busy/2 {
		t.Errorf("%d of %d busy connections are in custody, want at least half", s.InCustody, busy)
	}

	d.wantSound()
	// On a machine so busy that losses cannot be repaired before the stop's deadline,
	// accd resets the connections that it still holds bytes of, at both ends.
	slow := usualGrace(streams) > limit
	begin := time.Now()
	d.signal(syscall.SIGTERM)
	select {
	case <-d.done:
	case <-time.After(limit):
		t.Errorf("accd is still there %v after SIGTERM", limit)
		<-d.done
	}
	d.ended = true
	t.Logf("accd ended %v after SIGTERM", time.Since(begin))
	check(t, say("accd", d.err))
	if slow {
		left := slices.DeleteFunc(slices.Clone(streams), (*stream).isReset)
		t.Logf("timeouts are long: of %d connections %d were reset at the deadline, which is not judged", busy, busy-len(left))
		streams = left
	}
	if stuck := progressed(streams, marks(streams), patience); stuck > 0 {
		t.Errorf("%d of %d connections do not go on without accd", stuck, busy)
	}
	check(t, finishAll(streams, patience))
	d.wantNoTrace()
}

// A stop does not wait for ever for receivers that do not read: their connections
// are reset on both sides, not left silent.
func TestStopResetsWhatIsHeld(t *testing.T) {
	needAccd(t)
	t.Parallel()
	n := newNetwork(t, shape{})
	d := n.startAccd(config{})
	var all []*stream
	for _, f := range families {
		client, server := n.connect(f)
		s := newSender(client, server)
		all = append(all, s)
	}
	full := func() bool {
		held := d.status().Terminator.Held
		sent := all[0].sent.Load() + all[1].sent.Load()
		time.Sleep(2 * time.Second)
		return held > 0 && sent == all[0].sent.Load()+all[1].sent.Load()
	}
	if !await(patience, full) {
		t.Fatal("the senders do not fill the buffers")
	}
	t.Logf("accd holds %d bytes", d.status().Terminator.Held)
	begin := time.Now()
	d.stop()
	t.Logf("accd ended %v after SIGTERM", time.Since(begin))
	for _, s := range all {
		go s.receive()
		if !await(patience, s.isReset) {
			t.Errorf("%s: accd is gone, and not both ends were reset", s)
		}
	}
}
