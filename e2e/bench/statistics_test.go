package main

import (
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		of   []float64
		want float64
	}{{nil, 0}, {[]float64{7}, 7}, {[]float64{9, 1, 4}, 4}, {[]float64{4, 1, 9, 2}, 3}} {
		if got := median(c.of); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.of, got, c.want)
		}
	}
}

func TestPercentile(t *testing.T) {
	var times []time.Duration
	for i := range 200 {
		times = append(times, time.Duration(200-i)*time.Microsecond)
	}
	for p, want := range map[int]float64{0: 1, 50: 101, 99: 199, 100: 200} {
		if got := percentile(times, p); got != want {
			t.Errorf("percentile %d is %v, want %v", p, got, want)
		}
	}
}

// Ratios are those of the same round, not of the medians.
func TestCompare(t *testing.T) {
	m := &measure{key: "m", metrics: []metric{{key: "x"}, {key: "y"}}}
	r := &results{Machine: machine{Cores: 2}}
	for i, v := range []float64{10, 20, 40} {
		r.add(m, baseline, &trial{values: map[string]float64{"x": v}})
		r.add(m, "other", &trial{values: map[string]float64{"x": []float64{5, 20, 4}[i], "y": v}})
	}
	r.compare()
	if got := r.find("m.x").Cells["other"]; got.Median != 5 || got.Min != 4 || got.Max != 20 || got.Ratio != 0.5 {
		t.Errorf("got %+v, want median 5, min 4, max 20, ratio 0.5", got)
	}
	if got := r.find("m.y").Cells["other"]; got.Ratio != 0 {
		t.Errorf("a ratio of %v to what the baseline has not", got.Ratio)
	}
}
