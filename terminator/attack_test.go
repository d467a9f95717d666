package terminator

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"accd/splice"
	"accd/tcpstack/wire"
	"accd/terminator/link"
)

var packets = flag.Int("packets", 30_000, "how many mutated packets TestFlowUnderAttack sends")

// crowd is downloads through one shard, whose endpoints never lose anything.
type crowd struct {
	transfer // its building and its frames
	members  []*member
	byName   map[wire.Tuple]*member
	want     []byte
}

// member is one connection of a crowd.
type member struct {
	name           wire.Tuple
	isn            uint32 // of both ends
	nxt, una, edge int    // of the server
	got            int    // bytes the client has
	victim         bool   // somebody else speaks in its name: what it gets proves nothing
}

// memberWindow makes the shard's queues some turns long: it is busy all the time.
const memberWindow = 32 << 10

func newCrowd(b *box, n int) *crowd {
	c := &crowd{transfer: transfer{box: b, offload: true, scratch: make([]byte, 66000)}, byName: map[wire.Tuple]*member{}, want: make([]byte, 66000)}
	for i := range n {
		m := &member{name: tupleOf(fmt.Sprintf("10.1.%d.7:%d", i, 40000+i), "192.0.2.9:80"), isn: 1000}
		c.byName[m.name] = m
		c.open(m)
		defer func() { c.members = append(c.members, m) }()
	}
	return c
}

// open begins a connection of m, perhaps another one.
func (c *crowd) open(m *member) {
	m.isn += 1 << 24
	m.nxt, m.una, m.got, m.edge = 0, 0, 0, 0 // no data yet
	ts := clientTS
	c.send(splice.Client, packet{tuple: m.name, flags: wire.SYN, seq: m.isn, window: 65535, options: &synOptions, net: splice.LAN})
	c.settle()
	c.send(splice.Server, packet{tuple: m.name.Reverse(), flags: wire.SYN | wire.ACK, seq: m.isn, ack: m.isn + 1, window: 65535, options: &synAckOptions, net: splice.WAN})
	c.settle()
	c.send(splice.Client, packet{tuple: m.name, flags: wire.ACK, seq: m.isn + 1, ack: m.isn + 1, window: memberWindow >> 7, options: &ts, net: splice.LAN})
	c.settle()
	m.edge = 65535
}

// settle lets what waits in the queues be read.
func (c *crowd) settle() {
	for range 20 {
		c.step()
	}
}

// partial says that the checksum of a frame is left to the device.
func partial(l4 int) wire.VirtioHeader {
	return wire.VirtioHeader{Flags: wire.VirtioNeedsCsum, CsumStart: uint16(l4), CsumOffset: 16}
}

// step lets each endpoint act once, and the shard take one turn.
func (c *crowd) step() {
	const size = 4 * segment
	for _, m := range c.members {
		for m.nxt+size <= m.edge && m.nxt-m.una < memberWindow {
			head := wire.EthLen + wire.HeadersLen(true) + 12
			pattern(c.scratch[head:head+size], m.nxt)
			f, l4 := c.build(m.name.Reverse(), splice.WAN, m.isn+1+uint32(m.nxt), m.isn+1, 512, &serverTS, size)
			vh := partial(l4)
			vh.GSOType, vh.GSOSize, vh.HdrLen = wire.VirtioGSOTCPv4, segment, uint16(head)
			c.put(0, splice.Server, vh, f)
			m.nxt += size
		}
	}
	c.now = c.now.Add(50 * time.Microsecond)
	c.term.shards[0].guarded(c.now)
	for side, end := range c.ends[0] {
		for {
			ok, err := end.Recv(&c.pool, &c.frame)
			if err != nil {
				c.t.Fatal(err)
			}
			if !ok {
				break
			}
			if c.view.Parse(c.frame.Bytes) == wire.KindTCP {
				c.hear(splice.Side(side))
			}
		}
	}
}

// hear gives the frame in view to the endpoint it is for.
func (c *crowd) hear(side splice.Side) {
	v, name := &c.view, c.view.Tuple()
	if side == splice.Client {
		name = name.Reverse()
	}
	m := c.byName[name]
	if m == nil {
		c.t.Fatalf("a frame of nobody: %v", v.Tuple())
	}
	if v.Flags().Any(wire.SYN | wire.RST) {
		if !m.victim && v.Flags().Has(wire.RST) {
			c.t.Fatalf("%v was reset", name)
		}
		return
	}
	if side == splice.Server {
		if una := int(v.Ack().Uint32() - m.isn - 1); una >= m.una && una <= m.nxt {
			m.una = una
			m.edge = max(m.edge, una+int(v.Window())<<7)
		}
		return
	}
	p := v.Payload()
	if len(p) == 0 {
		return
	}
	off := int(v.Seq().Uint32() - m.isn - 1)
	if !m.victim {
		pattern(c.want[:len(p)], off)
		if !bytes.Equal(p, c.want[:len(p)]) {
			c.t.Fatalf("%v: bytes from %d on differ", name, off)
		}
	}
	if off <= m.got && m.got < off+len(p) && off+len(p) <= m.nxt {
		m.got = off + len(p)
	}
	f, l4 := c.build(m.name, splice.LAN, m.isn+1, m.isn+1+uint32(m.got), memberWindow>>7, &clientTS, 0)
	c.put(0, splice.Client, partial(l4), f)
}

