package link

import (
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"accd/tcpstack/buf"
	"accd/tcpstack/wire"
)

// Ours. The kernel takes 1,024 pieces per call; what needs more than this is
// copied together.
const maxPieces = 256

// Tap is one queue of a Linux tap device. It calls the kernel directly and
// without telling the scheduler: the descriptor never blocks.
type Tap struct {
	fd      int
	caps    Caps
	dropped atomic.Uint64

	// Scratch of Send, here so that nothing escapes per call.
	vh  [wire.VirtioLen]byte
	iov [maxPieces]unix.Iovec
	// joined holds the pieces beyond maxPieces; nil until that happens.
	joined []byte
}

// NewTap takes f, a queue opened without IFF_PI: with a virtio-net header of
// wire.VirtioLen bytes and its offloads on where offload says so, else plain.
// mtu is the device's, in bytes. f is closed: the runtime's poller would be
// woken for every frame as long as it watched it.
func NewTap(f *os.File, mtu int, offload bool) (*Tap, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("link: tap %s: %w", f.Name(), err)
	}
	fd := -1
	var dup error
	if err := raw.Control(func(p uintptr) { fd, dup = unix.FcntlInt(p, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return nil, fmt.Errorf("link: tap %s: %w", f.Name(), err)
	}
	if dup != nil {
		return nil, fmt.Errorf("link: tap %s: duplicating the descriptor: %w", f.Name(), dup)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("link: tap %s: %w", f.Name(), err)
	}
	_ = f.Close()
	return &Tap{fd: fd, caps: Caps{Offload: offload, MTU: mtu}}, nil
}

// Recv reads one frame. The room starts with the virtio-net header of 10 bytes,
// so behind 14 bytes of Ethernet the IP header is aligned to 8.
func (t *Tap) Recv(p *buf.Pool, f *Frame) (bool, error) {
	head := 0
	if t.caps.Offload {
		head = wire.VirtioLen
	}
	room := p.Room(head + MaxFrame)
	for {
		r, _, errno := syscall.RawSyscall(unix.SYS_READ, uintptr(t.fd), uintptr(unsafe.Pointer(&room[0])), uintptr(len(room)))
		n := int(r)
		switch {
		case errno == unix.EAGAIN:
			return false, nil
		case errno == unix.EINTR:
			continue
		case errno != 0:
			return false, fmt.Errorf("link: reading from the tap: %w", errno)
		case n <= head:
			continue // nothing the kernel would send
		}
		if head > 0 {
			f.Virtio.Decode(room)
		} else {
			f.Virtio = wire.VirtioHeader{}
		}
		f.SetRoom(p, room, head, n-head)
		return true, nil
	}
}

// Send writes one frame.
func (t *Tap) Send(vh *wire.VirtioHeader, head []byte, body [][]byte) error {
	n := 0
	if t.caps.Offload {
		vh.Encode(t.vh[:])
		n = t.piece(n, t.vh[:])
	}
	n = t.piece(n, head)
	for i, p := range body {
		if n == maxPieces-1 {
			t.joined = t.joined[:0]
			for _, rest := range body[i:] {
				t.joined = append(t.joined, rest...)
			}
			n = t.piece(n, t.joined)
			break
		}
		n = t.piece(n, p)
	}
	for {
		_, _, errno := syscall.RawSyscall(unix.SYS_WRITEV, uintptr(t.fd), uintptr(unsafe.Pointer(&t.iov[0])), uintptr(n))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
			continue
		case unix.EBADF, unix.EBADFD, unix.ENODEV:
			return fmt.Errorf("link: writing to the tap: %w", errno)
		}
		// No room, the device is down, or a header it does not like.
		t.dropped.Add(1)
		return nil
	}
}

// piece adds b to the vector, which holds n pieces, and gives the new n.
func (t *Tap) piece(n int, b []byte) int {
	if len(b) == 0 {
		return n
	}
	t.iov[n].Base = &b[0]
	t.iov[n].SetLen(len(b))
	return n + 1
}

// Dropped gives the frames the kernel did not accept.
func (t *Tap) Dropped() uint64 { return t.dropped.Load() }

// Caps says what the device can do.
func (t *Tap) Caps() Caps { return t.caps }

// FD gives the descriptor to wait on.
func (t *Tap) FD() int { return t.fd }

// Close closes the queue.
func (t *Tap) Close() error { return unix.Close(t.fd) }
