package lab

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// Report is what a demo found.
type Report struct {
	Runs []Run   `json:"runs"`
	Gain float64 `json:"gain"` // time of direct-cubic by time of accd-bbr; 0 if one of them was not run

	size   int64         // bytes fetched in each run
	limit  float64       // goodput in Mbit/s that the link can carry
	sample time.Duration // between the points of Run.samples
	lines  []string      // the conditions, in words
}

// Run is one fetch of the file.
type Run struct {
	Name            string  `json:"name"`
	Seconds         float64 `json:"seconds"` // from curl's start to the last byte, connecting included
	Mbit            float64 `json:"mbit"`    // goodput, Mbit/s
	Share           float64 `json:"share"`   // of the link's goodput limit
	Retransmissions int64   `json:"retransmissions"`
	SHA256OK        bool    `json:"sha256_ok"`

	samples []float64 // Mbit/s of payload delivered to the client
}

// finish works out what follows from the runs.
func (r *Report) finish() {
	seconds := make(map[string]float64)
	for i := range r.Runs {
		run := &r.Runs[i]
		run.Mbit = float64(r.size) * 8 / 1e6 / run.Seconds
		run.Share = run.Mbit / r.limit
		seconds[run.Name] = run.Seconds
	}
	if a, c := seconds[accdBBR], seconds[directCubic]; a > 0 && c > 0 {
		r.Gain = c / a
	}
}

// WriteTable writes the runs as a table.
func (r *Report) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "run\tseconds\tMbit/s\tof limit\tretransmissions\tSHA-256\t")
	for _, run := range r.Runs {
		fmt.Fprintf(t, "%s\t%.2f\t%.1f\t%.2f\t%d\t%s\t\n", run.Name, run.Seconds, run.Mbit, run.Share, run.Retransmissions, okay(run.SHA256OK))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if r.Gain == 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "\naccd was %.1f times as fast as the kernel's cubic.\n", r.Gain)
	return err
}

func okay(ok bool) string {
	if ok {
		return "ok"
	}
	return "WRONG"
}
