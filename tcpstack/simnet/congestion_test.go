//go:build !race

// The race detector has nothing to find here, and would make these tables, the
// longest tests, ten times as long.

package simnet

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"accd/tcpstack/cc"
)

// The bench that every algorithm has to pass: tables of what flows get of a link,
// generated over the registry, with the bounds asserted that docs/congestion.md
// names. Any change of behaviour is a diff of numbers. A plain run makes the small
// tables of testdata; -tables makes those of docs/congestion.md (make congestion).
var tables = flag.Bool("tables", false, "make the large tables of docs/congestion.md instead of the small ones")

// sizes is what the tables span.
type sizes struct {
	rtts    []int     // ms, of single flows
	losses  []float64 // percent
	buffers []float64 // bandwidth-delay products
	pairRTT []int     // ms, of two equal flows
	rivals  []rival   // of cubic
	lead    []int     // ms, by which cubic starts later than its rival
	company []string  // algorithms of flows that are many, at different distances, or cross
}

// rival is an algorithm's rows against cubic.
type rival struct {
	algorithm string
	buffers   []float64
	rtts      []int // ms
}

var (
	smallTables = sizes{
		rtts: []int{100, 300}, losses: []float64{0, 1, 5}, buffers: []float64{0.25, 1}, pairRTT: []int{20},
		rivals: []rival{{"bbr", []float64{1}, []int{50}}, {"ledbat", []float64{2}, []int{20}}}, lead: []int{100},
		company: []string{"bbr", "cubic"},
	}
	largeTables = sizes{
		rtts: []int{10, 50, 100, 200, 300}, losses: []float64{0, 0.1, 1, 2, 5}, buffers: []float64{0.25, 1, 4}, pairRTT: []int{20, 100},
		rivals: []rival{
			{"bbr", []float64{1, 1.5, 2}, []int{20, 50, 100, 200}}, {"hybla", []float64{1, 2}, []int{20, 100}},
			{"ledbat", []float64{1, 1.5, 2}, []int{20, 100}}, {"reno", []float64{1, 2}, []int{20, 100}},
		}, lead: []int{100, 5000, -5000},
		company: cc.Names(),
	}
)

// benchRate is the link's, in Mbit/s.
const benchRate = 100

// tolerant is what a path with heavy random loss is configured with.
var tolerant = cc.Params{"loss_threshold": 0.2}

// wants is what an algorithm promises: shares of the goodput limit.
type wants struct {
	clean    float64 // without random loss, after start-up
	some     float64 // at up to 1 %
	tolerant float64 // at 2 and 5 %, with the tolerant parameters; 0: it has none
	fair     float64 // Jain's index of two equal flows in the second half-minute
	overrun  float64 // share of what is sent that start-up loses in a queue of one BDP at most; 0: no promise
	starves  bool    // it may leave a flow less than a tenth of its share
}

// promises holds what is above the least that everything in the registry has to
// reach.
var promises = map[string]wants{
	"bbr":    {clean: 0.95, some: 0.90, tolerant: 0.85, fair: 0.95, overrun: 0.01},
	"cubic":  {clean: 0.95, fair: 0.95, overrun: 0.01},
	"reno":   {clean: 0.95, fair: 0.95},
	"hybla":  {clean: 0.95, fair: 0.95},
	"ledbat": {clean: 0.85, fair: 0.95, overrun: 0.01, starves: true},
}

// promised gives what an algorithm has to reach: one that is new at least this.
func promised(algorithm string) wants {
	if w, ok := promises[algorithm]; ok {
		return w
	}
	return wants{clean: 0.85, fair: 0.80}
}

// TestCongestion makes each table by itself: -run TestCongestion/twins makes one.
func TestCongestion(t *testing.T) {
	z, where := smallTables, "testdata/congestion.md"
	if *tables {
		z, where = largeTables, "../../docs/congestion.md"
	}
	for _, table := range []struct {
		name string
		make func(*testing.T, sizes) string
	}{{"goodput", goodput}, {"buffers", buffers}, {"twins", twins}, {"rivals", rivals}, {"company", company}} {
		t.Run(table.name, func(t *testing.T) {
			made := table.make(t, z)
			golden(t, where, replaceSection(t, where, table.name, made))
		})
	}
}

// parameters lists what the algorithms accept, from the registry.
func TestCongestionParameters(t *testing.T) {
	var b strings.Builder
	for _, name := range cc.Names() {
		fmt.Fprintf(&b, "`%s`\n\n| parameter | default | range | unit and meaning |\n|---|---|---|---|\n", name)
		for _, q := range cc.Parameters(name) {
			fmt.Fprintf(&b, "| `%s` | %s | %s to %s | %s |\n", q.Name, q.Format(q.Default), q.Format(q.Min), q.Format(q.Max), q.Unit)
		}
		b.WriteByte('\n')
	}
	const where = "../../docs/congestion.md"
	golden(t, where, replaceSection(t, where, "parameters", b.String()))
}

