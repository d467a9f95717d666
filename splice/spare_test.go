package splice

import (
	"testing"

	"accd/tcpstack"
)

// What was not needed between two trims is given up by halves; what was needed stays.
func TestSpareIsGivenUp(t *testing.T) {
	var s spare[custody]
	var out []*custody
	for range 100 {
		out = append(out, s.take())
	}
	for _, c := range out {
		s.put(c)
	}
	if s.trim(); len(s.list) != 100 {
		t.Fatalf("%d are left of what has just been needed", len(s.list))
	}
	for range 20 {
		// Ten are in use again and again.
		for i := range 10 {
			out[i] = s.take()
		}
		for i := range 10 {
			s.put(out[i])
		}
		s.trim()
	}
	if n := len(s.list); n != 10 || s.made != 10 {
		t.Errorf("%d of %d are left where ten are needed", n, s.made)
	}
}

// The tables of few custodies stay for the next burst, those of a crowd do not, and those of
// what is left when it has gone do again.
func TestKeptRecords(t *testing.T) {
	var e Env
	var out []*custody
	use := func(n int) {
		for len(out) < n {
			out = append(out, e.free.take())
		}
		for _, c := range out[n:] {
			e.free.put(c)
		}
		out = out[:n]
	}
	for _, c := range []struct{ used, want int }{
		{fewCustodies, burstRecords}, {fewCustodies + 1, tcpstack.KeptRecords}, {1, tcpstack.KeptRecords},
	} {
		if use(c.used); e.keptRecords() != c.want {
			t.Errorf("%d records are kept with %d custodies in use, want %d", e.keptRecords(), c.used, c.want)
		}
	}
	for range 20 {
		e.Trim()
	}
	if e.keptRecords() != burstRecords {
		t.Errorf("%d records are kept after the crowd has gone", e.keptRecords())
	}
}
