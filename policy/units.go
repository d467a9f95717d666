package policy

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var quantity = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?) ?([A-Za-z%/]*)$`)

// scaled reads a number with a unit out of units, and gives it in the base unit.
func scaled(s string, units map[string]float64, example string) (int64, error) {
	m := quantity.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("is not a number with a unit (like %s)", example)
	}
	factor, ok := units[strings.ToLower(m[2])]
	if !ok && m[2] == "" {
		return 0, fmt.Errorf("lacks a unit (like %s)", example)
	} else if !ok {
		return 0, fmt.Errorf("has the unknown unit %q (like %s)", m[2], example)
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil || v*factor > math.MaxInt64/2 {
		return 0, errors.New("is too large")
	}
	return int64(math.Round(v * factor)), nil
}

var sizes = map[string]float64{
	"b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}

// parseSize reads "64KiB" as bytes.
func parseSize(s string) (int64, error) {
	v, err := scaled(s, sizes, "64KiB, 16MiB, 2GiB")
	if err == nil && v == 0 {
		err = errors.New("must be more than zero")
	}
	return v, err
}

var rates = map[string]float64{"bit": 1, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9, "tbit": 1e12}

// parseRate reads "20mbit", bits per second, as bytes per second.
func parseRate(s string) (int64, error) {
	v, err := scaled(s, rates, "800kbit, 20mbit, 1.5gbit; bits per second")
	if err == nil && v < 8000 {
		err = errors.New("is less than the smallest rate, 8kbit")
	}
	return v / 8, err
}

var counts = map[string]float64{"": 1, "k": 1e3, "m": 1e6}

// parseCount reads "200k" as 200,000.
func parseCount(s string) (int, error) {
	v, err := scaled(s, counts, "500, 200k, 1M")
	if err == nil && (v < 1 || v > 1<<30) {
		err = errors.New("must be between 1 and 1000M")
	}
	return int(v), err
}

// parseDuration reads "5ms" or "1h30m".
func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		if _, isNumber := strconv.ParseFloat(s, 64); isNumber == nil {
			return 0, errors.New("lacks a unit (like 500us, 5ms, 10s, 1h30m)")
		}
		return 0, errors.New("is not a duration (like 500us, 5ms, 10s, 1h30m)")
	}
	if d < 0 {
		return 0, errors.New("must not be negative")
	}
	return d, nil
}

// parseSeconds reads "200ms" as 0.2.
func parseSeconds(s string) (float64, error) {
	d, err := parseDuration(s)
	return d.Seconds(), err
}

// durationBetween limits parseDuration.
func durationBetween(least, most time.Duration) func(string) (time.Duration, error) {
	return func(s string) (time.Duration, error) {
		d, err := parseDuration(s)
		if err == nil && (d < least || d > most) {
			err = fmt.Errorf("must be between %s and %s", brief(least), brief(most))
		}
		return d, err
	}
}

// brief writes a duration without its zero parts.
func brief(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// parseShare reads "5%" as 0.05 and a bare number as itself.
func parseShare(s string) (float64, error) {
	digits, percent := strings.CutSuffix(s, "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, errors.New("is not a number (like 0.7 or 2%)")
	}
	if percent {
		v /= 100
	}
	return v, nil
}

// intBetween reads a whole number, decimal or 0x….
func intBetween(least, most int64) func(string) (int, error) {
	return func(s string) (int, error) {
		v, err := strconv.ParseInt(s, 0, 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return 0, errors.New("is not a whole number")
		}
		if err != nil || v < least || v > most {
			return 0, fmt.Errorf("must be between %d and %d", least, most)
		}
		return int(v), nil
	}
}

// parseMark reads a packet mark or a mask of one.
func parseMark(s string) (uint32, error) {
	v, err := strconv.ParseUint(s, 0, 32)
	if err != nil {
		return 0, errors.New("is not a 32-bit number (like 0xacc0)")
	}
	if v == 0 {
		return 0, errors.New("must not be zero")
	}
	return uint32(v), nil
}

// maxQueues is netcfg.MaxQueues; cmd/accd's tests compare them.
const maxQueues = 255

// parseQueues reads a number of tap queues; the word auto is the caller's.
func parseQueues(s string) (int, error) {
	v, err := intBetween(1, maxQueues)(s)
	if err != nil {
		err = fmt.Errorf("must be auto or a number between 1 and %d", maxQueues)
	}
	return v, err
}
