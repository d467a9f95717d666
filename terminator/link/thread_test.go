package link

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// Only the thread that asks becomes urgent, and one that is more urgent stays so.
func TestUrgent(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: CAP_SYS_NICE")
	}
	nice := func() int {
		n, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
		if err != nil {
			t.Error(err)
		}
		return 20 - n
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := nice()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		Urgent()
		if n := nice(); n != urgent {
			t.Errorf("nice %d, want %d", n, urgent)
		}
		if err := unix.Setpriority(unix.PRIO_PROCESS, 0, urgent-1); err != nil {
			t.Error(err)
		}
		Urgent()
		if n := nice(); n != urgent-1 {
			t.Errorf("nice %d after %d", n, urgent-1)
		}
	}()
	<-done
	if n := nice(); n != before {
		t.Errorf("another thread has nice %d, it had %d", n, before)
	}
}
