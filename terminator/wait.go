package terminator

import (
	"encoding/binary"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// waiter waits for the descriptors of a shard's queues, for wake, or for time
// to pass.
type waiter struct {
	epoll, event int
	coarse       bool // the kernel has no epoll_pwait2 (before 5.11): milliseconds
}

func (w *waiter) open(fds ...int) error {
	var err error
	if w.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("terminator: epoll: %w", err)
	}
	if w.event, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		_ = unix.Close(w.epoll)
		return fmt.Errorf("terminator: eventfd: %w", err)
	}
	for _, fd := range append(fds, w.event) {
		if fd < 0 {
			continue
		}
		if err := unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			w.close()
			return fmt.Errorf("terminator: epoll on a queue: %w", err)
		}
	}
	return nil
}

func (w *waiter) close() {
	_ = unix.Close(w.epoll)
	_ = unix.Close(w.event)
}

// wake ends the wait that goes on, or else the next.
func (w *waiter) wake() {
	one := binary.NativeEndian.AppendUint64(nil, 1)
	_, _ = unix.Write(w.event, one)
}

// wait returns when there is something to read, when woken, or after d.
func (w *waiter) wait(d time.Duration) error {
	d = max(d, 0) // a negative one would be for ever
	var events [4]unix.EpollEvent
	var n int
	var errno unix.Errno
	if w.coarse {
		var err error
		n, err = unix.EpollWait(w.epoll, events[:], int((d+time.Millisecond-1)/time.Millisecond))
		errno, _ = err.(unix.Errno)
	} else {
		ts := unix.NsecToTimespec(int64(d))
		var r uintptr
		r, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(w.epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)),
			uintptr(unsafe.Pointer(&ts)), 0, 0)
		n = int(r)
	}
	switch errno {
	case 0:
	case unix.EINTR:
		return nil
	case unix.ENOSYS:
		w.coarse = true
		return nil
	default:
		return fmt.Errorf("terminator: waiting for frames: %w", errno)
	}
	for _, e := range events[:n] {
		if e.Fd == int32(w.event) {
			var b [8]byte
			_, _ = unix.Read(w.event, b[:])
		}
	}
	return nil
}
