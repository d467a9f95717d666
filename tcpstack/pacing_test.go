package tcpstack

import (
	"testing"
	"time"
)

// bursts sends all it may for d and gives the largest number of bytes that leave
// within any millisecond, and how many leave.
func (s *story) bursts(d time.Duration) (largest, all int) {
	type departure struct {
		at time.Duration
		n  int
	}
	var sent []departure
	var p Packet
	start, end := s.now, s.now.Add(d)
	for {
		for s.c.Transmit(s.now, &p) {
			sent = append(sent, departure{s.now.Sub(start), p.Len})
			all += p.Len
		}
		if at := s.c.Deadline(); !s.c.blocked || at >= end {
			break
		} else {
			s.now = at
		}
	}
	s.now = end
	for i := range sent {
		n := 0
		for j := i; j < len(sent) && sent[j].at < sent[i].at+time.Millisecond; j++ {
			n += sent[j].n
		}
		largest = max(largest, n)
	}
	return largest, all
}

// RFC 6937-era burst control, here by pacing: one ACK of a megabyte releases a
// megabyte over a round trip, not at once. Where Linux paces at 1.2 times the window
// a round trip, no millisecond carries more than that and one packet.
func TestStretchACKIsPaced(t *testing.T) {
	const window = 1 << 20
	s := established(t, nil, func(n *Snapshot) {
		n.CC.Window, n.CC.Ssthresh = window, window/2
		n.SndScale, n.SndWnd = 8, 4<<20
	})
	s.write(4 << 20)
	s.bursts(2 * rtt)
	at := s.c.SndNxt().Sub(s.c.sndSeq0)
	s.peer(0, 0, at, wideWindow)
	largest, all := s.bursts(rtt)
	perMilli := window * 12 / 10 / 100
	if largest > 2*perMilli+s.c.burst() {
		t.Errorf("%d bytes within a millisecond, the rate is %d", largest, perMilli)
	}
	if all < window*8/10 {
		t.Errorf("only %d bytes in a round trip", all)
	}
	for s.c.out.Len() > 0 {
		s.wait(rtt)
		s.peer(0, 0, s.c.SndNxt().Sub(s.c.sndSeq0), wideWindow)
		s.sendAll()
	}
}

// RFC 5681, 4.1 wants a restart window after an idle time of an RTO, against a burst
// at line rate; RFC 7661, 4.4 keeps the window, up to five minutes, and wants what it
// lets out to be paced. So it is here.
func TestRestartAfterIdleIsPaced(t *testing.T) {
	const full = 200_000
	s := established(t, nil, func(n *Snapshot) {
		n.CC.Window, n.CC.Ssthresh = full, full/2
		n.SndScale, n.SndWnd = 8, 4<<20
	})
	at := 0
	for _, idle := range []struct {
		d         time.Duration
		least, up int
	}{{time.Second, full, full + 5000}, {time.Minute, full, full + 10_000}, {6 * time.Minute, full / 2, full * 3 / 4}, {time.Hour, 10_000, 11_000}} {
		s.write(1000)
		s.sendAll()
		s.wait(rtt)
		at += 1000
		s.peer(0, 0, at, wideWindow)
		s.wait(idle.d)
		s.write(400_000)
		largest, sent := s.bursts(rtt)
		if sent < idle.least || sent > idle.up {
			t.Errorf("%v idle: %d bytes in the first round trip, want %d to %d", idle.d, sent, idle.least, idle.up)
		}
		if rate := sent * 2 / 100; sent > 20_000 && largest > 2*rate+s.c.burst() {
			t.Errorf("%v idle: %d bytes within a millisecond, a paced window is %d", idle.d, largest, rate)
		}
		for at += 400_000; s.c.out.Len() > 0; {
			s.peer(0, 0, s.c.SndNxt().Sub(s.c.sndSeq0), wideWindow)
			s.sendAll()
			s.wait(rtt)
		}
		s.c.newController(s.now, 0) // as at the beginning
	}
}

// RFC 7661, 4.3: a window that is not used does not grow, however many ACKs come.
func TestNoGrowthWhenApplicationLimited(t *testing.T) {
	s := established(t, nil, func(n *Snapshot) { n.CC.Window, n.CC.Ssthresh = 50_000, 25_000; n.SndScale, n.SndWnd = 8, 4<<20 })
	before, _, _ := s.c.Congestion()
	for i := range 100 {
		s.write(2000)
		s.sendAll()
		s.wait(rtt)
		s.peer(0, 0, 2000*(i+1), wideWindow)
	}
	if w, _, _ := s.c.Congestion(); w != before {
		t.Errorf("the window was %d, is %d, and never held more than 2000 bytes back", before, w)
	}
}

// Linux, tcp_tso_autosize: a packet carries a millisecond of the rate, two segments
// at least, and more where the round trip is so short that there is little to pace.
func TestSuperpacketSizes(t *testing.T) {
	for _, c := range []struct {
		rtt         time.Duration
		rate        int64
		least, most int
	}{
		{100 * time.Millisecond, 100_000, 2000, 2000},
		{100 * time.Millisecond, 10_000_000, 9000, 10_000},
		{100 * time.Millisecond, 1_000_000_000, 60_000, maxPayload},
		{100 * time.Microsecond, 1_000_000, 60_000, maxPayload},
		{time.Millisecond, 1_000_000, 15_000, 40_000},
	} {
		cfg := config("reno")
		cfg.MaxRate = c.rate
		s := established(t, cfg, func(n *Snapshot) {
			n.SRTT, n.MinRTT = c.rtt, c.rtt
			n.CC.Window = 8 << 20
			n.SndScale, n.SndWnd = 8, 16<<20
		})
		s.write(200_000)
		var p Packet
		s.c.Transmit(s.now, &p)
		if p.Len < c.least || p.Len > c.most {
			t.Errorf("rtt %v, %d bytes a second: a packet of %d, want %d to %d", c.rtt, c.rate, p.Len, c.least, c.most)
		}
		s.sendAll()
		s.peer(0, 0, 200_000, wideWindow)
	}
}

// gVisor #6113: a round trip of microseconds stops nothing: the estimates stay above
// zero, the timers wait for the clock they have, and the flow is as fast as its
// window.
func TestTinyRoundTrip(t *testing.T) {
	for _, algorithm := range []string{"reno", "cubic", "bbr"} {
		cfg := config(algorithm)
		p := newPair([2]*Config{cfg, cfg}, nil)
		p.delay, p.rate = 2*time.Microsecond, 1.25e9
		const n = 64 << 20
		d := p.transfer(t, n)
		if got := n / d.Seconds(); got < 0.5*1.25e9 || p.conn[0].Stats().Timeouts > 0 {
			t.Errorf("%s: %.0f MB/s of 1250, %+v", algorithm, got/1e6, *p.conn[0].Stats())
		}
	}
}

// RFC 5681, 3.1: the loss window is one segment. A controller that has seen nothing
// but one byte in a round trip paces a segment per RTO all the same, not one in a
// quarter of an hour.
func TestSlowestPace(t *testing.T) {
	s := established(t, config("bbr"), func(n *Snapshot) {
		n.SRTT, n.MinRTT = rtt, rtt
		n.CC.Window, n.CC.Ssthresh, n.CC.Bandwidth, n.CC.MinRTT = 4000, 4000, 2, rtt
	})
	s.write(3000)
	s.want("0:2000 ack 0")
	s.wait(2 * s.c.rtt.base())
	s.want("2000:3000 ack 0")
	s.peer(0, 0, 3000)
}
