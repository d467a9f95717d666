package tcpstack

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"accd/tcpstack/wire"
)

// What remains of a Conn in TIME-WAIT answers what the Conn would, whatever comes
// (but for D-SACK), and waits as long.
func TestTimeWaiterAnswersAsItsConn(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	show := func(p *Packet, ok bool) string {
		if !ok {
			return "-"
		}
		p.Options.Set &^= wire.HasSACK
		return fmt.Sprintf("%v %v %v win %d %v val %d ecr %d", p.Seq, p.Ack, p.Flags, p.Window, p.Options.Set, p.Options.TSVal, p.Options.TSEcr)
	}
	for range 200 {
		stamps := rng.IntN(2) == 0
		s := tell(t, nil, func(n *Snapshot) { n.Timestamps = stamps })
		s.write(1000)
		s.out.Close()
		s.sendAll()
		last := func(*Segment) {}
		if stamps {
			last = ts(1000, 0)
		}
		s.peer(0, 0, 1001, fin, last)
		if _, ok := s.c.TimeWaiter(); ok {
			t.Fatal("it waits with an ACK to send")
		}
		s.sendAll()
		w, ok := s.c.TimeWaiter()
		if !ok {
			t.Fatalf("nothing remains of %v", s.c.State())
		}
		near := func(n int) int { return []int{n, n, n, n - 1, n + 1, n + rng.IntN(200_000) - 100_000}[rng.IntN(6)] }
		for i := range 60 {
			s.now = s.now.Add(time.Duration(rng.IntN(2)) * time.Duration(rng.IntN(1e9)))
			g := Segment{
				Seq: wire.SeqOf(peerISN).Add(near(1)), Ack: wire.SeqOf(ourISN).Add(near(1001)), Window: peerWnd / 4,
				Flags: []wire.Flags{wire.ACK, wire.ACK, wire.FIN | wire.ACK, wire.SYN, wire.SYN | wire.ACK, wire.RST, wire.RST | wire.ACK, wire.FIN, 0}[rng.IntN(9)],
			}
			if rng.IntN(2) == 0 {
				ts(uint32(near(1000+i)), 0)(&g)
			}
			if rng.IntN(3) == 0 {
				g.Payload = s.pool.Copy(make([]byte, 1+rng.IntN(100)))
				if rng.IntN(2) == 0 {
					g.Seq = g.Seq.Add(-g.Payload.Len())
				}
			}
			h := g
			if g.Payload.Len() > 0 {
				h.Payload = s.pool.Copy(g.Payload.Bytes())
			}
			what := fmt.Sprintf("%d: seq %+d ack %+d %v len %d %v %d", i, g.Seq.Sub(wire.SeqOf(peerISN)), g.Ack.Sub(wire.SeqOf(ourISN)), g.Flags, g.Payload.Len(), g.Options.Set, g.Options.TSVal)
			var p, q Packet
			s.c.Receive(s.now, &g)
			want := show(&p, s.c.Transmit(s.now, &p))
			if got := show(&q, w.Receive(s.now, &h, &q)); got != want {
				t.Fatalf("%s:\n%s, the Conn\n%s", what, got, want)
			}
			if s.c.Deadline() != w.Until {
				t.Fatalf("%s: until %v, the Conn %v", what, w.Until, s.c.Deadline())
			}
		}
	}
}
