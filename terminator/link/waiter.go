package link

import (
	"encoding/binary"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Waiter waits for the descriptors of queues, for Wake, or for time to pass. Open
// it before use.
type Waiter struct {
	epoll, event int
	coarse       bool // the kernel has no epoll_pwait2 (before 5.11): milliseconds
}

// Open begins to watch descriptors; those below 0 are left out.
func (w *Waiter) Open(fds ...int) error {
	var err error
	if w.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("link: epoll: %w", err)
	}
	if w.event, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		_ = unix.Close(w.epoll)
		return fmt.Errorf("link: eventfd: %w", err)
	}
	for _, fd := range append(fds, w.event) {
		if fd < 0 {
			continue
		}
		if err := unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			w.Close()
			return fmt.Errorf("link: epoll on a queue: %w", err)
		}
	}
	return nil
}

// Close gives up the descriptors of the Waiter itself.
func (w *Waiter) Close() {
	_ = unix.Close(w.epoll)
	_ = unix.Close(w.event)
}

// Wake ends the wait that goes on, or else the next.
func (w *Waiter) Wake() {
	one := binary.NativeEndian.AppendUint64(nil, 1)
	_, _ = unix.Write(w.event, one)
}

// brief is how long a wait keeps the processor that Go's scheduler has given the
// thread (a P). A longer one gives it up, which wakes others to take it, and getting one
// back takes microseconds: too much between two packets of a connection.
const brief = 2 * time.Millisecond

// Wait returns when there is something to read, when woken, or after d.
func (w *Waiter) Wait(d time.Duration) error {
	d = max(d, 0) // a negative one would be for ever
	if !w.coarse && d > brief {
		if over, err := w.wait(brief, true); over || err != nil {
			return err
		}
		d -= brief
	}
	_, err := w.wait(d, false)
	return err
}

// wait reports whether it is over before d. With keep Go's scheduler does not know of it.
func (w *Waiter) wait(d time.Duration, keep bool) (over bool, err error) {
	var events [4]unix.EpollEvent
	var n uintptr
	var errno unix.Errno
	ts := unix.NsecToTimespec(int64(d))
	switch {
	case w.coarse:
		var m int
		m, err = unix.EpollWait(w.epoll, events[:], int((d+time.Millisecond-1)/time.Millisecond))
		errno, _ = err.(unix.Errno)
		n = uintptr(max(m, 0))
	case keep:
		n, _, errno = unix.RawSyscall6(unix.SYS_EPOLL_PWAIT2, uintptr(w.epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)),
			uintptr(unsafe.Pointer(&ts)), 0, 0)
	default:
		n, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(w.epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)),
			uintptr(unsafe.Pointer(&ts)), 0, 0)
	}
	switch errno {
	case 0:
	case unix.EINTR:
		return true, nil
	case unix.ENOSYS:
		w.coarse = true
		return true, nil
	default:
		return true, fmt.Errorf("link: waiting for frames: %w", errno)
	}
	for _, e := range events[:n] {
		if e.Fd == int32(w.event) {
			var b [8]byte
			_, _ = unix.Read(w.event, b[:])
		}
	}
	return n > 0, nil
}
