package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// count writes a number with its thousands apart.
func count[T ~int | ~int64 | ~uint64](n T) string {
	s := strconv.FormatUint(uint64(n), 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return s
}

// size writes bytes in powers of 1024.
func size[T ~int | ~int64 | ~uint64](bytes T) string {
	return scale(float64(bytes), 1024, " B", " KiB", " MiB", " GiB", " TiB")
}

// rate writes bytes per second as bits per second.
func rate(bytesPerSecond float64) string {
	return scale(bytesPerSecond*8, 1000, " bit/s", " kbit/s", " Mbit/s", " Gbit/s", " Tbit/s")
}

// scale writes v with the unit that leaves one to three digits before the point.
func scale(v, base float64, units ...string) string {
	i := 0
	for ; v >= base-0.5 && i < len(units)-1; i++ {
		v /= base
	}
	digits := 0
	if i > 0 && v < 10 {
		digits = 1
	}
	return strconv.FormatFloat(v, 'f', digits, 64) + units[i]
}

// ago writes a duration with its two largest parts.
func ago(d time.Duration) string {
	s := int64(d / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 24*3600:
		return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
	}
	return fmt.Sprintf("%dd%02dh", s/86400, s/3600%24)
}

// reasons writes counts by reason, the largest first.
func reasons(n map[string]uint64) string {
	keys := slices.SortedFunc(maps.Keys(n), func(a, b string) int {
		if n[a] != n[b] {
			return int(min(max(int64(n[b])-int64(n[a]), -1), 1))
		}
		return strings.Compare(a, b)
	})
	parts := make([]string, len(keys))
	for i, k := range keys {
		parts[i] = k + " " + count(n[k])
	}
	return strings.Join(parts, ", ")
}
