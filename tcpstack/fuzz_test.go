package tcpstack_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"accd/tcpstack"
	"accd/tcpstack/buf"
	"accd/tcpstack/mono"
	"accd/tcpstack/simnet"
	"accd/tcpstack/wire"
)

// FuzzPair lets the fuzzer choose a network by its seed and bend the impairments
// of it: two endpoints exchange their streams, byte for byte, and both end.
func FuzzPair(f *testing.F) {
	for seed := range uint64(16) {
		f.Add(seed, byte(seed), byte(seed*5), byte(seed*11))
	}
	f.Fuzz(func(t *testing.T, seed uint64, loss, reorder, duplicate byte) {
		c := simnet.Random(seed)
		for _, i := range []*simnet.Impairments{&c.Near.Out, &c.Near.Back} {
			i.Loss = float64(loss) / 255 * 0.15
			i.Reorder = float64(reorder) / 255 * 0.5
			i.ReorderBy = max(i.ReorderBy, time.Millisecond)
			i.Duplicate = float64(duplicate) / 255 * 0.5
		}
		if err := simnet.RunPair(simnet.New(seed), c); err != nil {
			t.Fatalf("seed %d, loss %.3f, reordering %.3f, duplication %.3f: %v", seed,
				c.Near.Out.Loss, c.Near.Out.Reorder, c.Near.Out.Duplicate, err)
		}
	})
}

// FuzzConn does to one Conn what the fuzzer says, segments and commands, and
// holds it to what its peer must never see: an acknowledgment or a window that
// goes back, wrong bytes, bytes beyond the stream, sending without end.
func FuzzConn(f *testing.F) {
	f.Add([]byte{0})
	f.Add([]byte("\x03 two ends and what lies between them, 123456789 \xff\x80\x7f\x00"))
	for i := range byte(8) {
		b := []byte{i}
		for j := range byte(200) {
			b = append(b, j*i+j, j^i, j*j)
		}
		f.Add(b)
	}
	// Every way to begin, with whatever comes then.
	for i := range 64 {
		b := []byte{byte(i * 14), byte(i), byte(2 + i%2 + i*4)}
		d := rand.New(rand.NewPCG(uint64(i), 0))
		for range 600 {
			b = append(b, byte(d.Uint32()))
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		r := &reader{b: script}
		c := newFuzzed(t, r)
		for len(r.b) > 0 {
			c.step(r)
			c.turn()
		}
		c.done()
	})
}

// reader hands out the fuzzer's bytes, zeros behind their end.
type reader struct{ b []byte }

