package splice

import "testing"

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
	if n := len(s.list); n != 10 {
		t.Errorf("%d are left where ten are needed", n)
	}
}
