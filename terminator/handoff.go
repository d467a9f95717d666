package terminator

import (
	"sync"
	"sync/atomic"

	"accd/splice"
	"accd/tcpstack/wire"
	"accd/terminator/link"
)

// owners says which shard has the flow of a tuple, for frames that arrive on
// another: ICMP errors usually, TCP never if the kernel keeps its word. It is a
// table of fixed size by hash. Where two flows meet the later one counts, and
// what the other would have been told passes. A place holds a part of the hash
// too: a handshake that meets an older flow there must not be given away to the
// shard of that.
type owners struct {
	seed   uint64
	mask   uint64
	places []atomic.Uint64 // 0: nobody; else the hash, its lowest bits 1 + index of the shard
}

// shardMask is the part of a place that names a shard, and so how many there may be.
const shardMask = 1<<8 - 1

func (o *owners) init(flows int, seed uint64) {
	n := 1024
	for n < 2*flows && n < 1<<22 {
		n *= 2
	}
	o.seed, o.mask, o.places = seed, uint64(n-1), make([]atomic.Uint64, n)
}

// at gives the place of t, and what it holds if shard has the flow.
func (o *owners) at(t *wire.Tuple, shard int) (place *atomic.Uint64, held uint64) {
	h := hash(t, o.seed)
	return &o.places[h&o.mask], h&^shardMask | uint64(shard+1)
}

func (o *owners) set(t wire.Tuple, shard int) {
	place, held := o.at(&t, shard)
	place.Store(held)
}

func (o *owners) clear(t wire.Tuple, shard int) {
	place, held := o.at(&t, shard)
	place.CompareAndSwap(held, 0)
}

// other gives the shard that has the flow of t, nil if it is s or nobody.
func (s *shard) other(t wire.Tuple) *shard {
	place, mine := s.t.owners.at(&t, s.index)
	held := place.Load()
	if held == 0 || held == mine || (held^mine)&^shardMask != 0 {
		return nil
	}
	return s.t.shards[held&shardMask-1]
}

// parcel is a frame on its way to another shard, copied.
type parcel struct {
	from   splice.Side
	virtio wire.VirtioHeader
	bytes  []byte
}

// inboxSize is how many parcels wait for a shard at most. Ours.
const inboxSize = 256

// inbox is where other shards leave what belongs to this one.
type inbox struct {
	sync.Mutex
	parcels []parcel
}

// hand copies a frame to the shard to; it is dropped if too many wait there.
func (s *shard) hand(to *shard, from splice.Side, f *link.Frame) {
	to.inbox.Lock()
	full := len(to.inbox.parcels) >= inboxSize
	if !full {
		to.inbox.parcels = append(to.inbox.parcels, parcel{from, f.Virtio, append([]byte(nil), f.Bytes...)})
	}
	to.inbox.Unlock()
	if full {
		s.count.reasons[HandoffFull]++
	}
	to.wake()
}

// unpack receives the parcels as if they had been read here.
func (s *shard) unpack() {
	s.inbox.Lock()
	parcels := s.inbox.parcels
	s.inbox.parcels = nil
	s.inbox.Unlock()
	for i := range parcels {
		p := &parcels[i]
		room := s.pool.Room(wire.VirtioLen + len(p.bytes)) // aligned as a tap's frame
		n := copy(room[wire.VirtioLen:], p.bytes)
		s.frame.Virtio = p.virtio
		s.frame.SetRoom(&s.pool, room, wire.VirtioLen, n)
		s.receive(p.from, &s.frame, true)
	}
}
