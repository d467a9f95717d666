package splice

import (
	"testing"
	"time"
)

// TestLimitGrows: the limit follows the delivery rate of the far leg.
func TestLimitGrows(t *testing.T) {
	r := establish(t)
	r.window[Server] = 0xffff
	r.pass(Server, r.seg(Server, 0, 0, 0))
	r.take(Client, r.seg(Client, 0, 1000, 0))
	sent, acked := 1000, 0
	fill := func() {
		room := r.flow.c.conn[Client].RcvEdge().Sub(r.isn[Client].Add(1))
		for ; sent+10_000 <= room; sent += 10_000 {
			r.take(Client, r.seg(Client, sent, 10_000, 0))
		}
	}
	for range 12 {
		fill()
		r.advance(40 * time.Millisecond)
		for _, p := range r.out {
			if p.to == Server {
				acked = max(acked, p.seq+len(p.data)-1000) // something stays held
			}
		}
		r.out = nil
		r.take(Server, r.seg(Server, 0, 0, acked))
	}
	fill()
	if got := r.flow.c.conn[Client].RcvAcked().Sub(r.isn[Client].Add(1 + acked)); got < 2*minHeld {
		t.Errorf("%d bytes are acknowledged ahead, at %v bytes/s", got, r.flow.c.conn[Server].DeliveryRate())
	}
	r.out = nil
}

// TestShareOfQueue: a reader that does not keep up offers what the paths take and a
// share of its queue, whatever round trips and bursts look like, and takes no edge back.
func TestShareOfQueue(t *testing.T) {
	r := newRig(t)
	r.scale[Server], r.window[Server] = 8, 1024
	r.handshake()
	r.pass(Server, r.seg(Server, 0, 0, 0))
	r.take(Client, r.seg(Client, 0, 1000, 0))
	sent, acked := 1000, 0
	edge := func() int { return r.flow.c.conn[Client].RcvEdge().Sub(r.isn[Client].Add(1)) }
	// turns lets the server, 2 ms away, take all there is again and again, and gives what
	// the client, 2 ms away too, might have on its way in the end.
	turns := func(n int) int {
		for range n {
			for room := edge(); sent+10_000 <= room; sent += 10_000 {
				r.take(Client, r.seg(Client, sent, 10_000, 0))
			}
			r.advance(2 * time.Millisecond)
			for _, p := range r.out {
				if p.to == Server {
					acked = max(acked, p.seq+len(p.data)-1000) // something stays held
				}
			}
			r.out = nil
			before := edge()
			r.take(Server, r.seg(Server, 0, 0, acked))
			if edge() < before {
				t.Fatalf("the edge went back from %d to %d", before, edge())
			}
		}
		return edge() - acked
	}
	before := turns(200)
	r.env.Share = 50_000
	after := turns(200)
	took := 1024 << 8 // in 2 ms: its window
	if after > before*2/3 || after < took {
		t.Errorf("%d bytes could be on their way, %d with a share of %d; in 2 ms %d arrive", before, after, r.env.Share, took)
	}
	r.env.Share = 0
	if n := turns(200); n < before*2/3 {
		t.Errorf("%d bytes can be on their way, %d could before there was a share", n, before)
	}
	r.out = nil
}

// TestShareIsBounded: one who carries so much that a flow's part of it would fill the
// caches gives less, as one who keeps up does.
func TestShareIsBounded(t *testing.T) {
	for given, want := range map[int]int{0: mostShare, 1: 1, mostShare + 1: mostShare, 1 << 40: mostShare} {
		if got := (&Env{Share: given}).share(); got != want {
			t.Errorf("%d bytes may wait with a share of %d, want %d", got, given, want)
		}
	}
}
