package lab

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// progress shows how a run gets on: on a terminal as one line that is drawn
// again and again, else as one line when the run is over.
type progress struct {
	w        io.Writer
	terminal bool
	limit    float64 // Mbit/s drawn as a full column
	recent   []float64
}

func newProgress(w io.Writer, limit float64) *progress {
	p := &progress{w: w, limit: limit}
	if w == nil {
		p.w = io.Discard
	}
	if f, ok := w.(*os.File); ok {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		p.terminal = err == nil
	}
	return p
}

// shown is the number of samples that the line shows.
const shown = 40

var columns = []rune("▁▂▃▄▅▆▇█")

// sample shows the newest sample, in Mbit/s, and how far the run is.
func (p *progress) sample(name string, got, size int64, seconds, mbit float64) {
	p.recent = append(p.recent, mbit)
	p.recent = p.recent[max(0, len(p.recent)-shown):]
	if !p.terminal {
		return
	}
	text := fmt.Sprintf("%-12s %5.1f s  %5.1f of %d MiB  %5.1f Mbit/s  ", name, seconds, float64(got)/(1<<20), size>>20, mbit)
	// A line that wraps cannot be drawn again.
	room := max(0, min(len(p.recent), p.width()-1-len(text)))
	var b strings.Builder
	for _, v := range p.recent[len(p.recent)-room:] {
		b.WriteRune(columns[min(len(columns)-1, int(v/p.limit*float64(len(columns)-1)+0.5))])
	}
	fmt.Fprintf(p.w, "\r%s%s\x1b[K", text, b.String())
}

// width gives the columns of the terminal.
func (p *progress) width() int {
	if f, ok := p.w.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 {
			return int(size.Col)
		}
	}
	return 80
}

// done ends the line of a run.
func (p *progress) done(r *Run) {
	p.recent = p.recent[:0]
	p.clear()
	fmt.Fprintf(p.w, "%-12s %5.1f s  %5.1f Mbit/s  SHA-256 %s\n", r.Name, r.Seconds, r.Mbit, okay(r.SHA256OK))
}

// clear takes the line of a run away.
func (p *progress) clear() {
	if p.terminal {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// say writes a line of its own.
func (p *progress) say(format string, args ...any) {
	p.clear()
	fmt.Fprintf(p.w, format+"\n", args...)
}
