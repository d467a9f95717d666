package lab

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The emulator carries 1 Gbit/s at 100 ms, on one core.
func TestGigabitAtLongDelay(t *testing.T) {
	top := newTestTopology(t, "gigabit")
	// The window has to hold what is on the line and in the queue.
	for _, key := range []string{"net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"} {
		if err := top.Client.Sysctl(key, "4096 131072 134217728"); err != nil {
			t.Fatal(err)
		}
		if err := top.Server.Sysctl(key, "4096 131072 134217728"); err != nil {
			t.Fatal(err)
		}
	}
	path := Path{Rate: 1e9, Delay: 50 * time.Millisecond, Queue: 64 << 20}
	if err := top.WAN.Set(path, path); err != nil {
		t.Fatal(err)
	}
	// The best of several stretches: slow start is not the emulator's.
	best := make(chan float64)
	stop := make(chan struct{})
	go func() {
		most, last, at := 0.0, int64(0), time.Now()
		for tick := time.NewTicker(400 * time.Millisecond); ; {
			select {
			case <-stop:
				tick.Stop()
				best <- most
				return
			case now := <-tick.C:
				_, s := top.WAN.Stats()
				most = max(most, float64(s.Payload-last)*8/now.Sub(at).Seconds())
				last, at = s.Payload, now
			}
		}
	}()
	before := processorTime(t)
	took := download(t, top, ServerAddr4, 256<<20)
	busy := processorTime(t) - before
	close(stop)
	got := <-best / (1e9 * 1448 / 1514)
	_, s := top.WAN.Stats()
	t.Logf("best %.3f of the goodput limit, 256 MiB in %v, %v of processor time with both endpoints: %+v", got, took, busy, s)
	if got < 0.9 {
		t.Errorf("%.3f of the goodput limit", got)
	}
}

func processorTime(t *testing.T) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
