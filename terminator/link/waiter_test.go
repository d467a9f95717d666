package link

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A wait lasts as long as it is told, brief or not, and ends early for what there is to
// read and for Wake, which also works ahead.
func TestWaiter(t *testing.T) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = unix.Close(pipe[0]), unix.Close(pipe[1]) }()
	for _, coarse := range []bool{false, true} {
		w := Waiter{coarse: coarse}
		if err := w.Open(pipe[0], -1); err != nil {
			t.Fatal(err)
		}
		wait := func(d time.Duration) time.Duration {
			t.Helper()
			start := time.Now()
			if err := w.Wait(d); err != nil {
				t.Fatal(err)
			}
			return time.Since(start)
		}
		for _, d := range []time.Duration{-time.Second, 0, brief / 2, brief, 4 * brief} {
			longest := time.Duration(0)
			for range 10 { // a signal of Go's scheduler may end some
				longest = max(longest, wait(d))
			}
			if longest < d || longest > max(d, 0)+10*time.Second {
				t.Errorf("a wait of %v took %v", d, longest)
			}
		}
		for _, after := range []time.Duration{0, brief / 2, 4 * brief} {
			for name, wake := range map[string]func(){"Wake": w.Wake, "a byte": func() { _, _ = unix.Write(pipe[1], []byte{1}) }} {
				done := make(chan struct{})
				time.AfterFunc(after, func() { wake(); close(done) })
				if took := wait(time.Minute); took > 10*time.Second {
					t.Errorf("%s after %v ended a wait after %v", name, after, took)
				}
				<-done
				_, _ = unix.Read(pipe[0], make([]byte, 1))
				wait(0)
			}
		}
		w.Close()
	}
}
