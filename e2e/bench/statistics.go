package main

import (
	"slices"
	"time"
)

// median gives the middle value, or the mean of the two in the middle; 0 of none.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// percentile gives the time that p of a hundred do not exceed, in µs. It sorts
// the times.
func percentile(times []time.Duration, p int) float64 {
	slices.Sort(times)
	i := min(len(times)-1, len(times)*p/100)
	return float64(times[i].Nanoseconds()) / 1e3
}
