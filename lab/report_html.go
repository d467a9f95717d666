package lab

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"
	"time"
)

//go:embed report.html
var reportHTML string

var reportPage = template.Must(template.New("report").Funcs(template.FuncMap{
	"okay": okay,
	"pct":  func(f float64) string { return fmt.Sprintf("%.0f %%", 100*f) },
	"f1":   func(f float64) string { return fmt.Sprintf("%.1f", f) },
	"f2":   func(f float64) string { return fmt.Sprintf("%.2f", f) },
}).Parse(reportHTML))

// WriteHTML writes the report as one page that needs nothing else.
func (r *Report) WriteHTML(w io.Writer) error {
	longest, shortest := 0.0, math.Inf(1)
	for _, run := range r.Runs {
		longest, shortest = max(longest, run.Seconds), min(shortest, run.Seconds)
	}
	type bar struct {
		Run
		Width float64 // of 100
	}
	var bars []bar
	for _, run := range r.Runs {
		bars = append(bars, bar{run, 100 * run.Seconds / longest})
	}
	charts := []*chart{r.chart("The whole race", longest)}
	if begin := math.Ceil(1.3 * shortest); begin < 0.7*longest {
		charts = append(charts, r.chart(fmt.Sprintf("The first %.0f seconds", begin), begin))
	}
	return reportPage.Execute(w, map[string]any{
		"Gain": r.Gain, "MiB": r.size >> 20, "Bars": bars, "Charts": charts, "Lines": r.lines, "Limit": r.limit,
	})
}

// Room in the drawing, in its own units.
const (
	chartWidth, chartHeight       = 920.0, 320.0
	chartLeft, chartRight         = 52.0, 16.0
	chartTop, chartBottom         = 14.0, 44.0
	plotWidth, plotHeight         = chartWidth - chartLeft - chartRight, chartHeight - chartTop - chartBottom
	plotRightEdge, plotBottomEdge = chartWidth - chartRight, chartHeight - chartBottom
)

// chart is throughput over time, laid out for SVG.
type chart struct {
	Title          string
	X, Y           []tick
	Lines          []line
	LimitY         float64
	Width, Height  float64
	Left, Right    float64
	Top, Bottom    float64
	Tick           float64 // lower end of the ticks of the x axis
	CenterX, LastY float64
}

type tick struct {
	At    float64
	Label string
}

type line struct {
	Name   string
	Points string
}

// chart lays out the first seconds of all runs.
func (r *Report) chart(title string, seconds float64) *chart {
	c := &chart{
		Title: title, Width: chartWidth, Height: chartHeight,
		Left: chartLeft, Right: plotRightEdge, Top: chartTop, Bottom: plotBottomEdge,
		Tick: plotBottomEdge + 5, CenterX: chartLeft + plotWidth/2, LastY: chartHeight - 6,
	}
	top := r.limit
	for _, run := range r.Runs {
		for _, v := range run.samples {
			top = max(top, v)
		}
	}
	stepY := niceStep(top, 5)
	top = math.Ceil(top/stepY) * stepY
	x := func(s float64) float64 { return chartLeft + plotWidth*s/seconds }
	y := func(v float64) float64 { return plotBottomEdge - plotHeight*v/top }
	for v := 0.0; v <= top+stepY/2; v += stepY {
		c.Y = append(c.Y, tick{y(v), fmt.Sprintf("%g", v)})
	}
	stepX := niceStep(seconds, 10)
	for s := 0.0; s <= seconds+stepX/1e6; s += stepX {
		c.X = append(c.X, tick{x(s), fmt.Sprintf("%g", math.Round(s*1000)/1000)})
	}
	c.LimitY = y(r.limit)
	for _, run := range r.Runs {
		c.Lines = append(c.Lines, line{run.Name, points(run.samples, r.sample, seconds, x, y)})
	}
	return c
}

// points draws the samples taken within the given time as a line, joining
// several where they would lie closer than two units.
func points(samples []float64, every time.Duration, seconds float64, x, y func(float64) float64) string {
	per := every.Seconds()
	n := min(len(samples), int(math.Round(seconds/per)))
	join := max(1, int(math.Ceil(2/(plotWidth*per/seconds))))
	var b strings.Builder
	fmt.Fprintf(&b, "%.1f,%.1f", x(0), y(0))
	for i := 0; i < n; i += join {
		sum, end := 0.0, min(i+join, n)
		for _, v := range samples[i:end] {
			sum += v
		}
		fmt.Fprintf(&b, " %.1f,%.1f", x(per*float64(i+end)/2), y(sum/float64(end-i)))
	}
	if n == len(samples) {
		fmt.Fprintf(&b, " %.1f,%.1f", x(per*float64(n)), y(0))
	}
	return b.String()
}

// niceStep gives a step of 1, 2 or 5 times a power of ten that divides span
// into at most n parts.
func niceStep(span float64, n int) float64 {
	raw := span / float64(n)
	unit := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, f := range []float64{1, 2, 5} {
		if raw <= f*unit {
			return f * unit
		}
	}
	return 10 * unit
}