// mutate sends a packet in the name of an end of m that is like its genuine ones but
// for some of its numbers.
func (c *crowd) mutate(r *rand.Rand, m *member) {
	steps := [...]int{0, 0, 0, 1, -1, segment, -segment, 64 << 10, -64 << 10, 1 << 20, -1 << 20, 1 << 28, -1 << 28, 1 << 30, -1 << 31}
	step := func() uint32 { return uint32(steps[r.IntN(len(steps))]) }
	side := splice.Side(r.IntN(2))
	tuple, net, opts := m.name, splice.LAN, clientTS
	seq, ack := m.isn+1, m.isn+1+uint32(m.got)
	if side == splice.Server {
		tuple, net, opts = m.name.Reverse(), splice.WAN, serverTS
		seq, ack = m.isn+1+uint32(m.una), m.isn+1
		if r.IntN(2) == 0 {
			seq = m.isn + 1 + uint32(m.nxt)
		}
	}
	flags := wire.ACK
	if r.IntN(3) == 0 {
		flags ^= wire.Flags(r.IntN(256))
	}
	if flags.Has(wire.RST) {
		seq += uint32(1 + r.IntN(1<<20)) // an exact one ends the connection rightly
	}
	if r.IntN(3) == 0 {
		opts.TSVal += step()
		opts.TSEcr += step()
	}
	if r.IntN(6) == 0 {
		opts.Set ^= 1 << r.IntN(8)
	}
	if r.IntN(4) == 0 {
		for i := range 1 + r.IntN(3) {
			left := wire.SeqOf(ack + step())
			opts.SACK[i], opts.NSACK = wire.Block{Left: left, Right: left.Add(1 + r.IntN(1<<16))}, uint8(i+1)
		}
		opts.Set |= wire.HasSACK
	}
	n := 0
	if r.IntN(2) == 0 {
		n = 1 + r.IntN(segment)
	}
	h := wire.Header{
		DstMAC: neighbourMAC(net), Tuple: tuple, TTL: 62, Seq: wire.SeqOf(seq + step()), Ack: wire.SeqOf(ack + step()),
		Flags: flags, Window: uint16(r.IntN(1 << 16)), Options: &opts, PayloadLen: n,
	}
	if r.IntN(4) == 0 {
		h.DstMAC, h.TTL = nic, uint8(r.IntN(6))
	}
	head, l4 := h.Put(c.scratch)
	c.put(0, side, partial(l4), c.scratch[:head+n])
}

// gained gives the bytes that honest clients have got.
func (c *crowd) gained() (n int) {
	for _, m := range c.members {
		if !m.victim {
			n += m.got
		}
	}
	return n
}

// TestFlowUnderAttack: somebody who knows all numbers of a connection sends mutated
// packets in its name, next to 64 honest ones in the same shard: no panic, no honest
// byte corrupted, no honest connection reset, and at least 80 % of their goodput.
func TestFlowUnderAttack(t *testing.T) {
	const honest, perStep, reopen = 64, 32, 5000
	first := *seed
	if first == 0 {
		first = rand.Uint64()
	}
	t.Logf("seed %d", first)
	r := rand.New(rand.NewPCG(first, 0xa77a))
	b := newBoxOn(t, link.Caps{Offload: true, MTU: 65521}, 1, func(cfg *Config) {
		cfg.LedgerMem = make([]byte, splice.LedgerSize(128))
		cfg.Shortcut = invitation
	})
	c := newCrowd(b, honest+1)
	victim := c.members[honest]
	for range 100 {
		c.step()
	}
	victim.victim = true
	const calm = 500
	from := c.gained()
	for range calm {
		c.step()
	}
	quiet := float64(c.gained()-from) / calm

	from = c.gained()
	steps := 0
	for sent := 0; sent < *packets; sent += perStep {
		if sent%reopen < perStep {
			// Another client: one has only so many handshakes.
			n := sent / reopen
			victim.name = tupleOf(fmt.Sprintf("10.%d.%d.%d:40000", 100+n>>16, n>>8&255, n&255), "192.0.2.9:80")
			c.byName[victim.name] = victim
			c.open(victim)
		}
		for range perStep {
			c.mutate(r, victim)
		}
		c.step()
		steps++
	}
	share := float64(c.gained()-from) / float64(steps) / quiet
	st := &Status{Passed: map[string]uint64{}, Dropped: map[string]uint64{}, Reasons: map[string]uint64{}, Rules: map[string]int{}}
	b.term.shards[0].addTo(st)
	t.Logf("%d mutated packets; honest goodput %.0f %%, %d bytes in all; custody began %d times; reasons %v; passed %v", steps*perStep, 100*share, c.gained(), st.Entered, st.Reasons, st.Passed)
	if st.Panics != 0 {
		t.Errorf("%d panics", st.Panics)
	}
	if share < .8 {
		t.Errorf("honest connections have %.0f %% of their goodput", 100*share)
	}
	for _, m := range c.members[:honest] {
		fl := b.term.shards[0].attend(&m.name)
		if fl == nil {
			t.Errorf("%v: the flow is gone; its client has %d bytes", m.name, m.got)
			continue
		}
		if taken, passed := fl.Bytes(splice.Server); taken < 9*passed {
			t.Errorf("%v: %d bytes were in custody and %d passed", m.name, taken, passed)
		}
	}
	if st.Client.Direct == 0 || st.Server.Direct == 0 || st.Dropped["ttl-exceeded"] == 0 {
		t.Errorf("by the shortcut came %d and %d frames; dropped %v", st.Client.Direct, st.Server.Direct, st.Dropped)
	}
	if st.Reasons["unbelieved"] == 0 || st.Reasons["rst-not-exact"] == 0 {
		t.Error("the packets are not like genuine ones")
	}
}
