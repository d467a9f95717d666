package link

import "golang.org/x/sys/unix"

// urgent is the nice value of threads that carry frames (setpriority(2)). Ours: more
// urgent ones carry more connections, but while they look for the next frame instead
// of sleeping, programs at the ends that share their processors wait too long.
const urgent = -3

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
