package tcpstack

import "testing"

// CVE-2019-11478: SACK blocks of single bytes do not cut what is in flight into
// records of single bytes.
func TestSACKOfCrumbs(t *testing.T) {
	s := established(t, nil, func(n *Snapshot) { n.CC.Window = 60_000 })
	s.write(60_000)
	s.sendAll()
	for i := 1; i < 60_000; i += 8 {
		s.peer(0, 0, 0, sack(i, i+1, i+2, i+3, i+4, i+5))
	}
	if s.c.sent.n > 60 {
		t.Errorf("%d records for 60 segments", s.c.sent.n)
	}
	s.peer(0, 0, 0, sack(1500, 4500))
	if got := s.c.sackedBytes(); got != 2000 {
		t.Errorf("%d bytes count as SACKed, want the two whole segments", got)
	}
	s.peer(0, 0, 60_000)
}
