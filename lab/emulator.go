package lab

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"accd/tcpstack/buf"
	"accd/tcpstack/mono"
	"accd/terminator/link"
)

// framesPerTurn bounds what is read from one device before what is due on the
// other side is delivered.
const framesPerTurn = 64

// Emulator joins two devices by two Links, one per direction.
type Emulator struct {
	queues [2]link.Queue
	links  [2]*Link // links[i] carries what queues[i] gives
	pool   buf.Pool

	mu    sync.Mutex
	stats [2]Stats // of links, as of the last turn
}

// NewEmulator makes an emulator between a and b, whose frames carry virtio-net
// headers. The queues stay the caller's, to be closed after Run.
func NewEmulator(a, b link.Queue, aToB, bToA Path) (*Emulator, error) {
	e := &Emulator{queues: [2]link.Queue{a, b}}
	for i, p := range []Path{aToB, bToA} {
		if !e.queues[i].Caps().Offload || e.queues[i].FD() < 0 {
			return nil, errors.New("lab: emulator: needs taps with virtio-net headers (IFF_VNET_HDR)")
		}
		var err error
		if e.links[i], err = NewLink(p, &e.pool); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// Stats gives the counters of both directions.
func (e *Emulator) Stats() (aToB, bToA Stats) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stats[0], e.stats[1]
}

// Run carries frames until ctx ends, which is not an error, or a device is gone.
func (e *Emulator) Run(ctx context.Context) error {
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("lab: emulator: eventfd: %w", err)
	}
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(woken)
		// Fails only if the counter is full, and then the loop is awake.
		_, _ = unix.Write(wake, []byte{7: 1})
	})
	defer func() {
		if !stop() {
			<-woken
		}
		_ = unix.Close(wake)
	}()

	// The thread is not given back, because its timers are set finer than
	// those of others.
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("lab: emulator: timer slack: %w", err)
	}
	epoch := time.Now()
	fds := []unix.PollFd{
		{Fd: int32(e.queues[0].FD()), Events: unix.POLLIN},
		{Fd: int32(e.queues[1].FD()), Events: unix.POLLIN},
		{Fd: int32(wake), Events: unix.POLLIN},
	}
	for ctx.Err() == nil {
		now := mono.Time(time.Since(epoch))
		more, err := e.turn(now)
		if err != nil {
			return fmt.Errorf("lab: emulator: %w", err)
		}
		if more {
			continue
		}
		var timeout *unix.Timespec
		if d := min(e.links[0].Deadline(), e.links[1].Deadline()); d != mono.Never {
			t := unix.NsecToTimespec(int64(max(0, d.Sub(mono.Time(time.Since(epoch))))))
			timeout = &t
		}
		if _, err := unix.Ppoll(fds, timeout, nil); err != nil && err != unix.EINTR {
			return fmt.Errorf("lab: emulator: poll: %w", err)
		}
	}
	return nil
}

// turn reads what waits and delivers what is due. more says that there was more
// to read.
func (e *Emulator) turn(now mono.Time) (more bool, err error) {
	var f link.Frame
	for i, q := range e.queues {
		n := 0
		for ; n < framesPerTurn; n++ {
			ok, err := q.Recv(&e.pool, &f)
			if err != nil {
				return false, err
			}
			if !ok {
				break
			}
			e.links[i].Enqueue(now, &f.Virtio, f.Ref(0, len(f.Bytes)))
		}
		more = more || n == framesPerTurn
	}
	var body [1][]byte
	for i, l := range e.links {
		for f := l.Dequeue(now); f != nil; f = l.Dequeue(now) {
			body[0] = f.Body.Bytes()
			if err := e.queues[1-i].Send(&f.Virtio, f.Head(), body[:]); err != nil {
				return false, err
			}
		}
	}
	e.mu.Lock()
	e.stats[0], e.stats[1] = e.links[0].Stats(), e.links[1].Stats()
	e.mu.Unlock()
	return more, nil
}
