package splice

import (
	"hash/maphash"
	"time"

	"accd/tcpstack"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// Ours.
const (
	ways     = 4                // slots a handshake can be in
	slotLife = 30 * time.Second // a slot untouched for so long is free
	rowSize  = 64               // handshakes for which memory is taken at once
)

// handshakes is a table of fixed size by hash. Memory it takes for as many as there
// were at once: most are over after a round trip, and the next one is kept where
// the last one was, warm in the cache.
type handshakes struct {
	seed  maphash.Seed
	slots []uint32      // 1 + the number of a handshake; 0: free
	rows  [][]handshake // by number; each stays where it is
	spare []uint32      // numbers in no slot, what was given up last at the end
}

func (t *handshakes) init(slots int) {
	n := ways
	for n < slots {
		n *= 2
	}
	t.seed, t.slots = maphash.MakeSeed(), make([]uint32, n)
}

// at gives the handshake with a number.
func (t *handshakes) at(number uint32) *handshake {
	return &t.rows[number/rowSize][number%rowSize]
}

// find gives the handshake of a tuple, touched now. If there is none, free is the slot
// for it: one that is free, or whose handshake was untouched for the longest time;
// -1: none. opens is the client's SYN, nil for other packets.
func (t *handshakes) find(now mono.Time, tuple *wire.Tuple, opens *tcpstack.Segment) (h *handshake, free int) {
	from := int(maphash.Comparable(t.seed, *tuple)) & (len(t.slots) - 1) &^ (ways - 1)
	free = -1
	var oldest mono.Time
	for i := from; i < from+ways; i++ {
		if t.slots[i] == 0 {
			free, oldest = i, 0
			continue
		}
		h := t.at(t.slots[i] - 1)
		if h.tuple == *tuple {
			// A split handshake stays until its place is needed or its client
			// begins anew: its ends have nothing in common.
			anew := opens != nil && (h.synAck.at == 0 || h.syn.iss != opens.Seq)
			if now.Sub(h.touched) < slotLife || h.split && !anew {
				h.touched = now
				return h, i
			}
			t.remove(h)
			free, oldest = i, 0
			continue
		}
		// A split handshake that was answered cannot become native any more.
		bound := h.split && h.synAck.at != 0 && now.Sub(h.touched) < slotLife
		if !bound && (free < 0 || h.touched < oldest) {
			free, oldest = i, h.touched
		}
	}
	return nil, free
}

// put gives the memory for a handshake in a slot; evicted: it holds the one that was
// there.
func (t *handshakes) put(slot int) (h *handshake, evicted bool) {
	if n := t.slots[slot]; n != 0 {
		return t.at(n - 1), true
	}
	if len(t.spare) == 0 {
		first := uint32(len(t.rows) * rowSize)
		t.rows = append(t.rows, make([]handshake, rowSize))
		for n := first + rowSize; n > first; n-- {
			t.spare = append(t.spare, n-1)
		}
	}
	last := len(t.spare) - 1
	n := t.spare[last]
	t.spare = t.spare[:last]
	t.slots[slot] = n + 1
	return t.at(n), false
}

// remove frees the slot of h, whose memory is for the next.
func (t *handshakes) remove(h *handshake) {
	t.spare = append(t.spare, t.slots[h.slot]-1)
	t.slots[h.slot] = 0
}

// each calls do for every handshake.
func (t *handshakes) each(do func(*handshake)) {
	for _, n := range t.slots {
		if n != 0 {
			do(t.at(n - 1))
		}
	}
}
