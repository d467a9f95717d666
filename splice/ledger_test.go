package splice

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"accd/tcpstack/wire"
)

func entryOf(port uint16, acked, owed, sent int) Entry {
	at := func(n int) wire.Seq { return wire.SeqOf(0xffff_ff00).Add(n) }
	e := Entry{Tuple: tuple, Dir: [2]Held{{at(acked), at(owed), at(sent), 1000}, {at(7), at(7), at(7), 1000}}}
	e.Tuple.SrcPort = port
	return e
}

func readLedger(t *testing.T, mem []byte) []Entry {
	t.Helper()
	got, err := ReadLedger(mem)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestLedgerRoundTrip: what is claimed is listed, updates replace it, a release
// removes it, and the ledgers of one region do not touch each other.
func TestLedgerRoundTrip(t *testing.T) {
	mem := make([]byte, LedgerSize(5))
	all, err := NewLedgers(mem, 2)
	if err != nil {
		t.Fatal(err)
	}
	a, b := entryOf(1, 0, 10, 5), entryOf(2, 0, 0, 0)
	sa, _ := all[0].claim(&a)
	sb, _ := all[1].claim(&b)
	if got := readLedger(t, mem); !slices.Equal(got, []Entry{a, b}) {
		t.Fatalf("listed %+v", got)
	}
	for i := range 3 {
		a = entryOf(1, i, 100, 50)
		all[0].update(sa, &a)
		if got := readLedger(t, mem); !slices.Equal(got, []Entry{a, b}) {
			t.Fatalf("listed %+v", got)
		}
	}
	all[0].release(sa)
	if got := readLedger(t, mem); !slices.Equal(got, []Entry{b}) {
		t.Fatalf("listed %+v", got)
	}
	all[1].release(sb)
	for i := range 5 {
		if _, ok := all[i/2%2|i/4].claim(&a); !ok {
			t.Fatalf("no slot for flow %d of 5", i)
		}
	}
	if _, ok := all[0].claim(&a); ok {
		t.Fatal("more flows than slots")
	}
}

// TestLedgerTorn: a crash at any instruction of an update leaves the old numbers
// or the new ones: the copy that is being written is not the one that is read.
func TestLedgerTorn(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	mem := make([]byte, LedgerSize(1))
	all, err := NewLedgers(mem, 1)
	if err != nil {
		t.Fatal(err)
	}
	last := entryOf(1, 0, 0, 0)
	slot, _ := all[0].claim(&last)
	for range 1000 {
		before := slices.Clone(mem)
		next := entryOf(1, rnd.IntN(1000), rnd.IntN(1000), rnd.IntN(1000))
		all[0].update(slot, &next)
		// Any subset of the bytes but the state may have been written.
		torn := slices.Clone(before)
		for i := range torn {
			if i >= ledgerHeader+slotTuple && rnd.IntN(2) == 0 {
				torn[i] = mem[i]
			}
		}
		if got := readLedger(t, torn); !slices.Equal(got, []Entry{last}) {
			t.Fatalf("torn update reads %+v, want %+v", got, last)
		}
		last = next
	}
}

// TestLedgerUnusable: what is no whole ledger of this version says so.
func TestLedgerUnusable(t *testing.T) {
	mem := make([]byte, LedgerSize(2))
	if got, err := ReadLedger(mem); err != nil || got != nil {
		t.Errorf("an empty region: %v, %v", got, err)
	}
	if _, err := NewLedgers(mem, 3); err == nil {
		t.Error("three ledgers of two slots")
	}
	if _, err := NewLedgers(mem, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadLedger(mem[:len(mem)-1]); err == nil {
		t.Error("a region that is cut off was read")
	}
	mem[8]++
	if _, err := ReadLedger(mem); err == nil {
		t.Error("a region of another version was read")
	}
	mem[0]++
	if _, err := ReadLedger(mem); err == nil {
		t.Error("a region that is no ledger was read")
	}
}

// TestLedgerResets: one RST per end where its RCV.NXT is known, else one for
// each number it can be at.
func TestLedgerResets(t *testing.T) {
	e := entryOf(40000, 0, 5000, 0)
	got := e.Resets()
	if len(got) != 2 || !e.Stuck() {
		t.Fatalf("%d resets, stuck %v", len(got), e.Stuck())
	}
	c, s := got[0], got[1]
	if c.To != Client || c.Tuple != e.Tuple.Reverse() || c.Seq != e.Dir[Server].Acked || c.Ack != e.Dir[Client].Owed || c.Flags != wire.RST|wire.ACK {
		t.Errorf("to the client: %+v", c)
	}
	if s.To != Server || s.Tuple != e.Tuple || s.Seq != e.Dir[Client].Acked || s.Ack != e.Dir[Server].Owed {
		t.Errorf("to the server: %+v", s)
	}
	e = entryOf(40000, 0, 5000, 2500)
	var at []int
	for _, p := range e.Resets()[1:] {
		at = append(at, p.Seq.Sub(e.Dir[Client].Acked))
	}
	if !slices.Equal(at, []int{2500, 0, 1000, 2000}) {
		t.Errorf("resets at %v", at)
	}
	if p := e.Probes()[1]; p.Seq != e.Dir[Client].Acked.Add(-1) || p.Flags != wire.ACK {
		t.Errorf("probe %+v", p)
	}
	if p := e.Answer(Server, e.Dir[Client].Sent); p.Seq != e.Dir[Client].Sent || p.Tuple != e.Tuple {
		t.Errorf("answer %+v", p)
	}
	if e := entryOf(1, 5, 5, 5); e.Stuck() {
		t.Error("nothing is held, but it is stuck")
	}
}
