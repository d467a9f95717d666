package splice

import (
	"testing"
	"time"

	"accd/tcpstack"
	"accd/tcpstack/cc"
	"accd/tcpstack/wire"
)

// steady is a flow in custody under load, without the rig's checks: each step
// brings a superpacket of the server, sends it on, and acknowledges it late, so
// that custody lasts.
type steady struct {
	*rig
	seg  tcpstack.Segment
	sent int
}

const stepBytes = 10 * 1448

func newSteady(t *testing.T) *steady {
	r := establish(t)
	r.window[Client] = 0xffff
	r.pass(Client, r.seg(Client, 0, 0, 0))
	s := &steady{rig: r}
	for range 200 {
		s.step()
	}
	if r.flow.State() != InCustody {
		t.Fatalf("in %v: %v", r.flow.State(), r.count.By)
	}
	return s
}

func (s *steady) give(from Side) {
	if s.flow.Receive(s.now, from, &s.seg, Meta{TTL: 64}) != Taken {
		s.t.Fatalf("passed in %v: %v", s.flow.State(), s.count.By)
	}
	for {
		if _, ok := s.flow.Transmit(s.now, &s.pkt); !ok {
			return
		}
	}
}

func (s *steady) step() {
	s.now = s.now.Add(time.Millisecond)
	if at := s.flow.Deadline(); at <= s.now {
		s.flow.Expire(s.now)
	}
	room := s.pool.Room(stepBytes)
	s.stamp[Server]++
	s.seg = tcpstack.Segment{
		Seq: s.isn[Server].Add(1 + s.sent), Ack: s.isn[Client].Add(1), Flags: wire.ACK, Window: 4096,
		Options: wire.Options{Set: wire.HasTS, TSVal: s.stamp[Server]},
		Payload: s.pool.Keep(0, len(room)),
	}
	s.give(Server)
	s.sent += stepBytes
	if ack := s.sent - 2*stepBytes; ack > 0 {
		s.stamp[Client]++
		s.seg = tcpstack.Segment{
			Seq: s.isn[Client].Add(1), Ack: s.isn[Server].Add(1 + ack), Flags: wire.ACK, Window: 0xffff,
			Options: wire.Options{Set: wire.HasTS, TSVal: s.stamp[Client]},
		}
		s.give(Client)
	}
}

// TestCustodyAllocs: in custody no packet allocates.
func TestCustodyAllocs(t *testing.T) {
	s := newSteady(t)
	if n := testing.AllocsPerRun(2000, s.step); n != 0 {
		t.Errorf("%v allocations per step", n)
	}
	if s.flow.State() != InCustody {
		t.Errorf("in %v", s.flow.State())
	}
}

// TestEntryAllocs: entering and leaving custody allocates nothing: even the memory of
// the congestion controllers is used again.
func TestEntryAllocs(t *testing.T) {
	s := &steady{rig: establish(t)}
	cubic, err := cc.Constructor("cubic", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, leg := range s.terms.Leg {
		leg.NewController = cubic
	}
	round := func() {
		s.now = s.now.Add(time.Millisecond)
		for from := range 2 {
			s.stamp[from]++
			s.seg = tcpstack.Segment{
				Seq: s.isn[from].Add(1), Ack: s.isn[1-from].Add(1 + s.sent), Flags: wire.ACK, Window: 4096,
				Options: wire.Options{Set: wire.HasTS, TSVal: s.stamp[from]},
			}
			if from == int(Client) {
				s.seg.Seq, s.seg.Ack = s.seg.Seq.Add(s.sent), s.seg.Ack.Add(-s.sent)
				s.pool.Room(100)
				s.seg.Payload = s.pool.Keep(0, 100)
				s.sent += 100
			}
			s.give(Side(from))
		}
	}
	round()
	if n := testing.AllocsPerRun(1000, round); n != 0 {
		t.Errorf("%v allocations per custody", n)
	}
	if s.flow.State() != OnWire || s.count.Entered < 1000 {
		t.Errorf("in %v, entered %d times", s.flow.State(), s.count.Entered)
	}
}

// BenchmarkCustody measures a superpacket of ten segments through custody, with
// its ACK.
func BenchmarkCustody(b *testing.B) {
	s := newSteady(new(testing.T))
	b.SetBytes(stepBytes)
	b.ReportAllocs()
	for b.Loop() {
		s.step()
	}
}
