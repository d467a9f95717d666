package cc

import (
	"math/rand/v2"
	"testing"
)

// The filter never forgets a maximum of its window, and never keeps one that is
// older than two windows.
func TestMaxFilter(t *testing.T) {
	t.Logf("seed %d", *seedFlag)
	rng := rand.New(rand.NewPCG(*seedFlag, 3))
	for range 200 {
		var f maxFilter
		var at int64
		type sample struct{ at, value int64 }
		var all []sample
		for range 200 {
			at += rng.Int64N(3)
			v := rng.Int64N(1000)
			all = append(all, sample{at, v})
			got := f.update(at, v, 10)
			var largest int64
			found := false
			for _, s := range all {
				if s.at >= at-10 {
					largest = max(largest, s.value)
					found = found || s.value == got
				}
			}
			if !found || got > largest {
				t.Fatalf("at %d: %d is no value of the last ten ticks (the largest is %d)", at, got, largest)
			}
			if got != f.max() {
				t.Fatalf("max %d, want %d", f.max(), got)
			}
		}
	}
}

// A step down is noticed when the window has passed, a step up at once.
func TestMaxFilterSteps(t *testing.T) {
	var f maxFilter
	for at := range int64(30) {
		value, want := int64(100), int64(100)
		if at >= 10 {
			value = 50
		}
		if at > 9+10 {
			want = 50
		}
		if at == 29 {
			value, want = 200, 200
		}
		if got := f.update(at, value, 10); got != want {
			t.Errorf("at %d: %d, want %d", at, got, want)
		}
	}
}

func TestCycleFilter(t *testing.T) {
	var f cycleFilter
	f.update(7)
	f.update(5)
	f.advance()
	if f.update(3); f.max() != 7 {
		t.Errorf("max %d, want 7 of the cycle before", f.max())
	}
	if f.advance(); f.max() != 3 {
		t.Errorf("max %d, want 3", f.max())
	}
}
