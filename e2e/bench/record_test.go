package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// top is the top of the repository.
const top = "../.."

// README's table and the chart are those of bench/results.json.
func TestRecorded(t *testing.T) {
	r, err := readResults(filepath.Join(top, recordDir, "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	const remedy = "go run ./e2e/bench -render"
	text, err := os.ReadFile(filepath.Join(top, readme))
	if err != nil {
		t.Fatal(err)
	}
	want, err := r.inReadme(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != want {
		t.Errorf("README's table of speeds is not that of bench/results.json: %s", remedy)
	}
	chart, err := os.ReadFile(filepath.Join(top, recordDir, "chart.svg"))
	if err != nil {
		t.Fatal(err)
	}
	if string(chart) != r.chart() {
		t.Errorf("bench/chart.svg is not that of bench/results.json: %s", remedy)
	}
	for _, m := range measures {
		for _, x := range m.metrics {
			if r.find(m.key+"."+x.key) == nil {
				t.Errorf("bench/results.json has no %s.%s: make bench", m.key, x.key)
			}
		}
	}
}

// What README says of where accd is behind follows from the table, in both
// senses of better.
func TestSlower(t *testing.T) {
	r := &results{
		Peers: []named{{baseline, "kernel forwarding"}, {"other", "the other"}, {subject, "accd"}},
		Rows: []row{
			{Key: "a.rate", Measure: "speed", Unit: "Gbit/s", Cells: map[string]cell{subject: {Median: 3}, "other": {Median: 4}}},
			{Key: "b.rate", Measure: "more speed", Unit: "Gbit/s", Cells: map[string]cell{subject: {Median: 4}, "other": {Median: 3}}},
			{Key: "c.p50", Measure: "round trip", Metric: "p50", Unit: "µs", Less: true, Cells: map[string]cell{subject: {Median: 4}, "other": {Median: 3}}},
			{Key: "e.kernel", Measure: "memory", Metric: "kernel", Unit: "KiB", Less: true, Cells: map[string]cell{subject: {Median: 4}, "other": {Median: 0}}},
			{Key: "f.kernel", Measure: "more memory", Metric: "kernel", Unit: "KiB", Less: true, Cells: map[string]cell{subject: {Median: 4}, "other": {Median: -2}}},
			{Key: "d.p50", Measure: "alone", Unit: "µs", Less: true, Cells: map[string]cell{subject: {Median: 4}}},
		},
	}
	const want = "\nWhere accd is behind others, and how many times as good they are:\n\n" +
		"- speed, Gbit/s: the other × 1.33\n- round trip: p50, µs: the other × 1.33\n- memory: kernel, KiB: the other 0\n- more memory: kernel, KiB: the other -2.00\n"
	if got := r.slower(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	r.Rows = r.Rows[1:2]
	if got := r.slower(); got != "" {
		t.Errorf("got %q where accd is behind nobody", got)
	}
}

// Text around the markers stays, and a README without them is refused.
func TestInReadme(t *testing.T) {
	r := &results{Peers: []named{{subject, "accd"}}}
	got, err := r.inReadme("before\n" + readmeBegin + "old\n" + readmeEnd + "after\n")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(got, "before\n"+readmeBegin) || !strings.HasSuffix(got, readmeEnd+"after\n") || strings.Contains(got, "old") {
		t.Errorf("got %q", got)
	}
	if _, err := r.inReadme("nothing\n"); err == nil {
		t.Error("a README without markers is no error")
	}
}
