package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// print writes the results as one table: medians, half the distance between the
// extremes, and ratios to kernel forwarding.
func (r *results) print(w io.Writer) {
	const column = 22
	width := 0
	for _, row := range r.Rows {
		width = max(width, len([]rune(row.label())))
	}
	line := fmt.Sprintf("%-*s", width, "")
	for _, p := range r.Peers {
		line += fmt.Sprintf("%*s", column, p.Name)
	}
	fmt.Fprintln(w, line)
	marked := false
	for _, row := range r.Rows {
		line := row.label()
		line += strings.Repeat(" ", max(0, width-len([]rune(line))))
		for _, p := range r.Peers {
			text := ""
			if c, ok := row.Cells[p.Name]; ok {
				text = row.text(c)
				marked = marked || c.Disturbed > 0
			}
			line += strings.Repeat(" ", max(1, column-len([]rune(text)))) + text
		}
		fmt.Fprintln(w, line)
	}
	fmt.Fprintf(w, "\nmedian (of pauses the longest) ± half the distance between the extremes of %d rounds, ×ratio to %s; %.1f s each\n", r.Rounds, baseline, r.Seconds)
	if marked {
		fmt.Fprintln(w, "!  other programs, or other machines on the same host, disturbed this")
	}
}

// label names the row and its unit.
func (r *row) label() string {
	if r.Metric == "" {
		return r.Measure + ", " + r.Unit
	}
	return r.Measure + ": " + r.Metric + ", " + r.Unit
}

func (r *row) text(c cell) string {
	s := number(r.value(c)) + " ±" + number((c.Max-c.Min)/2)
	if c.Ratio != 0 {
		s += " ×" + number(c.Ratio)
	}
	if c.Disturbed > 0 {
		s += "!"
	}
	return s
}

// number writes a number with about three digits.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a == 0:
		return "0"
	case a < 10:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case a < 100:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a < 100e3:
		return strconv.FormatFloat(v, 'f', 0, 64)
	default:
		return strconv.FormatFloat(v/1e3, 'f', 0, 64) + "k"
	}
}
