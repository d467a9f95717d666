package terminator

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"accd/splice"
	"accd/tcpstack/buf"
	"accd/tcpstack/wire"
	"accd/terminator/link"
)

func TestIdleFlowsAreForgotten(t *testing.T) {
	b := newBox(t, 1, func(c *Config) { c.Idle = 10 * time.Minute })
	b.handshake(0, web4)
	b.handshake(0, web6)
	for range 9 {
		b.pass(2 * time.Minute)
		b.send(splice.Client, packet{tuple: web6, flags: wire.ACK, seq: 1001, ack: 5001, window: 512, options: &clientTS})
		b.want1(0)
	}
	s := b.term.shards[0]
	if s.attend(&web4) != nil || s.attend(&web6) == nil || b.term.flows.Load() != 1 || s.count.expired != 1 {
		t.Errorf("%d flows are left, %d expired", s.flows.len(), s.count.expired)
	}
}

// A turn that comes too late means that the heartbeat lapsed.
func TestGap(t *testing.T) {
	b := newBox(t, 1)
	b.handshake(0, web4)
	b.pass(2 * time.Second)
	if n := b.count(0).gaps; n != 0 {
		t.Fatalf("%d gaps", n)
	}
	b.now = b.now.Add(maxGap + time.Millisecond)
	b.turn()
	if n := b.count(0).gaps; n != 1 {
		t.Fatalf("%d gaps", n)
	}
	if r := b.term.shards[0].attend(&web4).Record(); !r.Unsynced {
		t.Error("the record is believed after a gap")
	}
}

// When the steering rules have forgotten everything, all flows are asked for again,
// those on the wire too: nothing that they send tells of it. Busy ones go first.
func TestResteer(t *testing.T) {
	b := newBox(t, 1)
	b.handshake(0, web4)
	b.pass(2 * recently)
	b.handshake(0, web6)
	s := b.term.shards[0]
	var asked []wire.Tuple
	for _, recent := range [2]bool{true, false} {
		for end := -1; end != 0; {
			asked, end = s.heard(asked, end, recent)
		}
	}
	if !slices.Equal(asked, []wire.Tuple{web6, web4}) {
		t.Errorf("asked for %v", asked)
	}
}

// What is said to all flows reaches those that rest with their next packet.
func TestStopReachesFlowsThatRest(t *testing.T) {
	b := newBox(t, 1)
	b.handshake(0, web4)
	b.handshake(0, web6)
	s := b.term.shards[0]
	request := func(tuple wire.Tuple) {
		t.Helper()
		p := packet{tuple: tuple, flags: wire.ACK | wire.PSH, seq: 1001, ack: 5001, window: 512, options: &clientTS, payload: make([]byte, 100)}
		b.send(splice.Client, p)
		b.turn()
	}
	request(web4)
	if s.custody.Entered != 1 || s.active != 1 {
		t.Fatalf("%d custodies began", s.custody.Entered)
	}
	b.pass(2 * time.Millisecond) // the ACK waits no longer: what came is held
	b.take(0)
	s.drain()
	request(web6)
	if s.custody.Entered != 1 || s.custody.By[splice.Policy] != 1 {
		t.Errorf("%d custodies began after the stop", s.custody.Entered)
	}
	used := 0
	s.flows.each(func(*flow) { used++ })
	if used != 1 {
		t.Errorf("%d flows are attended to, one is not idle", used)
	}
}

// A shard that panics drains or resets only its own flows.
func TestPanicCostsOneFlow(t *testing.T) {
	b := newBox(t, 1)
	b.handshake(0, web4)
	b.handshake(0, web6)
	s := b.term.shards[0]
	s.ask(func(s *shard) {
		s.current = s.attend(&web4)
		panic("made by the test")
	})
	answered := false
	s.ask(func(*shard) { answered = true })
	b.turn()
	if s.count.panics != 1 || s.attend(&web4) != nil || s.attend(&web6) == nil {
		t.Fatalf("%d panics, %d flows", s.count.panics, s.flows.len())
	}
	if !answered {
		t.Error("who asked behind the panic waits for ever")
	}
	// Both connections go on, the one as a stranger.
	for _, tuple := range []wire.Tuple{web4, web6} {
		p := packet{tuple: tuple, flags: wire.ACK, seq: 1001, ack: 5001, window: 512, options: &clientTS}
		b.send(splice.Client, p)
		wantPassed(t, splice.Client, p.frame(), b.want1(0))
	}
}

