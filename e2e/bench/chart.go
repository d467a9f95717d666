package main

import (
	"fmt"
	"html"
	"strings"
)

// charted are the rows of the chart, by key, in two columns.
var charted = []string{
	"bulk1.rate", "bulk8.rate",
	"bulk1-mtu.rate", "bulk8-mtu.rate",
	"connections.rate", "round-trip.p50",
}

// Sizes in the chart, in its own units.
const (
	panelWidth = 470
	barsAt     = 178 // where the bars of a panel begin
	barsWidth  = 190 // of the longest one
	barStep    = 22
	barHeight  = 14
	titleStep  = 34
	margin     = 16
)

// chartStyle serves light and dark pages.
const chartStyle = `text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600 }
.note { fill: #6e7781 }
.bar { fill: #a8b3bf } .ours { fill: #1f6feb } .range { stroke: #57606a; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .note { fill: #9198a1 }
.bar { fill: #59636e } .ours { fill: #4493f8 } .range { stroke: #d1d9e0 }
}
`

// chart draws medians as bars, with lines from the least to the largest value.
func (r *results) chart() string {
	var panels []*row
	for _, key := range charted {
		if row := r.find(key); row != nil {
			panels = append(panels, row)
		}
	}
	panelHeight := titleStep + barStep*len(r.Peers) + margin
	height := margin + panelHeight*((len(panels)+1)/2) + 2*margin
	var b strings.Builder
	fmt.Fprintf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\">\n", 2*panelWidth+2*margin, height)
	fmt.Fprintf(&b, "<title>accd and others between a client and a server</title>\n<style>\n%s</style>\n", chartStyle)
	for i, row := range panels {
		r.panel(&b, row, margin+i%2*panelWidth, margin+i/2*panelHeight)
	}
	fmt.Fprintf(&b, "<text class=\"note\" x=\"%d\" y=\"%d\">%s, %d cores of %s for client, box and server together, Linux %s; medians of %d rounds, lines: least to largest</text>\n",
		margin, height-margin, r.Date, r.Machine.Cores, html.EscapeString(r.Machine.CPU), r.Machine.Kernel, r.Rounds)
	b.WriteString("</svg>\n")
	return b.String()
}

// panel draws one row with its upper left corner at x, y.
func (r *results) panel(b *strings.Builder, row *row, x, y int) {
	largest := 0.0
	for _, c := range row.Cells {
		largest = max(largest, c.Max)
	}
	title := row.label()
	if row.Less {
		title += " (less is better)"
	}
	fmt.Fprintf(b, "<text class=\"title\" x=\"%d\" y=\"%d\">%s</text>\n", x, y+barHeight, html.EscapeString(title))
	for i, p := range r.Peers {
		top := y + titleStep + i*barStep
		base := top + barHeight - 2
		fmt.Fprintf(b, "<text x=\"%d\" y=\"%d\">%s</text>\n", x, base, html.EscapeString(p.Name))
		c, ok := row.Cells[p.Name]
		if !ok || largest == 0 {
			continue
		}
		at := func(v float64) float64 { return float64(x+barsAt) + v/largest*barsWidth }
		class := "bar"
		if p.Name == subject {
			class += " ours"
		}
		fmt.Fprintf(b, "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\"/>\n", class, x+barsAt, top, at(c.Median)-at(0), barHeight)
		fmt.Fprintf(b, "<path class=\"range\" d=\"M%.1f %dH%.1f\"/>\n", at(c.Min), top+barHeight/2, at(c.Max))
		fmt.Fprintf(b, "<text x=\"%.1f\" y=\"%d\">%s</text>\n", at(max(c.Median, c.Max))+6, base, number(c.Median))
	}
}
