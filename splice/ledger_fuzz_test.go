package splice

import (
	"bytes"
	"slices"
	"testing"
	"unsafe"

	"accd/tcpstack/wire"
)

// FuzzReadLedger: whatever a crash or a disk left in the region, it is refused or
// lists flows, no more than have a slot, and what is sent for them is bounded.
func FuzzReadLedger(f *testing.F) {
	mem := alignedMemory(LedgerSize(3))
	all, err := NewLedgers(mem, 1)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(bytes.Clone(mem))
	for i := range 3 {
		e := entryOf(uint16(i), 0, 70_000*i, 30_000)
		slot, _ := all[0].claim(&e)
		all[0].update(slot, &e)
		f.Add(bytes.Clone(mem))
	}
	f.Add(mem[:len(mem)-1])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, region []byte) {
		got, err := ReadLedger(region)
		if err != nil && got != nil {
			t.Fatalf("%d flows and %v", len(got), err)
		}
		if len(got)*slotSize > max(0, len(region)-ledgerHeader) {
			t.Fatalf("%d flows in %d bytes", len(got), len(region))
		}
		for _, e := range got {
			e.Stuck()
			if n := len(e.Resets()); n < 2 || n > 2*(1+maxResets) {
				t.Fatalf("%d resets for %+v", n, e)
			}
			for _, p := range e.Probes() {
				if p.Flags != wire.ACK {
					t.Fatalf("probe %+v", p)
				}
			}
		}
	})
}

// FuzzLedger holds the ledger against a map: what was claimed and not released is
// what a successor reads, with the numbers of the last update.
func FuzzLedger(f *testing.F) {
	f.Add([]byte("\x00\x01\x00\x02\x00\x03\x40\x01\x80\x02"))
	f.Add(bytes.Repeat([]byte{0, 7, 0x41, 9, 0x82, 3}, 40))
	f.Fuzz(func(t *testing.T, ops []byte) {
		const slots = 5
		mem := alignedMemory(LedgerSize(slots))
		ledgers, err := NewLedgers(mem, 1)
		if err != nil {
			t.Fatal(err)
		}
		l := ledgers[0]
		want := map[int]Entry{}
		for ; len(ops) >= 2; ops = ops[2:] {
			e := entryOf(uint16(len(ops)), int(ops[1]), 3*int(ops[1]), 2*int(ops[1]))
			slot := int(ops[0]) % slots
			_, held := want[slot]
			switch {
			case ops[0] < 128:
				got, ok := l.claim(&e)
				if _, twice := want[got]; ok == (len(want) == slots) || ok && twice {
					t.Fatalf("slot %d, %v with %d flows listed", got, ok, len(want))
				}
				if ok {
					want[got] = e
				}
			case ops[0] < 200 && held:
				e.Tuple = want[slot].Tuple
				l.update(slot, &e)
				want[slot] = e
			case held:
				l.release(slot)
				delete(want, slot)
			}
			got, err := ReadLedger(mem)
			if err != nil || len(got) != len(want) {
				t.Fatalf("%d flows listed, want %d: %v", len(got), len(want), err)
			}
			for slot, e := range want {
				if !slices.Contains(got, e) {
					t.Fatalf("the flow of slot %d is not listed as %+v", slot, e)
				}
			}
		}
	})
}

// alignedMemory gives memory as a mapped file has it.
func alignedMemory(n int) []byte {
	words := make([]uint64, (n+7)/8)
	return unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), n)
}