// replaceSection gives a document with the text between two marks replaced.
func replaceSection(t *testing.T, path, name, text string) string {
	t.Helper()
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(doc), "<!-- generated: "+name+" -->\n")
	_, tail, ok2 := strings.Cut(rest, "<!-- end -->")
	if !ok || !ok2 {
		t.Fatalf("%s: no generated section %q", path, name)
	}
	return head + "<!-- generated: " + name + " -->\n" + text + "<!-- end -->" + tail
}

// variant is a row's algorithm and parameters.
type variant struct {
	algorithm string
	params    cc.Params
	label     string
}

func variants() (v []variant) {
	for _, name := range cc.Names() {
		v = append(v, variant{name, nil, name})
		if promised(name).tolerant != 0 {
			v = append(v, variant{name, tolerant, name + " tolerant"})
		}
	}
	return v
}

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// goodput is one flow by algorithm, round trip and random loss.
func goodput(t *testing.T, z sizes) string {
	var b strings.Builder
	b.WriteString("**One flow**, queue of one BDP, percent of the goodput limit in the first 20 s and, after start-up, from 10 s to 30 s.\n\n| algorithm | RTT |")
	for _, loss := range z.losses {
		fmt.Fprintf(&b, " %v %% loss |", loss)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(z.losses)) + "\n")
	for _, v := range variants() {
		w := promised(v.algorithm)
		for _, rtt := range z.rtts {
			fmt.Fprintf(&b, "| %s | %d ms |", v.label, rtt)
			for _, loss := range z.losses {
				got, _ := contend(t, 1, []contender{{algorithm: v.algorithm, params: v.params}}, bottleneck(benchRate, ms(rtt), 1, loss/100), 30*time.Second)
				whole := got[0].mbit(0, 20*time.Second) / benchRate / headers
				after := got[0].mbit(10*time.Second, 30*time.Second) / benchRate / headers
				fmt.Fprintf(&b, " %.1f, **%.1f** |", 100*whole, 100*after)
				least := 0.0
				switch {
				case loss == 0:
					least = w.clean
				case loss <= 1:
					least = w.some
				case v.params != nil:
					least = w.tolerant
				}
				if after < least {
					t.Errorf("%s, %d ms, %v %% loss: %.3f of the goodput limit, want %.2f", v.label, rtt, loss, after, least)
				}
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// buffers is one flow by the length of the queue.
func buffers(t *testing.T, z sizes) string {
	var b strings.Builder
	b.WriteString("**Buffers**: one flow at 50 ms without random loss; percent of the goodput limit from 10 s to 20 s, and percent of segments dropped in the first 10 s.\n\n| algorithm |")
	for _, n := range z.buffers {
		fmt.Fprintf(&b, " %v BDP |", n)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(z.buffers)) + "\n")
	for _, name := range cc.Names() {
		fmt.Fprintf(&b, "| %s |", name)
		for _, n := range z.buffers {
			flows := []contender{{algorithm: name}}
			path := bottleneck(benchRate, ms(50), n, 0)
			got, _ := contend(t, 1, flows, path, 20*time.Second)
			start, drops := contend(t, 1, flows, path, 10*time.Second)
			share := got[0].mbit(10*time.Second, 20*time.Second) / benchRate / headers
			lost := float64(drops.Queue*1448) / float64(start[0][len(start[0])-1])
			fmt.Fprintf(&b, " %.1f, %.2f |", 100*share, 100*lost)
			if w := promised(name).overrun; n == 1 && w != 0 && lost > w {
				t.Errorf("%s: start-up loses %.4f of what it sends in a queue of one BDP, want %v at most", name, lost, w)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// twins is two equal flows.
func twins(t *testing.T, z sizes) string {
	var b strings.Builder
	b.WriteString("**Two equal flows**, started 100 ms apart, queue of one BDP: percent each from 30 s to 60 s, and Jain's index.\n\n| algorithm |")
	for _, rtt := range z.pairRTT {
		fmt.Fprintf(&b, " %d ms |", rtt)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(z.pairRTT)) + "\n")
	for _, name := range cc.Names() {
		fmt.Fprintf(&b, "| %s |", name)
		for _, rtt := range z.pairRTT {
			x := shares(t, []contender{{algorithm: name}, {algorithm: name, start: ms(100)}}, bottleneck(benchRate, ms(rtt), 1, 0), 30*time.Second, 60*time.Second)
			j := jain(x...)
			fmt.Fprintf(&b, " %.0f : %.0f, **%.2f** |", 100*x[0], 100*x[1], j)
			if least := promised(name).fair; j < least {
				t.Errorf("two %s at %d ms: %.2f and %.2f, Jain %.3f, want %v", name, rtt, x[0], x[1], j, least)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// rivals is every algorithm against cubic.
func rivals(t *testing.T, z sizes) string {
	var b strings.Builder
	b.WriteString("**Against CUBIC**: percent of an algorithm and of a CUBIC flow from 40 s to 80 s, by how much later CUBIC starts.\n\n| algorithm | queue | RTT |")
	for _, lead := range z.lead {
		fmt.Fprintf(&b, " %+.1f s |", ms(lead).Seconds())
	}
	b.WriteString("\n|---|---|---|" + strings.Repeat("---|", len(z.lead)) + "\n")
	for _, r := range z.rivals {
		for _, queue := range r.buffers {
			for _, rtt := range r.rtts {
				fmt.Fprintf(&b, "| %s | %v BDP | %d ms |", r.algorithm, queue, rtt)
				for _, lead := range z.lead {
					x := shares(t, []contender{{algorithm: r.algorithm, start: ms(max(0, -lead))}, {algorithm: "cubic", start: ms(max(0, lead))}},
						bottleneck(benchRate, ms(rtt), queue, 0), 40*time.Second, 80*time.Second)
					fmt.Fprintf(&b, " %.0f : %.0f |", 100*x[0], 100*x[1])
					switch r.algorithm {
					case "bbr":
						if min(x[0], x[1]) < 0.30 || max(x[0], x[1]) > 0.70 {
							t.Errorf("bbr and cubic at %d ms, %v BDP, %+d ms: %.2f and %.2f, want 0.30 to 0.70 each", rtt, queue, lead, x[0], x[1])
						}
					case "ledbat":
						if x[1] < 0.90 {
							t.Errorf("ledbat leaves %.2f to cubic at %d ms, %v BDP, %+d ms, want 0.90", x[1], rtt, queue, lead)
						}
					}
				}
				b.WriteByte('\n')
			}
		}
	}
	return b.String()
}

// company is what RFC 9743 asks besides: flows at different distances, many at
// once, and across each other.
func company(t *testing.T, z sizes) string {
	var b strings.Builder
	b.WriteString("**Company**, queue of one BDP: percent of a flow at 20 ms and one at 100 ms, from 30 s to 60 s; of twenty that start at once at 50 ms, the least and the most, times twenty, and Jain's index from 10 s to 30 s; of a download and an upload at 50 ms, from 10 s to 30 s.\n\n| algorithm | 20 ms : 100 ms | twenty | down : up |\n|---|---|---|---|\n")
	for _, name := range z.company {
		starved := func(what string, least, share float64) {
			if !promised(name).starves && least < share/10 {
				t.Errorf("%s, %s: a flow gets %.4f of the link, want a tenth of its share of %.3f", name, what, least, share)
			}
		}
		near, far := contender{algorithm: name}, contender{algorithm: name, farther: ms(80)}
		x := shares(t, []contender{near, far}, bottleneck(benchRate, ms(20), 1, 0), 30*time.Second, 60*time.Second)
		starved("20 ms and 100 ms", min(x[0], x[1]), 0.5)
		fmt.Fprintf(&b, "| %s | %.0f : %.0f |", name, 100*x[0], 100*x[1])

		var crowd []contender
		for range 20 {
			crowd = append(crowd, near)
		}
		x = shares(t, crowd, bottleneck(benchRate, ms(50), 1, 0), 10*time.Second, 30*time.Second)
		starved("twenty at once", slices.Min(x), 0.05)
		fmt.Fprintf(&b, " %.0f to %.0f, **%.2f** |", 2000*slices.Min(x), 2000*slices.Max(x), jain(x...))

		path := bottleneck(benchRate, ms(50), 1, 0)
		path.Out = path.Back
		x = shares(t, []contender{near, {algorithm: name, up: true}}, path, 10*time.Second, 30*time.Second)
		starved("across", min(x[0], x[1]), 1)
		fmt.Fprintf(&b, " %.0f : %.0f |\n", 100*x[0], 100*x[1])
	}
	return b.String()
}

// shares gives the shares of the goodput limit that flows had between two instants.
func shares(t *testing.T, flows []contender, path Path, from, to time.Duration) (x []float64) {
	got, _ := contend(t, 1, flows, path, to)
	for _, r := range got {
		x = append(x, r.mbit(from, to)/benchRate/headers)
	}
	return x
}