// There are no more shards than a place among the owners can name.
func TestTooManyQueues(t *testing.T) {
	var cfg Config
	for side := range cfg.Taps {
		cfg.Taps[side].Queues = make([]link.Queue, shardMask+1)
	}
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "256 queues: want 255 at most") {
		t.Errorf("got %v", err)
	}
}

func TestTapGoneEndsRun(t *testing.T) {
	b := newBox(t, 1)
	b.term.cfg.Taps[0].Queues[0].Close()
	done := make(chan error, 1)
	go func() { done <- b.term.Run(context.Background()) }()
	select {
	case err := <-done:
		if err == nil {
			t.Error("no error")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Run goes on without a tap")
	}
}

// Run, Status, Flows, Reload and Drain, with real goroutines and the real clock.
func TestRun(t *testing.T) {
	b := newBox(t, 2)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	run, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- b.term.Run(run) }()
	await := func(shard int, side splice.Side) {
		t.Helper()
		var p buf.Pool
		var f link.Frame
		for {
			if ok, err := b.ends[shard][side].Recv(&p, &f); ok || err != nil {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			fds := []unix.PollFd{{Fd: int32(b.ends[shard][side].FD()), Events: unix.POLLIN}}
			if n, err := unix.Poll(fds, 10_000); n == 0 || err != nil && err != unix.EINTR {
				t.Fatal("nothing came: ", err)
			}
		}
	}
	for shard, tuple := range []wire.Tuple{web4, web6} {
		b.put(shard, splice.Client, wire.VirtioHeader{}, packet{tuple: tuple, flags: wire.SYN, seq: 1000, window: 65535, options: &synOptions, net: splice.LAN}.frame())
		await(shard, splice.Server)
		b.put(shard, splice.Server, wire.VirtioHeader{}, packet{tuple: tuple.Reverse(), flags: wire.SYN | wire.ACK, seq: 5000, ack: 1001, window: 65535, options: &synAckOptions, net: splice.WAN}.frame())
		await(shard, splice.Client)
		b.put(shard, splice.Client, wire.VirtioHeader{}, packet{tuple: tuple, flags: wire.ACK, seq: 1001, ack: 5001, window: 512, options: &clientTS, net: splice.LAN}.frame())
		await(shard, splice.Server)
	}
	st, err := b.term.Status(ctx)
	if err != nil || st.Flows != 2 || st.Shards != 2 || st.Rules["rest"] != 2 || st.Client.In.Packets != 4 || st.Server.Out.Packets != 4 {
		t.Errorf("status %+v, %v", st, err)
	}
	flows, err := b.term.Flows(ctx, Filter{})
	if err != nil || len(flows) != 2 {
		t.Fatalf("flows %+v, %v", flows, err)
	}
	one, err := b.term.Flows(ctx, Filter{ID: flows[0].ID})
	if err != nil || len(one) != 1 || one[0].Client != flows[0].Client || one[0].ServerLeg.Network != "wan" || one[0].ServerLeg.Congestion != "bbr" || one[0].ClientLeg.Congestion != "cubic" {
		t.Errorf("flow %+v, %v", one, err)
	}
	if err := b.term.Reload(ctx, table(t, config)); err != nil {
		t.Error(err)
	}
	if err := b.term.Gap(ctx); err != nil {
		t.Error(err)
	}
	before := b.term.Turns()
	for {
		after := b.term.Turns()
		if after[0] > before[0] && after[1] > before[1] {
			break
		}
		if ctx.Err() != nil {
			t.Fatal("the shards make no turns while idle")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if killed, err := b.term.Drain(ctx); killed != 0 || err != nil {
		t.Errorf("drain: %d killed, %v", killed, err)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := b.term.Status(ctx); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("status after the end: %v", err)
	}
}
