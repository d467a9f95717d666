package splice

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	"accd/tcpstack"
	"accd/tcpstack/wire"
)

var seed = flag.Uint64("seed", 0, "seed of the random tests; 0: a new one")

// mutant is a flow between two endpoints that a byte string drives: what they say
// to each other, when, and what somebody who knows all numbers says in their name.
// Forged data are the right bytes for the place they claim, so that whatever accd
// sends can be compared.
type mutant struct {
	*rig
	sent, got [2]int // by side: bytes it sent, and has in order
}

// opSize is how many bytes of the string make one step.
const opSize = 7

// steps are where a mutation moves a number to.
var steps = [...]int{0, 1, -1, 100, -100, 1448, -1448, 64 << 10, -64 << 10, 65535, 1 << 20, -1 << 20, 1 << 28, -1 << 28, 1 << 30, -1 << 31}

// deliver lets an endpoint take what reached it.
func (m *mutant) deliver(to Side, off, n int) {
	if off <= m.got[to] && m.got[to] < off+n && off+n <= m.sent[to.Other()] {
		m.got[to] = off + n
	}
}

// say gives a segment to the flow, and what comes of it to the endpoints.
func (m *mutant) say(from Side, s *tcpstack.Segment) {
	off, n := s.Seq.Sub(m.isn[from].Add(1)), s.Payload.Len()
	if m.give(from, s) == Pass {
		m.deliver(from.Other(), off, n)
	}
	m.hear()
}

// hear gives the endpoints what accd has sent.
func (m *mutant) hear() {
	for _, p := range m.out {
		m.deliver(p.to, p.seq, len(p.data))
	}
	m.out = m.out[:0]
}

// step does one.
func (m *mutant) step(b []byte) {
	from := Side(b[0] & 1)
	other := from.Other()
	switch op := b[0] >> 1; {
	case op < 24: // data, with what the endpoint has to acknowledge
		n := 1 + int(b[1])*6
		m.say(from, m.seg(from, m.sent[from], n, m.got[from]))
		m.sent[from] += n
	case op < 48:
		m.say(from, m.seg(from, m.sent[from], 0, m.got[from]))
	case op < 56: // again, from what the other end has
		n := min(1448, m.sent[from]-m.got[other])
		m.say(from, m.seg(from, m.got[other], max(n, 0), m.got[from]))
	case op < 64:
		m.advance(time.Duration(b[1]) * time.Millisecond)
		m.hear()
	case op == 64 && b[1] < 16:
		m.flow.Gap(m.now)
		m.turn()
		m.hear()
	case op == 65 && b[1] < 16:
		m.flow.Drain(m.now, Urgent+Reason(b[2])%(Finished-Urgent))
		m.turn()
		m.hear()
	case op == 66 && b[1] < 16:
		m.flow.PacketTooBig(m.now, from, m.isn[other].Add(1+m.got[from]+steps[b[2]%16]), int(b[3])*8)
		m.turn()
		m.hear()
	default:
		m.say(from, m.mutate(from, b))
	}
}

// mutate makes a segment of the endpoint from that it did not send.
func (m *mutant) mutate(from Side, b []byte) *tcpstack.Segment {
	seq := m.sent[from]
	if b[1]&1 != 0 {
		seq = m.got[from.Other()]
	}
	n := 0
	if b[1]&2 != 0 {
		n = 1 + int(b[6])*40
	}
	stamp := m.stamp
	s := m.seg(from, seq+steps[b[2]%16], n, m.got[from]+steps[b[2]>>4])
	m.stamp = stamp
	if b[1]&4 != 0 {
		s.Flags ^= wire.Flags(b[3])
	}
	if b[1]&8 != 0 {
		s.Window = uint16(b[4]) << 8
	}
	if b[1]&16 != 0 {
		s.Options.TSVal += uint32(steps[b[5]%16])
		s.Options.TSEcr += uint32(steps[b[5]>>4])
	}
	if b[1]&32 != 0 {
		s.Options.Set ^= wire.OptionSet(1) << (b[4] % 12)
	}
	if b[1]&64 != 0 {
		for i := range int(b[3] % 5) {
			left := m.isn[from.Other()].Add(1 + m.got[from] + steps[(b[5]+byte(i))%16])
			s.Options.SACK[i%4] = wire.Block{Left: left, Right: left.Add(steps[b[6]%16])}
			s.Options.NSACK = uint8(min(i+1, 4))
			s.Options.Set |= wire.HasSACK
		}
	}
	return s
}

// mutated drives a flow from its handshake to its end. The rig fails it if accd sends
// a wrong byte or does not stop sending.
func mutated(t *testing.T, data []byte) Counters {
	t.Helper()
	r := newRig(t)
	if len(data) > 0 {
		r.opts = allOptions &^ (wire.OptionSet(data[0]) & (wire.HasWScale | wire.HasSACKPermitted | wire.HasTS))
		if r.opts&wire.HasWScale == 0 {
			r.scale = [2]uint8{}
		}
	}
	r.trusted = false
	r.pool.Budget = 8 << 20
	if !r.handshake() {
		t.Fatal("no record")
	}
	m := &mutant{rig: r}
	for ; len(data) >= opSize && r.flow.State() != Gone; data = data[opSize:] {
		m.step(data)
		if n := r.flow.Held(); n[0] < 0 || n[1] < 0 {
			t.Fatalf("held %v", n)
		}
	}
	r.flow.Kill(r.now)
	r.turn()
	r.out = nil
	r.advance(time.Minute)
	r.out = nil
	if s := r.flow.State(); s != Gone && s != OnWire {
		t.Errorf("after Kill it is in %v", s)
	}
	r.flow.Replace()
	r.done()
	return r.count
}

// FuzzFlow: nobody who says anything in the name of either endpoint makes a Flow
// panic, send a byte that is not the stream's, send without end, or keep memory.
func FuzzFlow(f *testing.F) {
	f.Add([]byte{0, 0})
	rnd := rand.New(rand.NewPCG(1, 0xf1))
	for range 8 {
		data := make([]byte, 100*opSize)
		for i := range data {
			data[i] = byte(rnd.Uint32())
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) { mutated(t, data[:min(len(data), 2000*opSize)]) })
}

// TestFlowMutated is FuzzFlow at random.
func TestFlowMutated(t *testing.T) {
	first, runs := *seed, 1
	if first == 0 {
		first, runs = rand.Uint64(), 300
	}
	var s uint64
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("replay: go test ./splice -run '^TestFlowMutated$' -seed %d", s)
		}
	})
	var entered, adopted, drained uint64
	for i := range runs {
		s = first + uint64(i)
		rnd := rand.New(rand.NewPCG(s, 0xf2))
		data := make([]byte, (1+rnd.IntN(400))*opSize)
		for i := range data {
			data[i] = byte(rnd.Uint32())
		}
		c := mutated(t, data)
		if t.Failed() {
			return
		}
		entered, adopted = entered+c.Entered, adopted+c.Adopted
		for why := Urgent; why < Finished; why++ {
			drained += c.By[why]
		}
	}
	t.Logf("seed %d: custody began %d times, %d from a shadow, and drained %d times", first, entered, adopted, drained)
	if runs > 1 && (entered < 100 || drained < 50) {
		t.Error("this shows little")
	}
}
