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
// what the other would have been told passes.
type owners struct {
	seed   uint64
	mask   uint64
	places []atomic.Uint32 // 1 + index of the shard; 0: nobody
}

func (o *owners) init(flows int, seed uint64) {
	n := 1024
	for n < 2*flows && n < 1<<22 {
		n *= 2
	}
	o.seed, o.mask, o.places = seed, uint64(n-1), make([]atomic.Uint32, n)
}

func (o *owners) at(t *wire.Tuple) *atomic.Uint32 {
	h := hash(t.Src[:], o.seed)
	h = hash(t.Dst[:], h)
	h = hash([]byte{byte(t.SrcPort >> 8), byte(t.SrcPort), byte(t.DstPort >> 8), byte(t.DstPort)}, h)
	return &o.places[h&o.mask]
}

func (o *owners) set(t wire.Tuple, shard int) { o.at(&t).Store(uint32(shard + 1)) }

func (o *owners) clear(t wire.Tuple, shard int) {
	o.at(&t).CompareAndSwap(uint32(shard+1), 0)
}

// other gives the shard that has the flow of t, nil if it is s or nobody.
func (s *shard) other(t wire.Tuple) *shard {
	i := s.t.owners.at(&t).Load()
	if i == 0 || int(i-1) == s.index {
		return nil
	}
	return s.t.shards[i-1]
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