func (r *reader) u8() byte {
	if len(r.b) == 0 {
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) u16() int { return int(r.u8())<<8 | int(r.u8()) }

// fuzzed is a Conn and what its peer has seen of it.
type fuzzed struct {
	t       *testing.T
	pool    buf.Pool
	in, out tcpstack.Stream
	conn    tcpstack.Conn
	cfg     tcpstack.Config
	snap    tcpstack.Snapshot
	now     mono.Time
	pkt     tcpstack.Packet
	ack     wire.Seq
	edge    wire.Seq
	scale   uint8
	stamp   uint32
	reset   bool
	opening bool // the handshake goes on
	heard   bool // ack and edge are known
}

func newFuzzed(t *testing.T, r *reader) *fuzzed {
	kind := r.u8()
	c := &fuzzed{t: t, now: mono.Time(time.Hour), scale: kind >> 4 & 7, stamp: 1000}
	c.cfg = tcpstack.Config{Relay: kind&1 != 0, Buffer: 1 << (10 + r.u8()%10)}
	iss, irs := wire.SeqOf(1<<32-5000), wire.SeqOf(1<<31-5000)
	c.snap = tcpstack.Snapshot{
		MSS: 1460, SndScale: 3, RcvScale: c.scale, SACK: kind&2 != 0, Timestamps: kind&4 != 0,
		SndUna: iss, SndNxt: iss, SndWnd: 20000, RcvNxt: irs, RcvEdge: irs.Add(c.cfg.Buffer),
		TSRecent: c.stamp, TSRecentAge: c.now, TSVal: 77,
	}
	c.ack, c.edge = irs, irs
	start := r.u8()
	c.opening = !c.cfg.Relay && start&3 > 1
	if !c.opening {
		c.heard = true
		c.conn.Resume(c.now, &c.snap, &c.in, &c.out, &c.cfg)
		return c
	}
	c.cfg.HoldAnswer, c.cfg.NoSACK, c.cfg.NoTimestamps = start&4 != 0, kind&2 == 0, kind&4 == 0
	c.cfg.WindowScale, c.cfg.NoWindowScale = c.scale, start&8 != 0
	c.cfg.KeepAlive = tcpstack.KeepAlive{On: start&16 != 0, Idle: time.Minute}
	if start&32 != 0 {
		c.cfg.UserTimeout = time.Minute
	}
	if start&3 == 2 {
		c.conn.Dial(c.now, wire.Tuple{}, iss.Add(-1), &c.in, &c.out, &c.cfg)
		return c
	}
	s := tcpstack.Segment{Seq: irs.Add(-1), Flags: wire.SYN, Window: uint16(r.u16())}
	c.offer(r, &s)
	if start&64 != 0 {
		s.Payload = c.pool.Copy(make([]byte, 1+r.u16()%4000))
	}
	c.conn.Accept(c.now, wire.Tuple{}, iss.Add(-1), &s, &c.in, &c.out, &c.cfg)
	return c
}

// offer puts options on a SYN.
func (c *fuzzed) offer(r *reader, s *tcpstack.Segment) {
	s.Options.Set |= wire.OptionSet(r.u8()) & (wire.HasMSS | wire.HasWScale | wire.HasSACKPermitted)
	s.Options.MSS, s.Options.WScale = uint16(r.u16()), r.u8()
	if c.snap.Timestamps {
		s.Options.Set, s.Options.TSVal = s.Options.Set|wire.HasTS, c.stamp
	}
}

// pattern is the byte at an offset of what the Conn sends.
func pattern(off uint64) byte { return byte(off*7 + off>>8) }

func (c *fuzzed) step(r *reader) {
	op := r.u8()
	switch op % 16 {
	case 0, 1, 2, 3, 4, 5, 6:
		c.segment(r, op)
	case 7:
		n := r.u16() % 20000
		if b := c.pool.Room(n); !c.out.Closed() && c.out.Len() < 1<<20 && n > 0 {
			for i := range b {
				b[i] = pattern(c.out.End() + uint64(i))
			}
			c.out.Append(c.pool.Keep(0, n))
		}
	case 8:
		c.in.Discard(c.in.Base() + uint64(min(r.u16(), c.in.Len())))
	case 9:
		c.now = c.now.Add(time.Duration(r.u16()) * 100 * time.Microsecond)
		c.conn.Expire(c.now)
	case 10:
		if at := c.conn.Deadline(); at != mono.Never {
			c.now = max(c.now, at)
			c.conn.Expire(c.now)
		}
	case 11:
		c.conn.PacketTooBig(c.now, c.conn.SndUna().Add(r.u16()-30), r.u16())
	case 12:
		c.command(r.u8(), r)
	case 13:
		if op > 200 {
			c.out.Close()
		}
	case 14:
		c.conn.Probe()
	case 15:
		if op == 255 {
			c.conn.Abort()
			c.reset = true
		}
	}
}

// segment gives the Conn one near what it expects.
func (c *fuzzed) segment(r *reader, op byte) {
	var s tcpstack.Segment
	kinds := [8]wire.Flags{wire.ACK, wire.ACK, wire.ACK, wire.PSH | wire.ACK, wire.FIN | wire.ACK, wire.URG | wire.ACK, wire.SYN, wire.RST}
	s.Flags = kinds[r.u8()%8]
	if s.Flags&(wire.SYN|wire.RST) != 0 && op < 128 {
		s.Flags = wire.ACK
	}
	if c.conn.State() == tcpstack.SynSent && op&2 != 0 {
		s.Flags |= wire.SYN
	}
	if s.Flags.Has(wire.SYN) {
		c.offer(r, &s)
	}
	if s.Flags.Has(wire.URG) {
		s.Urgent = uint16(r.u16())
	}
	s.Seq, s.Ack = c.conn.RcvNxt(), c.conn.SndUna()
	if op&16 != 0 {
		s.Seq = s.Seq.Add(r.u16() - 20000)
	}
	switch op & 96 {
	case 32:
		s.Ack = c.conn.SndNxt()
	case 64:
		s.Ack = s.Ack.Add(r.u16() - 3000)
	case 96:
		s.Ack = s.Ack.Add(r.u16() % (c.conn.SndNxt().Sub(c.conn.SndUna()) + 1))
	}
	s.Window = uint16(r.u16())
	if n := r.u16() % 4000; n > 0 && op&4 == 0 {
		s.Payload = c.pool.Copy(make([]byte, n))
	}
	if c.snap.Timestamps {
		c.stamp += uint32(r.u8() % 4)
		s.Options.Set, s.Options.TSVal = wire.HasTS, c.stamp
		if op > 240 {
			s.Options.TSVal -= uint32(r.u16())
		}
	}
	for i := range int(r.u8() % 5) {
		if i == 4 || !c.snap.SACK {
			break
		}
		left := c.conn.SndUna().Add(r.u16() - 2000)
		s.Options.Set |= wire.HasSACK
		s.Options.SACK[i] = wire.Block{Left: left, Right: left.Add(r.u16() - 100)}
		s.Options.NSACK++
	}
	c.conn.Receive(c.now, &s)
}

// command is what custody asks of a Conn.
func (c *fuzzed) command(which byte, r *reader) {
	if !c.cfg.Relay {
		switch which % 6 {
		case 0:
			c.conn.Answer(c.now)
		case 1:
			c.conn.OfferMSS(r.u16())
		case 2:
			c.conn.Unreachable(c.now, c.conn.SndUna().Add(-1), r.u8() > 200)
		case 3:
			c.out.SetUrgent(c.out.Base() + uint64(r.u16()))
		case 4:
			if r.u8() > 200 {
				c.conn.Close(c.now)
			}
		case 5:
			s := tcpstack.Segment{Seq: c.conn.RcvNxt().Add(r.u16() - 1000), Flags: wire.SYN}
			if w, ok := c.conn.TimeWaiter(); ok {
				w.Reopens(c.now, &s)
				w.Receive(c.now, &s, new(tcpstack.Packet))
			}
		}
		return
	}
	switch which % 9 {
	case 0:
		c.conn.Hold(r.u8()&1 != 0)
	case 1:
		c.conn.SetAckLimit(r.u16())
	case 2:
		c.conn.SetBuffer(1 << (10 + r.u8()%10))
	case 3:
		c.conn.SetTimestamp(binary.BigEndian.Uint32([]byte{r.u8(), r.u8(), r.u8(), r.u8()}))
	case 4:
		c.conn.AckFIN()
	case 5:
		ack := c.conn.RcvAcked().Add(r.u16() % (c.conn.RcvNxt().Sub(c.conn.RcvAcked()) + 1))
		c.conn.Relayed(ack, ack.Add(r.u16()))
	case 6:
		if n, ok := c.conn.Ahead(); ok && n.Sub(c.conn.SndUna()) <= c.out.Len() {
			c.conn.SendTo(c.now, n)
		}
	case 7:
		c.conn.Drain()
	case 8:
		var s tcpstack.Snapshot
		c.conn.Snapshot(&s)
	}
}

// turn lets the Conn do all that is due.
func (c *fuzzed) turn() {
	c.take()
	for n := 0; c.conn.Deadline() <= c.now; n++ {
		if n == 1000 {
			c.t.Fatalf("in %v something is always due", c.conn.State())
		}
		c.conn.Expire(c.now)
		c.take()
	}
}

// take takes what the Conn wants to send, as its peer would.
func (c *fuzzed) take() {
	first := c.snap.SndUna
	for n := 0; c.conn.Transmit(c.now, &c.pkt); n++ {
		p := &c.pkt
		if n == 5000 {
			c.t.Fatal("Transmit does not come to an end")
		}
		off := uint64(uint32(p.Seq.Sub(first)))
		var got int
		for _, b := range p.Payload {
			for i := range b {
				if b[i] != pattern(off+uint64(got+i)) {
					c.t.Fatalf("wrong byte at offset %d", off+uint64(got+i))
				}
			}
			got += len(b)
		}
		if got != p.Len {
			c.t.Fatalf("%d bytes of payload, Len says %d", got, p.Len)
		}
		if p.Flags.Has(wire.RST) {
			continue
		}
		if c.opening && p.Flags.Has(wire.SYN) {
			if p.Flags.Has(wire.ACK) {
				c.ack, c.edge, c.heard = p.Ack, p.Ack.Add(int(p.Window)), true
			}
			continue
		}
		if !p.Flags.Has(wire.ACK) || p.Flags.Has(wire.SYN) {
			c.t.Fatalf("%v in %v", p.Flags, c.conn.State())
		}
		if c.opening {
			var snap tcpstack.Snapshot
			c.conn.Snapshot(&snap)
			c.scale = snap.RcvScale
			c.opening = c.conn.State() == tcpstack.SynReceived
		}
		if !c.heard {
			c.ack, c.edge, c.heard = p.Ack, p.Ack, true
		}
		if p.Ack.Less(c.ack) {
			c.t.Fatalf("the acknowledgment goes back by %d", c.ack.Sub(p.Ack))
		}
		edge := p.Ack.Add(int(p.Window) << c.scale)
		if slack := c.edge.Sub(edge); slack > 0 && (c.cfg.Relay || slack >= 1<<c.scale) {
			c.t.Fatalf("the right edge goes back by %d", slack)
		}
		c.ack, c.edge = p.Ack, wire.MaxSeq(c.edge, edge)
	}
}

// done frees everything and looks for leaks.
func (c *fuzzed) done() {
	if c.conn.SndNxt().Less(c.conn.SndUna()) {
		c.t.Error("SND.NXT lies before SND.UNA")
	}
	c.conn.Release()
	c.in.Reset()
	c.out.Reset()
	if n := c.pool.InUse(); n != 0 {
		c.t.Errorf("%d bytes of buffers leak", n)
	}
}
