//go:build !race

// The race detector has nothing to find here, and would make these tables, the
// longest tests, ten times as long.

package simnet

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"accd/splice"
	"accd/tcpstack/buf"
	"accd/tcpstack/cc"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// golden compares got with testdata/name, or rewrites that.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; go test -update writes it", err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s differs (-want +got); if the change is meant, go test -update and review the diff:\n%s", name, d)
	}
}

// download runs n servers that send without end to their clients for d, over
// one path, and gives the bytes each client read in the second half, and all.
func download(t *testing.T, algorithms []string, path Path, d time.Duration) (second, all []int64, pairs []*Pair) {
	t.Helper()
	s := New(1)
	pool := new(buf.Pool)
	pairs = NewPairs(s, len(algorithms), path, pool, func(flow int, side splice.Side) (HostConfig, Script) {
		cfg := endpoint(t, algorithms[flow], 16<<20)
		if side == splice.Client {
			return cfg, Script{CloseLast: true}
		}
		return cfg, Script{Steps: []Step{{Bytes: 1 << 40}}}
	})
	for i, p := range pairs {
		s.After(time.Duration(i)*100*time.Millisecond, p.Hosts[splice.Client].Connect)
	}
	half := make([]int64, len(pairs))
	s.At(Start.Add(d/2), func() {
		for i, p := range pairs {
			half[i] = p.Hosts[splice.Client].Read()
		}
	})
	if err := s.Run(d, nil); err != nil {
		t.Fatal(err)
	}
	for i, p := range pairs {
		got := p.Hosts[splice.Client].Read()
		second, all = append(second, got-half[i]), append(all, got)
		p.Discard()
	}
	if n := pool.InUse(); n != 0 {
		t.Errorf("%d bytes of buffers leak", n)
	}
	return second, all, pairs
}

// mbit gives bytes in d as Mbit/s.
func mbit(bytes int64, d time.Duration) float64 { return float64(bytes) * 8 / d.Seconds() / 1e6 }

// TestGoodput is the table of what one flow gets of 50 Mbit/s with a queue of
// one bandwidth-delay product, by algorithm, round trip and random loss, in
// percent of what headers leave.
func TestGoodput(t *testing.T) {
	const rate, d = 50e6 / 8, 16 * time.Second
	var b strings.Builder
	fmt.Fprintf(&b, "%-8s%-8s%8s%8s%8s%8s%8s\n", "", "rtt", "0%", "0.01%", "0.1%", "1%", "3%")
	for _, algorithm := range cc.Names() {
		for _, rtt := range []time.Duration{10 * time.Millisecond, 80 * time.Millisecond, 240 * time.Millisecond} {
			fmt.Fprintf(&b, "%-8s%-8v", algorithm, rtt)
			for _, loss := range []float64{0, 0.0001, 0.001, 0.01, 0.03} {
				path := Path{
					Out:  Impairments{Rate: rate, Delay: rtt / 2},
					Back: Impairments{Rate: rate, Delay: rtt / 2, Queue: int(rate * rtt.Seconds()), Loss: loss, GRO: true},
				}
				_, all, _ := download(t, []string{algorithm}, path, d)
				fmt.Fprintf(&b, "%8.1f", 100*mbit(all[0], d)/(50*1448/1514.))
			}
			b.WriteByte('\n')
		}
	}
	golden(t, "goodput.golden", b.String())
}

// TestFairness is the table of what several flows get of one bottleneck.
func TestFairness(t *testing.T) {
	const rate, rtt, d = 40e6 / 8, 40 * time.Millisecond, 40 * time.Second
	var b strings.Builder
	for _, mix := range [][]string{
		{"cubic", "cubic"}, {"reno", "reno"}, {"bbr", "bbr"},
		{"cubic", "cubic", "cubic", "cubic"}, {"bbr", "bbr", "bbr", "bbr"},
		{"cubic", "reno"}, {"cubic", "bbr"}, {"cubic", "cubic", "bbr", "bbr"},
	} {
		path := Path{
			Out:  Impairments{Rate: rate, Delay: rtt / 2},
			Back: Impairments{Rate: rate, Delay: rtt / 2, Queue: int(rate * rtt.Seconds() * 1.5), GRO: true},
		}
		second, _, _ := download(t, mix, path, d)
		var sum, squares float64
		for i, n := range second {
			v := mbit(n, d/2)
			sum += v
			squares += v * v
			fmt.Fprintf(&b, "%s %.1f  ", mix[i], v)
		}
		fmt.Fprintf(&b, "sum %.1f  Jain %.2f\n", sum, sum*sum/squares/float64(len(second)))
	}
	golden(t, "fairness.golden", b.String())
}
