package splice

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"accd/tcpstack/wire"
)

// The ledger is a region of shared memory that lists every flow in custody, so
// that whoever comes after a crash can reset what nobody can deliver any more
// (docs/custody.md, The ledger). It is read on the machine that wrote it, so
// words are in native byte order.
//
//	header   0  magic "accdledg"       8  version        12  slots
//	slot     0  state: 0 free, 1 the first copy holds, 2 the second copy holds
//	         4  tuple, client → server: addresses 16 + 16, ports 2 + 2
//	        40  1 if the flow is split
//	        48  first copy: per direction acked, owed, sent, segment size
//	        80  second copy
//
// Slots follow the header, 128 bytes each. An update writes the copy that does
// not hold and then the state, in one store: a crash between any two
// instructions leaves the old numbers or the new ones. The magic is written
// last, so that a region half made is no ledger.
const (
	ledgerVersion = 2
	ledgerHeader  = 64
	slotSize      = 128
	slotTuple     = 4
	slotSplit     = 40
	slotCopy      = 48
	copySize      = 32
)

var ledgerMagic = [8]byte{'a', 'c', 'c', 'd', 'l', 'e', 'd', 'g'}

// LedgerSize gives the bytes a region for so many flows needs.
func LedgerSize(slots int) int { return ledgerHeader + slots*slotSize }

// Ledger is the part of a region that one shard writes.
type Ledger struct {
	mem  []byte   // of its slots
	free []uint32 // a stack of slots
}

// NewLedgers makes the region mem empty and gives n ledgers that share it
// evenly. Read what mem holds before.
func NewLedgers(mem []byte, n int) ([]*Ledger, error) {
	slots := (len(mem) - ledgerHeader) / slotSize
	if n < 1 || slots < n {
		return nil, fmt.Errorf("splice: ledger of %d bytes has no slot for each of %d shards: make it LedgerSize of the flows in custody at once", len(mem), n)
	}
	if uintptr(unsafe.Pointer(&mem[0]))%8 != 0 {
		return nil, errors.New("splice: ledger memory is not aligned to 8 bytes: map it, do not slice it")
	}
	clear(mem)
	binary.NativeEndian.PutUint32(mem[8:], ledgerVersion)
	binary.NativeEndian.PutUint32(mem[12:], uint32(slots))
	all := make([]*Ledger, n)
	for i := range all {
		from, to := i*slots/n, (i+1)*slots/n
		l := &Ledger{mem: mem[ledgerHeader+from*slotSize : ledgerHeader+to*slotSize]}
		for k := to - from - 1; k >= 0; k-- {
			l.free = append(l.free, uint32(k))
		}
		all[i] = l
	}
	// In one store: half a magic would be no ledger.
	atomic.StoreUint64((*uint64)(unsafe.Pointer(&mem[0])), binary.NativeEndian.Uint64(ledgerMagic[:]))
	return all, nil
}

// Entry is one listed flow.
type Entry struct {
	Tuple wire.Tuple // client → server
	Split bool       // the legs have agreed on different things: without accd it cannot go on
	Dir   [2]Held    // by the side that sends
}

// Held is what accd holds of one direction, and what the receiving end expects.
type Held struct {
	Acked wire.Seq // by the receiver, as far as accd heard: at least RCV.NXT then
	Owed  wire.Seq // acknowledged to the sender
	Sent  wire.Seq // by accd to the receiver: at most its RCV.NXT now
	MSS   int      // bytes of a full segment towards the receiver
}

// Bytes gives the bytes that were acknowledged and not delivered.
func (h *Held) Bytes() int { return max(0, h.Owed.Sub(h.Acked)) }

// claim gives a slot to a flow.
func (l *Ledger) claim(e *Entry) (slot int, ok bool) {
	n := len(l.free)
	if n == 0 {
		return -1, false
	}
	slot = int(l.free[n-1])
	l.free = l.free[:n-1]
	m := l.slot(slot)
	t := m[slotTuple:]
	copy(t, e.Tuple.Src[:])
	copy(t[16:], e.Tuple.Dst[:])
	binary.NativeEndian.PutUint16(t[32:], e.Tuple.SrcPort)
	binary.NativeEndian.PutUint16(t[34:], e.Tuple.DstPort)
	m[slotSplit] = 0
	if e.Split {
		m[slotSplit] = 1
	}
	e.put(m[slotCopy:])
	atomic.StoreUint32(slotState(m), 1)
	return slot, true
}

// update replaces the numbers of a slot.
func (l *Ledger) update(slot int, e *Entry) {
	m := l.slot(slot)
	state := slotState(m)
	next := 3 - *state // only this process writes
	e.put(m[slotCopy+int(next-1)*copySize:])
	atomic.StoreUint32(state, next)
}

// release takes a flow off the ledger.
func (l *Ledger) release(slot int) {
	atomic.StoreUint32(slotState(l.slot(slot)), 0)
	l.free = append(l.free, uint32(slot))
}

func (l *Ledger) slot(i int) []byte { return l.mem[i*slotSize : (i+1)*slotSize] }

func slotState(m []byte) *uint32 { return (*uint32)(unsafe.Pointer(&m[0])) }

