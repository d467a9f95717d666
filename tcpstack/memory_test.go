package tcpstack

import (
	"testing"
	"unsafe"
)

// tcp.md 1.8: an idle connection that has seen bursts keeps less than 4 KiB beside
// itself.
func TestIdleConnReturnsMemory(t *testing.T) {
	s := established(t, nil, func(n *Snapshot) { n.CC.Window = 1 << 20; n.SndScale, n.SndWnd = 8, 4<<20 })
	for range 3 {
		s.write(1 << 20)
		sent := s.sendAll()
		s.wait(rtt)
		base := s.c.SndUna()
		for at := 0; at < sent; at += 2000 { // every second segment is lost
			left := base.Add(at).Sub(s.c.sndSeq0)
			s.peer(0, 0, s.c.SndUna().Sub(s.c.sndSeq0), wideWindow, sack(left+1000, left+2000))
		}
		s.sendAll()
		s.wait(rtt)
		s.peer(0, 0, s.c.SndNxt().Sub(s.c.sndSeq0), wideWindow)
		for s.sendAll() > 0 {
			s.wait(rtt)
			s.peer(0, 0, s.c.SndNxt().Sub(s.c.sndSeq0), wideWindow)
		}
	}
	for i := range 500 {
		s.peer(1+2*i, 1, s.c.SndNxt().Sub(s.c.sndSeq0), wideWindow)
	}
	s.peer(0, 1000, s.c.SndNxt().Sub(s.c.sndSeq0), wideWindow)
	s.flush()
	s.in.Discard(s.in.End())
	kept := func() int {
		c := s.c
		return cap(c.sent.records)*int(unsafe.Sizeof(sent{})) + cap(c.sent.room)*4 +
			cap(c.reasm.pieces)*int(unsafe.Sizeof(piece{})) + cap(c.reasm.ranges)*int(unsafe.Sizeof(chunk{})) +
			(cap(s.in.refs)+cap(s.out.refs))*int(unsafe.Sizeof(span{}))
	}
	before := kept()
	if !s.c.Idle() {
		t.Fatal("the Conn is not idle")
	}
	s.c.Trim(KeptRecords)
	s.in.Trim(KeptRecords)
	s.out.Trim(KeptRecords)
	if n := kept(); n > 4<<10 || before < 64<<10 {
		t.Errorf("%d bytes are kept, and before %d", n, before)
	}
	s.write(5000) // it works on
	s.sendAll()
	s.wait(rtt)
	s.peer(1000, 0, s.c.SndNxt().Sub(s.c.sndSeq0), wideWindow)
}
