package tcpstack

import (
	"testing"
	"time"

	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// over gives a story over a leg whose link takes packets of link bytes, to a peer
// that announced an MSS to match, with a round trip measured and a window open.
func over(t *testing.T, link int, edit func(*Snapshot)) *story {
	cfg := config("reno")
	cfg.MTU = link
	cfg.InitialWindow = 40
	return tell(t, cfg, func(n *Snapshot) {
		n.MSS = link - 40
		n.SRTT, n.RTTVar, n.MinRTT = rtt, rtt/8, rtt
		n.SndWnd = 1 << 20
		if edit != nil {
			edit(n)
		}
	})
}

// path carries packets up to mtu bytes between the Conn and a peer that answers
// at once; what is longer vanishes. It gives the number of packets lost.
type path struct {
	*story
	mtu  int
	got  map[int]bool // by offset of the byte, every 4
	ack  int
	lost int
}

func (s *story) through(mtu int) *path { return &path{story: s, mtu: mtu, got: map[int]bool{}} }

// carry sends what there is, cut as the device cuts it, and has the peer answer
// each packet that arrives; it reports whether anything was sent.
func (w *path) carry() bool {
	var p Packet
	type piece struct{ at, end int }
	var arrived []piece
	some := false
	for {
		for w.c.Transmit(w.now, &p) {
			some = true
			size := p.Len
			if p.GSOSize > 0 {
				size = p.GSOSize
			}
			at := p.Seq.Sub(wire.SeqOf(ourISN))
			for n := p.Len; n > 0; n -= size {
				k := min(size, n)
				if k+40 > w.mtu {
					w.lost++
				} else {
					arrived = append(arrived, piece{at, at + k})
				}
				at += k
			}
		}
		if !w.c.blocked {
			break
		}
		w.now = w.c.pace.next
	}
	w.now = w.now.Add(rtt)
	for _, a := range arrived {
		for i := a.at; i < a.end; i += 4 {
			w.got[i&^3] = true
		}
		for w.got[w.ack&^3] {
			w.ack += 4
		}
		ack := min(w.ack, int(w.c.nxt))
		edit := []func(*Segment){window(200_000)}
		if a.at >= ack {
			edit = append(edit, sack(a.at, a.end))
		}
		w.peer(0, 0, ack, edit...)
	}
	return some
}

// write is story's, in pieces that a slab takes.
func (w *path) write(n int) {
	for ; n > 0; n -= 50_000 {
		w.story.write(min(n, 50_000))
	}
}

// run carries until everything written is acknowledged, and gives how long it took.
func (w *path) run() time.Duration {
	w.t.Helper()
	begin := w.now
	for w.c.una < w.out.end {
		if w.now.Sub(begin) > time.Minute {
			w.t.Fatalf("hangs at %d of %d, path MTU %d", w.c.una, w.out.end, w.c.pmtu.size)
		}
		if !w.carry() {
			w.advance(time.Hour)
		}
	}
	return w.now.Sub(begin)
}

// RFC 4821, 7.7: a path that swallows full segments without a word. The segments
// fall to what passes within three RTO, and the search finds the path's MTU.
func TestBlackHoleIsFound(t *testing.T) {
	for _, c := range []struct{ link, mtu, want int }{
		{1500, 1400, 1400}, {1500, 1280, 1280}, {1500, 1492, 1492}, {1500, 1300, 1280}, {1500, 576, 552}, {1500, 1006, 1006},
		{9000, 1500, 1500}, {9000, 1280, 1280}, {9000, 9000, 9000}, {9000, 4400, 4352}, {9000, 1499, 1492},
	} {
		t.Run(itoa(c.link)+" "+itoa(c.mtu), func(t *testing.T) {
			s := over(t, c.link, nil)
			w := s.through(c.mtu)
			w.write(600_000)
			begin, rto := w.now, s.c.RTO()
			for w.c.una == 0 {
				if !w.carry() {
					w.advance(time.Hour)
				}
			}
			if took := w.now.Sub(begin); took > 3*rto+2*rtt && c.mtu >= 1280 {
				t.Errorf("found after %v, three RTO are %v", took, 3*rto)
			}
			w.run()
			if got := s.c.PathMTU(); got != c.want {
				t.Errorf("path MTU %d, want %d", got, c.want)
			}
			// RFC 4821, 7.6.2: probes lost are no sign of congestion.
			if n := s.c.Stats().FastRecoveries; n > 1 {
				t.Errorf("%d fast recoveries", n)
			}
		})
	}
}

// RFC 8899, 5.1.1: ten minutes after a search a larger size is tried again.
func TestSearchAgain(t *testing.T) {
	s := over(t, 1500, nil)
	w := s.through(1400)
	w.write(300_000)
	w.run()
	lost := w.lost
	w.write(300_000)
	w.run()
	if w.lost != lost || s.c.PathMTU() != 1400 {
		t.Fatalf("%d probes lost before the time, path MTU %d", w.lost-lost, s.c.PathMTU())
	}
	w.mtu = 1500
	w.wait(pathRaise)
	w.write(300_000)
	w.run()
	if s.c.PathMTU() != 1500 || w.lost != lost {
		t.Errorf("path MTU %d after ten minutes, %d lost", s.c.PathMTU(), w.lost-lost)
	}
}

// What a Conn has found is where the next one begins, its next search included.
func TestPathMTUIsRemembered(t *testing.T) {
	s := over(t, 1500, nil)
	w := s.through(1400)
	w.write(300_000)
	w.run()
	var snap Snapshot
	s.c.Snapshot(&snap)
	if snap.PathMTU != 1400 || snap.PathMTURaise.Sub(s.now) > pathRaise || snap.PathMTURaise.Sub(s.now) < pathRaise-time.Minute {
		t.Fatalf("remembered %d, search in %v", snap.PathMTU, snap.PathMTURaise.Sub(s.now))
	}
	s = over(t, 1500, func(n *Snapshot) { n.PathMTU, n.PathMTURaise = snap.PathMTU, snap.PathMTURaise })
	w = s.through(1400)
	w.write(100_000)
	w.run()
	if w.lost != 0 || s.c.PathMTU() != 1400 {
		t.Errorf("%d lost, path MTU %d", w.lost, s.c.PathMTU())
	}
	// A leg that takes less now.
	s = over(t, 1300, func(n *Snapshot) { n.PathMTU = snap.PathMTU })
	if s.c.PathMTU() != 1300 {
		t.Errorf("path MTU %d over a link of 1300", s.c.PathMTU())
	}
	s.flush()
}

// An outage looks like a black hole; the first probe takes it back.
func TestOutageIsNoBlackHole(t *testing.T) {
	s := over(t, 1500, nil)
	w := s.through(1500)
	w.write(50_000)
	w.run()
	w.mtu = 0
	w.write(300_000)
	for s.c.Stats().Timeouts < 2 {
		if !w.carry() {
			w.advance(time.Hour)
		}
	}
	if s.c.PathMTU() != 1280 {
		t.Fatalf("path MTU %d in an outage", s.c.PathMTU())
	}
	w.mtu = 1500
	w.run()
	if s.c.PathMTU() != 1500 {
		t.Errorf("path MTU %d after it", s.c.PathMTU())
	}
}

// One segment that is lost three times is no black hole while full segments
// from behind it arrive.
func TestLossIsNoBlackHole(t *testing.T) {
	s := over(t, 1500, nil)
	s.write(14600)
	s.sendAll()
	s.wait(rtt)
	s.peer(0, 0, 0, sack(1460, 14600), window(200_000))
	s.want("0:1460 ack 0")
	s.advance(time.Hour)
	s.want("0:1460 ack 0")
	if s.c.Stats().Timeouts != 1 || s.c.PathMTU() != 1500 {
		t.Errorf("path MTU %d after %d timeouts", s.c.PathMTU(), s.c.Stats().Timeouts)
	}
	s.peer(0, 0, 14600)
}

// RFC 1191, 6.3 and RFC 5927, 7.2: what was too big goes again at once in smaller
// segments, and the congestion window stays.
func TestPacketTooBig(t *testing.T) {
	s := over(t, 1500, nil)
	s.write(14600)
	s.sendAll()
	before, _, _ := s.c.Congestion()
	seq := func(off int) wire.Seq { return wire.SeqOf(ourISN).Add(off) }
	for _, off := range []int{-1, -1460, 14600, 20000, 1 << 30} {
		if s.c.PacketTooBig(s.now, seq(off), 1400) {
			t.Errorf("taken at %d, which is not in flight", off)
		}
	}
	if !s.c.PacketTooBig(s.now, seq(1460), 1500) || s.c.MSS() != 1460 {
		t.Errorf("1500 is not too big; MSS %d", s.c.MSS())
	}
	s.quiet()
	if !s.c.PacketTooBig(s.now, seq(0), 1400) || s.c.MSS() != 1360 {
		t.Fatalf("not heeded; MSS %d", s.c.MSS())
	}
	if n := s.sendAll(); n != 14600 {
		t.Errorf("%d bytes go again, want 14600", n)
	}
	if after, _, _ := s.c.Congestion(); after != before {
		t.Errorf("the congestion window went from %d to %d", before, after)
	}
	if st := s.c.Stats(); st.FastRecoveries != 0 || st.Timeouts != 0 {
		t.Errorf("%+v", *st)
	}
	s.wait(rtt)
	s.peer(0, 0, 14600)
	// RFC 1191, 6.3: no probe before ten minutes.
	w := s.through(1400)
	w.ack = 14600
	w.write(200_000)
	w.run()
	if w.lost != 0 || s.c.PathMTU() != 1400 {
		t.Errorf("%d lost, path MTU %d", w.lost, s.c.PathMTU())
	}
}

// RFC 1191, 7.1: a router that does not say gets the next plateau; RFC 8200, 5 and
// Linux's min_pmtu: nobody gets less than the floor.
func TestPacketTooBigFloors(t *testing.T) {
	v6 := func(n *Snapshot) { n.Tuple.Src, n.MSS = wire.Addr{0x20, 1}, 1440 }
	for _, c := range []struct {
		name  string
		edit  func(*Snapshot)
		says  int
		wants int
	}{
		{"old router", nil, 0, 1492},
		{"below the floor", nil, 68, 552},
		{"nonsense", nil, 1, 552},
		{"IPv6", v6, 1400, 1400},
		{"IPv6 below the floor", v6, 1000, 1280},
		{"IPv6 nonsense", v6, 0, 1492},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := over(t, 1500, c.edit)
			s.write(14600)
			s.sendAll()
			s.c.PacketTooBig(s.now, s.c.SndUna(), c.says)
			if s.c.PathMTU() != c.wants {
				t.Errorf("path MTU %d, want %d", s.c.PathMTU(), c.wants)
			}
			s.sendAll()
			s.peer(0, 0, int(s.c.nxt))
		})
	}
}

