// Bench compares what can stand between a client and a server: plain kernel
// forwarding, accd, and others. Client, box and server are network namespaces on
// one machine, every peer has a set of its own, and they take turns. It prints
// one table and writes the results and a chart; those of a whole run are recorded in
// bench/ and README. It runs at the top of the repository.
//
// It needs root.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

var (
	accdProgram   = flag.String("accd", "bin/accd", "the program accd")
	gvisorProgram = flag.String("gvisor", "bin/bench-gvisor", "the gVisor peer")
	peerNames     = flag.String("peers", "", "the peers, with commas between; empty: all")
	measureKeys   = flag.String("measures", "", "the measures by their keys, with commas between; empty: all")
	rounds        = flag.Int("rounds", 3, "how often each measure is made with each peer")
	onlyRender    = flag.Bool("render", false, "only write the chart and the table in README anew from bench/results.json")
	quick         = flag.Bool("quick", false, "measure for 0.6 instead of 2.5 seconds at a time, what hardly changes once, and repeat nothing")
)

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	if *onlyRender {
		return render()
	}
	if os.Geteuid() != 0 {
		return errors.New("needs root: it makes network namespaces; run it with sudo")
	}
	// The threads of this program are the programs at both ends. They wait in
	// the kernel, and none of them is to wait for a processor of Go's scheduler
	// or for its garbage collector.
	runtime.GOMAXPROCS(256)
	debug.SetGCPercent(-1)

	p := &plan{rounds: *rounds, repeat: 2, window: window{warmUp: 500 * time.Millisecond, measured: 2500 * time.Millisecond}, progress: os.Stderr}
	if *quick {
		p.quick, p.repeat, p.window = true, 0, window{warmUp: 150 * time.Millisecond, measured: 600 * time.Millisecond}
	}
	var err error
	p.peers, err = choose(*peerNames, peers, func(p *peer) string { return p.name })
	if err != nil {
		return fmt.Errorf("-peers: %w", err)
	}
	p.measures, err = choose(*measureKeys, measures, func(m *measure) string { return m.key })
	if err != nil {
		return fmt.Errorf("-measures: %w", err)
	}
	r := &results{Date: today(), Rounds: p.rounds, Seconds: p.measured.Seconds()}
	if r.Machine, err = thisMachine(); err != nil {
		return err
	}
	for _, p := range p.peers {
		r.Peers = append(r.Peers, named{p.name, p.what})
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	if err := p.run(ctx, r); err != nil {
		return err
	}
	fmt.Println()
	r.print(os.Stdout)
	if len(p.peers) < len(peers) || len(p.measures) < len(measures) {
		return r.record(partialDir)
	}
	return errors.Join(r.record(recordDir), r.updateReadme(readme))
}

// choose picks from all by name, in their own order.
func choose[T any](names string, all []T, name func(*T) string) (chosen []*T, err error) {
	var known []string
	for i := range all {
		known = append(known, name(&all[i]))
	}
	want := strings.Split(names, ",")
	if names == "" {
		want = known
	}
	for _, w := range want {
		if !slices.Contains(known, w) {
			return nil, fmt.Errorf("%q is none of %s", w, strings.Join(known, ", "))
		}
	}
	for i := range all {
		if slices.Contains(want, known[i]) {
			chosen = append(chosen, &all[i])
		}
	}
	return chosen, nil
}
