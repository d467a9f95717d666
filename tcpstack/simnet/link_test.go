package simnet

import (
	"testing"
	"time"

	"accd/tcpstack/wire"
)

// arrival is a packet that came out of a link, and when.
type arrival struct {
	at   time.Duration
	from int // in sequence space
	n    int
}

// through sends packets of n bytes, gso bytes per segment, over a link at once.
func through(imp Impairments, count, n, gso int) (got []arrival, l *Link) {
	s := New(1)
	l = NewLink(s, imp, func(p *Packet) {
		got = append(got, arrival{s.Since(), p.Seq.Sub(wire.SeqOf(0)), len(p.Data)})
	})
	for i := range count {
		l.Send(&Packet{Seq: wire.SeqOf(uint32(i * n)), Flags: wire.ACK, Data: make([]byte, n), GSOSize: gso})
	}
	if err := s.Run(time.Hour, nil); err != nil {
		panic(err)
	}
	return got, l
}

// A segment takes its bytes over the rate, Ethernet header included, and then
// the delay.
func TestLinkRate(t *testing.T) {
	got, _ := through(Impairments{Rate: 1e6, Delay: 10 * time.Millisecond}, 2, 946, 0)
	want := []arrival{{11 * time.Millisecond, 0, 946}, {12 * time.Millisecond, 946, 946}}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Of a superpacket only the segments that find no room in the queue are lost.
func TestLinkQueue(t *testing.T) {
	got, l := through(Impairments{Rate: 1e6, Queue: 3000}, 1, 9460, 946)
	if l.Drops.Queue != 7 || len(got) != 3 {
		t.Errorf("%d segments arrived and %d were dropped, want 3 and 7", len(got), l.Drops.Queue)
	}
}

// Loss counts segments: a superpacket is split where one is lost, and what
// survives arrives in pieces that are superpackets again.
func TestLinkLoss(t *testing.T) {
	const packets, segments = 200, 40
	got, l := through(Impairments{Loss: 0.01, GRO: true}, packets, segments*1000, 1000)
	if n := l.Drops.Random; n < 50 || n > 110 {
		t.Errorf("%d of %d segments were lost at 1 %%", n, packets*segments)
	}
	bytes := 0
	for _, a := range got {
		bytes += a.n
	}
	if want := (packets*segments - l.Drops.Random) * 1000; bytes != want {
		t.Errorf("%d bytes arrived, want %d", bytes, want)
	}
	if len(got) > packets+l.Drops.Random {
		t.Errorf("%d pieces of %d superpackets with %d losses", len(got), packets, l.Drops.Random)
	}
}

// A burst takes several segments in a row.
func TestLinkBursts(t *testing.T) {
	_, l := through(Impairments{Burst: 0.001, BurstLen: 10}, 20000, 100, 0)
	if n := l.Drops.Random; n < 100 || n > 400 {
		t.Errorf("%d of 20000 segments were lost; about 200 are expected", n)
	}
}

func TestLinkReordersAndDuplicates(t *testing.T) {
	got, _ := through(Impairments{Delay: time.Millisecond, Reorder: 0.1, ReorderBy: time.Millisecond, Duplicate: 0.1}, 1000, 100, 0)
	back := 0
	for i := 1; i < len(got); i++ {
		if got[i].from < got[i-1].from {
			back++
		}
	}
	if len(got) < 1050 || len(got) > 1150 || back < 50 {
		t.Errorf("%d packets arrived of 1000, %d out of order", len(got), back)
	}
}

// A packet over the MTU is dropped, and its sender learns of it.
func TestLinkMTU(t *testing.T) {
	s := New(1)
	l := NewLink(s, Impairments{MTU: 1000, Delay: time.Second}, func(p *Packet) { t.Errorf("%d bytes arrived", len(p.Data)) })
	told := 0
	l.TooBig = func(_ *Packet, mtu int) { told = mtu }
	l.Send(&Packet{Flags: wire.ACK, Data: make([]byte, 961)})
	if err := s.Run(time.Minute, nil); err != nil || told != 1000 || l.Drops.TooBig != 1 {
		t.Errorf("told %d, %+v, %v", told, l.Drops, err)
	}
}

// The MTU changes in mid-flow, and routers may not be heard.
func TestLinkReroute(t *testing.T) {
	s := New(1)
	got := 0
	l := NewLink(s, Impairments{MTU: 1500, Silence: 1, Reroutes: []Reroute{{Start.Add(time.Second), 1000}, {Start.Add(2 * time.Second), 0}}},
		func(*Packet) { got++ })
	l.TooBig = func(*Packet, int) { t.Error("a silent router is heard") }
	for i, want := range []int{1, 1, 2} {
		s.After(time.Duration(i)*time.Second, func() {
			l.Send(&Packet{Flags: wire.ACK, Data: make([]byte, 1400)})
		})
		s.After(time.Duration(i)*time.Second+time.Millisecond, func() {
			if got != want {
				t.Errorf("%d packets have arrived after %d s, want %d", got, i, want)
			}
		})
	}
	if err := s.Run(time.Minute, nil); err != nil {
		t.Error(err)
	}
}

// The same seed makes the same network, packet by packet.
func TestSeedDecides(t *testing.T) {
	run := func() (int, time.Duration, BoxCount) {
		s := New(7)
		n := NewNetwork(s, Random(7))
		if err := n.Run(); err != nil {
			t.Fatal(err)
		}
		return s.Events(), s.Since(), n.Box.Count
	}
	e1, d1, c1 := run()
	e2, d2, c2 := run()
	if e1 != e2 || d1 != d2 || c1 != c2 {
		t.Errorf("%d events in %v %+v, then %d in %v %+v", e1, d1, c1, e2, d2, c2)
	}
}

// ECN on a link: marks of ECN-capable segments only, one by one or above a queue,
// and what bleaches or drops them. A superpacket whose segments differ arrives in
// pieces.
func TestLinkMarks(t *testing.T) {
	send := func(imp Impairments, e wire.ECN) (marked, others int, l *Link) {
		s := New(1)
		l = NewLink(s, imp, func(p *Packet) {
			if n := max(1, (len(p.Data)+999)/1000); p.ECN == wire.CE {
				marked += n
			} else {
				others += n
			}
		})
		for range 20 {
			l.Send(&Packet{Data: make([]byte, 10_000), GSOSize: 1000, ECN: e})
		}
		if err := s.Run(time.Hour, nil); err != nil {
			t.Fatal(err)
		}
		return marked, others, l
	}
	for _, tt := range []struct {
		name           string
		imp            Impairments
		ecn            wire.ECN
		marked, others int // of 200; -1: some
	}{
		{"nothing", Impairments{GRO: true}, wire.ECT0, 0, 200},
		{"all", Impairments{GRO: true, Mark: 1}, wire.ECT0, 200, 0},
		{"all but Not-ECT", Impairments{GRO: true, Mark: 1}, wire.NotECT, 0, 200},
		{"some", Impairments{GRO: true, Mark: 0.3}, wire.ECT1, -1, -1},
		{"above a queue", Impairments{Rate: 1e6, MarkAt: 100_000}, wire.ECT0, -1, -1},
		{"above a queue, Not-ECT", Impairments{Rate: 1e6, MarkAt: 100_000}, wire.NotECT, 0, 200},
		{"bleached", Impairments{Mark: 1, Bleach: true}, wire.ECT0, 0, 200},
		{"dropped", Impairments{DropECT: true}, wire.ECT0, 0, 0},
		{"not dropped", Impairments{DropECT: true}, wire.NotECT, 0, 200},
	} {
		marked, others, l := send(tt.imp, tt.ecn)
		if tt.marked < 0 {
			if marked == 0 || others == 0 || marked+others != 200 || l.Marked != marked {
				t.Errorf("%s: %d marked, %d not, %d counted", tt.name, marked, others, l.Marked)
			}
		} else if marked != tt.marked || others != tt.others {
			t.Errorf("%s: %d marked, %d not; want %d and %d", tt.name, marked, others, tt.marked, tt.others)
		}
	}
}