// RFC 5927, 7: somebody who hits a number in flight, often, with an MTU a little
// less each time, makes the Conn send no more than a few times what it has.
func TestPacketTooBigStorm(t *testing.T) {
	s := over(t, 1500, nil)
	s.write(14600)
	sent := s.sendAll()
	for mtu := 1499; mtu > 500; mtu-- {
		s.c.PacketTooBig(s.now, s.c.SndUna(), mtu)
		sent += s.sendAll()
	}
	if most := 14600 * (1 + tooBigRound); sent > most {
		t.Errorf("%d bytes sent, want at most %d", sent, most)
	}
	s.peer(0, 0, 14600)
	s.write(14600)
	s.sendAll()
	s.c.PacketTooBig(s.now, s.c.SndUna(), 600)
	s.advance(time.Second)
	if s.c.PathMTU() != 600 {
		t.Error("an honest router is not heard afterwards")
	}
	s.sendAll()
	s.peer(0, 0, 29200)
}

// RFC 5927, 7.2: a message about a size that has arrived before is believed when
// what it is about stays missing.
func TestPacketTooBigInDoubt(t *testing.T) {
	for _, c := range []struct {
		name    string
		arrives bool
		want    int
	}{{"forged", true, 1500}, {"the path has changed", false, 1400}} {
		t.Run(c.name, func(t *testing.T) {
			s := over(t, 1500, nil)
			s.write(14600)
			s.sendAll()
			s.wait(rtt)
			s.peer(0, 0, 14600)
			s.write(14600)
			s.sendAll()
			s.c.PacketTooBig(s.now, s.c.seq(14600), 1400)
			s.quiet()
			if c.arrives {
				s.wait(rtt)
				s.peer(0, 0, 29200)
			}
			sent := s.now
			s.advance(time.Second)
			s.sendAll()
			if s.c.PathMTU() != c.want || s.c.Stats().Timeouts != 0 || s.now.Sub(sent) > 2*rtt && !c.arrives {
				t.Errorf("path MTU %d after %v, want %d; %d timeouts", s.c.PathMTU(), s.now.Sub(sent), c.want, s.c.Stats().Timeouts)
			}
			s.peer(0, 0, 29200)
		})
	}
}