func (e *Entry) put(b []byte) {
	for i := range e.Dir {
		d, b := &e.Dir[i], b[16*i:]
		binary.NativeEndian.PutUint32(b, d.Acked.Uint32())
		binary.NativeEndian.PutUint32(b[4:], d.Owed.Uint32())
		binary.NativeEndian.PutUint32(b[8:], d.Sent.Uint32())
		binary.NativeEndian.PutUint32(b[12:], uint32(d.MSS))
	}
}

func (e *Entry) get(b []byte) {
	for i := range e.Dir {
		d, b := &e.Dir[i], b[16*i:]
		d.Acked = wire.SeqOf(binary.NativeEndian.Uint32(b))
		d.Owed = wire.SeqOf(binary.NativeEndian.Uint32(b[4:]))
		d.Sent = wire.SeqOf(binary.NativeEndian.Uint32(b[8:]))
		d.MSS = int(binary.NativeEndian.Uint32(b[12:]))
	}
}

// ErrNoLedger says that a region is damaged, or something else.
var ErrNoLedger = errors.New("splice: not a ledger")

// ReadLedger gives the flows that a region lists. The region of a process that
// died while making it lists nothing.
func ReadLedger(mem []byte) ([]Entry, error) {
	if len(mem) < ledgerHeader || [8]byte(mem) == [8]byte{} {
		return nil, nil
	}
	if [8]byte(mem) != ledgerMagic {
		return nil, ErrNoLedger
	}
	if v := binary.NativeEndian.Uint32(mem[8:]); v != ledgerVersion {
		return nil, fmt.Errorf("splice: ledger of version %d, this is version %d: run the cleanup of the accd that wrote it", v, ledgerVersion)
	}
	slots := int(binary.NativeEndian.Uint32(mem[12:]))
	if LedgerSize(slots) > len(mem) {
		return nil, fmt.Errorf("%w: one of %d slots is cut off at %d bytes", ErrNoLedger, slots, len(mem))
	}
	var all []Entry
	for i := range slots {
		m := mem[ledgerHeader+i*slotSize:][:slotSize]
		state := binary.NativeEndian.Uint32(m)
		if state != 1 && state != 2 {
			continue
		}
		var e Entry
		t := m[slotTuple:]
		copy(e.Tuple.Src[:], t)
		copy(e.Tuple.Dst[:], t[16:])
		e.Tuple.SrcPort = binary.NativeEndian.Uint16(t[32:])
		e.Tuple.DstPort = binary.NativeEndian.Uint16(t[34:])
		e.Split = m[slotSplit] == 1
		e.get(m[slotCopy+int(state-1)*copySize:])
		all = append(all, e)
	}
	return all, nil
}

// Stuck reports whether the flow has held bytes, or is split: without a reset it
// hangs on both sides for ever. The others go on by themselves.
func (e *Entry) Stuck() bool {
	return e.Split || e.Dir[Client].Bytes() > 0 || e.Dir[Server].Bytes() > 0
}

// ResetPacket describes an RST, or the question that tells its number.
type ResetPacket struct {
	To       Side
	Tuple    wire.Tuple // Src is the endpoint it speaks for
	Seq, Ack wire.Seq
	Flags    wire.Flags
}

// maxResets bounds the RSTs for one end whose RCV.NXT is not known exactly.
const maxResets = 256

// Resets gives the RSTs that end the flow at both ends. An end accepts an RST
// only at exactly its RCV.NXT (RFC 5961, 3.2). Where accd had nothing in flight
// to it that is one number and one RST; else it is where a segment ended, so
// there is an RST for the highest byte sent, the lowest acknowledged, and the
// ends of full segments between.
func (e *Entry) Resets() []ResetPacket {
	var all []ResetPacket
	for _, to := range [2]Side{Client, Server} {
		h := &e.Dir[to.Other()]
		p := e.packet(to, wire.RST|wire.ACK)
		p.Seq = wire.MaxSeq(h.Sent, h.Acked)
		all = append(all, p)
		step, first := max(h.MSS, 1), len(all)
		for n := h.Acked; n.Less(h.Sent) && len(all)-first < maxResets; n = n.Add(step) {
			p.Seq = n
			all = append(all, p)
		}
	}
	return all
}

// Probes gives, for each end, a packet that makes it say its RCV.NXT: one
// without data before its window (RFC 9293, 3.10.7.4). Who sees the answer calls
// Answer.
func (e *Entry) Probes() []ResetPacket {
	var all []ResetPacket
	for _, to := range [2]Side{Client, Server} {
		p := e.packet(to, wire.ACK)
		p.Seq = e.Dir[to.Other()].Acked.Add(-1)
		all = append(all, p)
	}
	return all
}

// Answer gives the RST for an end that has sent a segment with ack: it accepts
// exactly that number.
func (e *Entry) Answer(from Side, ack wire.Seq) ResetPacket {
	p := e.packet(from, wire.RST|wire.ACK)
	p.Seq = ack
	return p
}

func (e *Entry) packet(to Side, flags wire.Flags) ResetPacket {
	p := ResetPacket{To: to, Tuple: e.Tuple, Ack: e.Dir[to].Owed, Flags: flags}
	if to == Client {
		p.Tuple = e.Tuple.Reverse()
	}
	return p
}
