package e2e

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Goal of the benchmark: the least share of what the kernel forwards that one
// stream through custody has to reach.
const leastShare = 0.3

// BenchmarkOneStream sends one stream of superpackets over veth devices, in turn
// through the kernel's forwarding and through accd's custody, and prints both.
// Run it with -benchtime 1x.
func BenchmarkOneStream(b *testing.B) {
	if *native {
		b.Skip("compares accd with the kernel, and -native runs without it")
	}
	const rounds = 5
	n := newNetwork(b, shape{})
	for range b.N {
		var kernel, accd, share, cpu []float64
		fmt.Println("round   kernel Gbit/s   accd Gbit/s   share   accd CPU s/GB")
		for i := range rounds {
			k, _ := n.speed(b, nil)
			d := n.startAccd(config{})
			a, c := n.speed(b, d)
			d.stop()
			kernel, accd, share, cpu = append(kernel, k), append(accd, a), append(share, a/k), append(cpu, c)
			fmt.Printf("%5d   %13.2f   %11.2f   %5.2f   %13.2f\n", i+1, k, a, a/k, c)
		}
		fmt.Printf("median  %13s   %11s   %5.2f   %13.2f\n", spread(kernel), spread(accd), median(share), median(cpu))
		b.ReportMetric(median(kernel), "kernel-Gbit/s")
		b.ReportMetric(median(accd), "accd-Gbit/s")
		b.ReportMetric(median(share), "share")
		if median(share) < leastShare {
			b.Errorf("one stream through custody reaches %.2f of kernel forwarding, want at least %.2f", median(share), leastShare)
		}
	}
}

// speed measures one download in Gbit/s and, through accd, what the program
// spends on it in seconds of CPU per GB.
func (n *network) speed(b *testing.B, d *daemon) (gbit, cpu float64) {
	b.Helper()
	const warmUp, measured = time.Second, 3 * time.Second
	client, server := n.connect(families[0])
	var got atomic.Int64
	go func() {
		chunk := make([]byte, 1<<20)
		for {
			if _, err := server.Write(chunk); err != nil {
				return // closed below
			}
		}
	}()
	done := make(chan error, 1)
	go func() { done <- discard(client, &got) }()

	time.Sleep(warmUp)
	var taken int64
	var spent time.Duration
	if d != nil {
		taken, spent = d.status().Terminator.Taken.Down, d.cpu(b)
	}
	begin, from := time.Now(), got.Load()
	time.Sleep(measured)
	bytes := got.Load() - from
	gbit = float64(bytes) * 8 / 1e9 / time.Since(begin).Seconds()
	if d != nil {
		cpu = (d.cpu(b) - spent).Seconds() / (float64(bytes) / 1e9)
		if taken = d.status().Terminator.Taken.Down - taken; float64(taken) < custody*float64(bytes) {
			b.Errorf("accd acknowledged %d of %d bytes: this does not measure custody", taken, bytes)
		}
	}
	must(b, server.SetLinger(0))
	must(b, server.Close())
	<-done // reset
	must(b, client.Close())
	return gbit, cpu
}

// discard drops what arrives without copying it (MSG_TRUNC of tcp(7)).
func discard(c *net.TCPConn, got *atomic.Int64) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	room := make([]byte, 1<<20)
	for {
		var k int
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			k, _, failed = unix.Recvfrom(int(fd), room, unix.MSG_TRUNC|unix.MSG_DONTWAIT)
			return failed != unix.EAGAIN
		})
		if err != nil {
			return err
		}
		if failed != nil {
			return failed
		}
		if k == 0 {
			return nil
		}
		got.Add(int64(k))
	}
}

// cpu gives the CPU time that the program has used.
func (d *daemon) cpu(b *testing.B) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", d.cmd.Process.Pid))
	must(b, err)
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var user, system int64
	_, err = fmt.Sscan(fields[11]+" "+fields[12], &user, &system)
	must(b, err)
	return time.Duration(user+system) * time.Second / 100 // USER_HZ of proc(5)
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

// spread gives the median and half the distance between the extremes.
func spread(v []float64) string {
	return fmt.Sprintf("%.2f ± %.2f", median(v), (slices.Max(v)-slices.Min(v))/2)
}