// The message comes while a tail loss probe is out, or about the FIN.
func TestPacketTooBigInTheTail(t *testing.T) {
	s := over(t, 1500, nil)
	s.write(2920)
	s.out.Close()
	s.want("F 0:2920 ack 0")
	s.advance(time.Hour) // the probe
	s.want("F 1461:2920 ack 0")
	s.c.PacketTooBig(s.now, s.c.SndUna(), 1400)
	n := s.sendAll()
	if n != 2920 {
		t.Errorf("%d bytes go again", n)
	}
	s.wait(rtt)
	s.peer(0, 0, 1400)
	s.peer(0, 0, 2921)
	if !s.c.FINAcked() {
		t.Error("the FIN is not acknowledged")
	}
	if s.c.Stats().FastRecoveries != 0 {
		t.Error("the tail's loss counted as congestion")
	}
}

// A probe that a router answers names the size to take.
func TestPacketTooBigForAProbe(t *testing.T) {
	s := over(t, 9000, func(n *Snapshot) { n.PathMTU = 1280 })
	w := s.through(1470)
	w.write(200_000)
	s.flush()
	m := &s.c.pmtu
	if m.probed != 9000 {
		t.Fatalf("probes %d", m.probed)
	}
	if !s.c.PacketTooBig(s.now, s.c.seq(m.off), 1470) || m.size != 1280 {
		t.Fatalf("size %d", m.size)
	}
	// The bytes before are on their way already.
	for i := 0; i < int(m.off); i += 4 {
		w.got[i] = true
	}
	w.run()
	if m.size != 1470 {
		t.Errorf("path MTU %d, want 1470", m.size)
	}
}

