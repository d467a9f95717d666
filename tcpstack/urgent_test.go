package tcpstack

import (
	"testing"
	"time"

	"accd/tcpstack/wire"
)

func urgent(n uint16) func(*Segment) {
	return func(g *Segment) { g.Flags, g.Urgent = g.Flags|wire.URG, n }
}

func (s *story) marked(want int) {
	s.t.Helper()
	got, ok := s.in.Urgent()
	if want == 0 && ok || want > 0 && (!ok || got != uint64(want)) {
		s.t.Fatalf("urgent up to %d (%v), want %d", got, ok, want)
	}
}

// RFC 9293, MUST-31, MUST-32: the reader learns of urgent data, of any length, where
// it ends, and that there is none any more.
func TestUrgentReceived(t *testing.T) {
	s := tell(t, nil, nil)
	s.peer(0, 10, 0, urgent(10))
	s.want("0:0 ack 10")
	s.marked(10)
	s.peer(10, 10, 0, urgent(40000))
	s.want("0:0 ack 20")
	s.marked(40010)
	s.peer(20, 10, 0, urgent(5)) // it does not go back
	s.want("0:0 ack 30")
	s.marked(40010)
	s.peer(30, 50000, 0)
	s.want("0:0 ack 50030")
	s.in.Discard(40009)
	s.marked(40010)
	s.in.Discard(40010)
	s.marked(0)
}

// RFC 9293, MUST-66: a closed window keeps data out, not the pointer.
func TestUrgentAtZeroWindow(t *testing.T) {
	cfg := config("reno")
	cfg.Buffer = 4000
	s := tell(t, cfg, func(n *Snapshot) { n.RcvEdge = n.RcvNxt.Add(4000) })
	s.peer(0, 4000, 0)
	s.want("0:0 ack 4000")
	s.peer(4000, 1, 0, urgent(1))
	s.want("0:0 ack 4000")
	s.marked(4001)
}

// RFC 6093, 3: what is sent points to the first byte that is not urgent, from each
// packet that begins before it; none of them carries several segments, of which
// only the first would be right.
func TestUrgentSent(t *testing.T) {
	s := tell(t, nil, nil)
	s.write(2500)
	s.out.SetUrgent(1500)
	s.want("U 0:1000 ack 0 urg 1500", "U 1000:2000 ack 0 urg 500", "2000:2500 ack 0")
	s.peer(0, 0, 2500)
	s.write(2000)
	s.want("2500:4500 ack 0")
	s.peer(0, 0, 4500)
}

// What is further away than the pointer reaches is told of later.
func TestUrgentFarAway(t *testing.T) {
	s := tell(t, nil, func(n *Snapshot) { n.SndWnd = 10 })
	s.write(70000)
	s.out.SetUrgent(65546)
	s.want("0:10 ack 0")
	s.peer(0, 0, 10, window(1000))
	s.want("10:1010 ack 0", "U 1010:1010 ack 0 urg 64536")
}

// RFC 9293, 3.8.5: the peer of a closed window hears of urgent data too, and again if
// that was lost.
func TestUrgentIntoZeroWindow(t *testing.T) {
	s := tell(t, nil, func(n *Snapshot) { n.SndWnd = 0 })
	s.write(100)
	s.quiet()
	s.out.SetUrgent(100)
	s.want("U 0:0 ack 0 urg 100")
	s.quiet()
	s.advance(time.Minute)
	s.want("U 0:0 ack 0 urg 100", "-1:-1 ack 0")
	s.peer(0, 0, 0)
	s.want("U 0:100 ack 0 urg 100")
}

// A splice of two Conns relays the mark at its offset: they share the Stream.
func TestUrgentRelayed(t *testing.T) {
	a, b := tell(t, nil, nil), tell(t, nil, nil)
	var snap Snapshot
	b.c.Snapshot(&snap)
	b.c = Resume(b.now, &snap, &b.in, &a.in, b.c.cfg)
	a.peer(0, 100, 0, urgent(60))
	a.want("0:0 ack 100")
	b.want("U 0:100 ack 0 urg 60")
	b.peer(0, 0, 100)
}
