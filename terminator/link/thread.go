package link

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// urgent is the nice value of threads that carry frames (setpriority(2)). Ours: still
// more urgent ones carry more connections, but at times programs at the ends that
// share their processors wait too long.
const urgent = -10

// Urgent puts the calling thread, which the caller has locked and does not give
// back, before those of ordinary programs: every frame waits for it, and one that
// is late costs both endpoints, as their kernels' own work for packets would. Where
// that is not permitted it stays as it is, and a thread that is more urgent too.
func Urgent() {
	// The system call gives 20 less the nice value.
	if now, err := unix.Getpriority(unix.PRIO_PROCESS, 0); err == nil && 20-now > urgent {
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, urgent)
	}
}

// Yield lets other threads run that wait for this processor.
func Yield() { _, _, _ = syscall.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }
