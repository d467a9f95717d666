package terminator

import (
	"math"
	"sync/atomic"

	"accd/tcpstack/wire"
	"accd/terminator/link"
)

// Ours: how many frames wait in an outbox at most, and how many keep a deputy busy.
const (
	outboxSize   = 64
	outboxEnough = 16
)

// outbox is frames for one tap that one shard has made and any may write: in order,
// and each by whoever holds the pen. While it is empty nobody does, and its shard
// writes to the tap directly.
type outbox struct {
	queue   link.Queue
	pen     atomic.Bool   // somebody writes
	made    atomic.Uint64 // frames put in,
	written atomic.Uint64 // and of them, written
	frames  [outboxSize]outgoing
}

// outgoing is a frame as link.Queue.Send takes it. What body refers to is lent by the
// pool of the shard.
type outgoing struct {
	virtio wire.VirtioHeader
	head   [wire.MaxHeader]byte
	n      int // bytes of head
	body   [][]byte
	loan   uint64
}

// len gives the number of frames that are not written yet.
func (o *outbox) len() int { return int(o.made.Load() - o.written.Load()) }

// put puts a frame behind the others; there is room. Only its shard does.
func (o *outbox) put(vh *wire.VirtioHeader, head []byte, body [][]byte, loan uint64) {
	at := o.made.Load()
	f := &o.frames[at%outboxSize]
	f.virtio, f.loan = *vh, loan
	f.n = copy(f.head[:], head)
	f.body = append(f.body[:0], body...)
	o.made.Store(at + 1)
}

// write writes up to most frames, unless somebody does already, and gives how many.
// That the tap is gone the shard notices when it reads.
func (o *outbox) write(most int) (n int) {
	if o.len() == 0 || !o.pen.CompareAndSwap(false, true) {
		return 0
	}
	at := o.written.Load()
	for ; n < most && at != o.made.Load(); n++ {
		f := &o.frames[at%outboxSize]
		_ = o.queue.Send(&f.virtio, f.head[:f.n], f.body)
		clear(f.body)
		at++
		o.written.Store(at)
	}
	o.pen.Store(false)
	return n
}

// finish writes all frames, those that somebody else has begun to write excepted,
// for which it waits.
func (o *outbox) finish() {
	for o.len() > 0 {
		if o.write(outboxSize) == 0 {
			link.Yield()
		}
	}
}

// loan gives the last loan before that of the first frame that is not written. Only
// its shard asks.
func (o *outbox) loan() uint64 {
	at := o.written.Load()
	if at == o.made.Load() {
		return math.MaxUint64
	}
	return o.frames[at%outboxSize].loan - 1
}
