package terminator

import (
	"encoding/binary"
	"errors"
	"math/bits"

	"accd/splice"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// place is a connection in the shard's table. It holds no pointers, and while the
// connection is idle it is all there is of it.
type place struct {
	next   uint32 // 1 + the next place of the bucket; 0: none
	flow   uint32 // 1 + the number of the flow that attends to it; 0: it rests
	ruling uint32 // of the policy
	gaps   uint32 // of the shard's, that it knows of
	heard  mono.Time
	splice.Record
	serial uint64  // unique within the shard
	_      [8]byte // whole cache lines: a packet that passes needs three of the five
}

// places is the shard's table: a dense row of places, found by linear hashing
// (Litwin, 1980). With each place some buckets come, by splitting those whose turn
// it is, and with each that goes they merge again: it never stands still to grow.
// When a place is given up the last one moves there.
type places struct {
	row     array[place]
	buckets array[uint32] // 1 + the first place; 0: none
	level   int           // the largest power of two up to the number of buckets
	seed    uint64
	serial  uint64
}

// spread is how many buckets there are for a place: a lookup that finds compares
// one place and an eighth on average.
const spread = 4

// reserve makes the table empty, for up to most places.
func (t *places) reserve(most int, seed uint64) error {
	t.seed = seed
	if err := t.row.reserve(most); err != nil {
		return err
	}
	if err := t.buckets.reserve(most*spread + 1); err != nil {
		t.row.free()
		return err
	}
	if !t.buckets.room(1) {
		t.free()
		return errors.New("terminator: no memory for a table of flows")
	}
	t.buckets.push()
	t.level = 1
	return nil
}

func (t *places) free() {
	t.row.free()
	t.buckets.free()
}

// len gives the number of places.
func (t *places) len() int { return t.row.n }

// at gives a place. It may move when another is removed.
func (t *places) at(i uint32) *place { return t.row.at(i) }

// bucket gives the bucket of a hash.
func (t *places) bucket(h uint64) *uint32 {
	b := int(h) & (2*t.level - 1)
	if b >= t.buckets.n {
		b -= t.level
	}
	return t.buckets.at(uint32(b))
}

// find gives the place of a client's tuple.
func (t *places) find(client *wire.Tuple) (i uint32, ok bool) {
	for at := *t.bucket(hash(client, t.seed)); at != 0; {
		p := t.at(at - 1)
		if p.Tuple == *client {
			return at - 1, true
		}
		at = p.next
	}
	return 0, false
}

// room reports whether there is memory for one more.
func (t *places) room() bool { return t.row.room(1) && t.buckets.room(spread) }

// add makes a place for rec, for which there is room and no other yet.
func (t *places) add(rec *splice.Record, now mono.Time) uint32 {
	i := t.row.push()
	for range spread {
		t.split()
	}
	p := t.at(i)
	p.Record = *rec
	t.renew(p, now)
	b := t.bucket(hash(&rec.Tuple, t.seed))
	p.next, *b = *b, i+1
	return i
}

// renew makes p that of another connection.
func (t *places) renew(p *place, now mono.Time) {
	t.serial++
	p.serial, p.heard = t.serial, now
}

// remove gives up place i. The last one moves there, unless it is that itself;
// moved is where it is now.
func (t *places) remove(i uint32) (moved *place) {
	t.unlink(i)
	if last := uint32(t.row.n - 1); last != i {
		*t.link(last) = i + 1
		moved = t.at(i)
		*moved = *t.at(last)
	}
	t.row.pop()
	for range spread {
		t.merge()
	}
	return moved
}

// partPlaces is how many places are looked at in one turn: a shard that looked at all
// of a full table would stand still for so long that its flows drain. Ours.
const partPlaces = 4096

// part calls do for some places before end, -1 for the end of the table, and gives
// where the rest ends; 0: there is none. From the end on, nothing is missed that moves
// when others leave meanwhile, but it may be seen twice.
func (t *places) part(end int, do func(*place)) (rest int) {
	if n := t.len(); end < 0 || end > n {
		end = n
	}
	rest = max(0, end-partPlaces)
	for i := end - 1; i >= rest; i-- {
		do(t.at(uint32(i)))
	}
	return rest
}

// link gives what refers to place i: its bucket, or the place before it.
func (t *places) link(i uint32) *uint32 {
	at := t.bucket(hash(&t.at(i).Tuple, t.seed))
	for *at != i+1 {
		at = &t.at(*at - 1).next
	}
	return at
}

func (t *places) unlink(i uint32) {
	at := t.link(i)
	*at = t.at(i).next
}

// split adds a bucket and moves to it what belongs there of the one whose turn it is.
func (t *places) split() {
	from := t.buckets.at(uint32(t.buckets.n - t.level))
	to := t.buckets.at(t.buckets.push())
	for *from != 0 {
		p := t.at(*from - 1)
		if int(hash(&p.Tuple, t.seed))&t.level == 0 {
			from = &p.next
			continue
		}
		*to, *from, p.next = *from, p.next, 0
		to = &p.next
	}
	if t.buckets.n == 2*t.level {
		t.level *= 2
	}
}

// merge undoes the last split.
func (t *places) merge() {
	if t.buckets.n == t.level {
		t.level /= 2
	}
	last := *t.buckets.at(uint32(t.buckets.n - 1))
	t.buckets.pop()
	at := t.buckets.at(uint32(t.buckets.n - t.level))
	for *at != 0 {
		at = &t.at(*at - 1).next
	}
	*at = last
}

// hash mixes a tuple with a seed that nobody outside knows, so that nobody can
// choose tuples that meet.
func hash(t *wire.Tuple, seed uint64) uint64 {
	ports := uint64(t.SrcPort)<<16 | uint64(t.DstPort)
	return fold(hashAddr(&t.Dst, hashAddr(&t.Src, seed))^ports, 0x9e3779b97f4a7c15)
}

func hashAddr(a *wire.Addr, seed uint64) uint64 {
	return fold(binary.LittleEndian.Uint64(a[:8])^seed, binary.LittleEndian.Uint64(a[8:])^0xd1342543de82ef95)
}

// fold multiplies and keeps both halves of the product.
func fold(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}
