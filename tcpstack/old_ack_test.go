package tcpstack

import "testing"

// RFC 9293, 3.10.7.4: an ACK below SND.UNA is old news, also where the stream
// has just begun: it is not taken for one beyond SND.NXT, and neither its window
// nor its number counts.
func TestOldAckAtTheBeginning(t *testing.T) {
	cfg := config("reno")
	cfg.Relay = true
	s := established(t, cfg, nil)
	s.write(4000)
	s.sendAll()
	edge := s.c.SndEdge()
	for range 5 {
		s.wait(rtt)
		s.peer(0, 0, -500, window(200_000))
		s.quiet()
	}
	if n, ok := s.c.Ahead(); ok || s.c.SndEdge() != edge || s.c.SndUna() != s.c.seq(0) {
		t.Errorf("an old ACK moved SND.UNA to %v, the edge from %v to %v, ahead %v %v", s.c.SndUna(), edge, s.c.SndEdge(), n, ok)
	}
	if s.c.PacketTooBig(s.now, s.c.seq(0).Add(-1), 1000) {
		t.Error("a packet sent before custody counts as in flight")
	}
	s.peer(0, 0, 4000)
}
