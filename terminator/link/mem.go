package link

import (
	"errors"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"accd/tcpstack/buf"
	"accd/tcpstack/wire"
)

// memFrames is how many frames wait in a Mem before Send drops.
const memFrames = 4096

// Mem is a queue in memory, for tests: what one of a pair sends the other
// receives. It is locked, so the ends may belong to different goroutines.
type Mem struct {
	caps    Caps
	event   int // eventfd: readable while something waits
	in      *memRing
	peer    *Mem
	dropped atomic.Uint64
}

// memRing is a queue of frames whose memory is used again, what was used last
// first.
type memRing struct {
	sync.Mutex
	frames  []memFrame
	head, n int
	spare   [2][][]byte // small and large
	closed  bool
}

// memSmall is how many bytes a small frame has at most.
const memSmall = 2 << 10

// take gives memory for a frame of n bytes.
func (r *memRing) take(n int) []byte {
	size, most := 0, memSmall
	if n > memSmall {
		size, most = 1, MaxFrame
	}
	k := len(r.spare[size])
	if k == 0 {
		return make([]byte, 0, most)
	}
	b := r.spare[size][k-1]
	r.spare[size] = r.spare[size][:k-1]
	return b
}

// put takes the memory of a frame back.
func (r *memRing) put(b []byte) {
	size := 0
	if cap(b) > memSmall {
		size = 1
	}
	r.spare[size] = append(r.spare[size], b[:0])
}

type memFrame struct {
	virtio wire.VirtioHeader
	bytes  []byte
}

// NewMem makes two queues that are joined: a receives what b sends and the
// reverse.
func NewMem(caps Caps) (a, b *Mem) {
	make1 := func() *Mem {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		if err != nil {
			panic("link: eventfd for a queue in memory: " + err.Error())
		}
		return &Mem{caps: caps, event: fd, in: &memRing{frames: make([]memFrame, memFrames)}}
	}
	a, b = make1(), make1()
	a.peer, b.peer = b, a
	return a, b
}

var errClosed = errors.New("link: the queue is closed")

// Recv copies the next frame into room from p.
func (m *Mem) Recv(p *buf.Pool, f *Frame) (bool, error) {
	r := m.in
	r.Lock()
	defer r.Unlock()
	if r.closed {
		return false, errClosed
	}
	if r.n == 0 {
		var b [8]byte
		_, _ = unix.Read(m.event, b[:])
		return false, nil
	}
	w := &r.frames[r.head]
	r.head = (r.head + 1) % memFrames
	r.n--
	room := p.Room(wire.VirtioLen + len(w.bytes))
	copy(room[wire.VirtioLen:], w.bytes)
	f.Virtio = w.virtio
	f.SetRoom(p, room, wire.VirtioLen, len(w.bytes))
	r.put(w.bytes)
	w.bytes = nil
	return true, nil
}

// Send copies one frame to the other end.
func (m *Mem) Send(vh *wire.VirtioHeader, head []byte, body [][]byte) error {
	r := m.peer.in
	r.Lock()
	defer r.Unlock()
	if r.closed {
		return errClosed
	}
	if r.n == memFrames {
		m.dropped.Add(1)
		return nil
	}
	w := &r.frames[(r.head+r.n)%memFrames]
	r.n++
	w.virtio = wire.VirtioHeader{}
	if m.caps.Offload {
		w.virtio = *vh
	}
	n := len(head)
	for _, p := range body {
		n += len(p)
	}
	w.bytes = append(r.take(n), head...)
	for _, p := range body {
		w.bytes = append(w.bytes, p...)
	}
	if r.n == 1 {
		_, _ = unix.Write(m.peer.event, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
	return nil
}

// Waiting gives the number of frames Recv would give.
func (m *Mem) Waiting() int {
	m.in.Lock()
	defer m.in.Unlock()
	return m.in.n
}

// Dropped gives the frames there was no room for.
func (m *Mem) Dropped() uint64 { return m.dropped.Load() }

// Caps says what the queue pretends to be able to.
func (m *Mem) Caps() Caps { return m.caps }

// FD gives a descriptor that is readable while something waits.
func (m *Mem) FD() int { return m.event }

// Close ends this queue: the device is gone for both ends.
func (m *Mem) Close() error {
	m.in.Lock()
	defer m.in.Unlock()
	if m.in.closed {
		return errClosed
	}
	m.in.closed = true
	return unix.Close(m.event)
}