// RFC 4821, 7.4: a probe is sent when nothing else is wrong. While the timer is backed
// off its loss, where too little follows to show it, would cost a timeout twice as
// long as the last, and so on.
func TestNoPathProbeInBackoff(t *testing.T) {
	s := over(t, 1500, func(n *Snapshot) {
		n.SACK, n.PathMTU, n.PathMTURaise = false, 552, mono.Time(time.Second+rtt)
	})
	s.write(20480)
	for s.flush(); s.c.Deadline() < s.c.retx.at; s.flush() {
		s.advance(time.Second)
	}
	s.next("0:512 ack 0")
	for s.c.una < 20480 { // everything goes again, so no ACK gives a round trip
		s.wait(rtt)
		s.peer(0, 0, int(s.c.una)+min(20480-int(s.c.una), max(512, s.c.rec.out)), window(200_000))
		s.flush()
	}
	s.write(40_000)
	if s.flush(); s.c.pmtu.probed != 0 {
		t.Errorf("a probe of %d bytes is sent with the timer backed off", s.c.pmtu.probed)
	}
	s.wait(rtt)
	s.peer(0, 0, int(s.c.nxt), window(200_000))
	if s.flush(); s.c.pmtu.probed != 1500 {
		t.Errorf("a probe of %d bytes is sent, want 1500", s.c.pmtu.probed)
	}
}

// RFC 4821, 7.7: what waited behind a hole without SACK came before the path grew
// narrow. Its ACK, when the hole is filled, does not say that large segments pass.
func TestWaitingIsNoProofOfSize(t *testing.T) {
	s := over(t, 1500, func(n *Snapshot) { n.SACK = false })
	s.write(10 * 1460)
	for s.flush(); s.c.PathMTU() > 552; s.flush() {
		s.advance(time.Hour)
	}
	for ack := 512; ack < 1460; ack += 512 {
		s.wait(rtt)
		s.peer(0, 0, ack, window(200_000))
		s.flush()
	}
	s.peer(0, 0, 10*1460, window(200_000))
	if got := s.c.PathMTU(); got != 552 {
		t.Errorf("path MTU %d, want 552", got)
	}
}
