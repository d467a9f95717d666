package tcpstack

import (
	"testing"
	"time"

	"accd/tcpstack/buf"
	"accd/tcpstack/cc"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// FuzzSentQueue holds the queue against the fate of each byte.
func FuzzSentQueue(f *testing.F) {
	for _, b := range seeds() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, ops []byte) {
		r := &script{ops}
		var q sentQueue
		var fates []fate // of the bytes, from offset 0 on
		now, una := mono.Time(1), uint64(0)
		set := func(from, to uint64, what fate) {
			for i := from; i < to; i++ {
				fates[i] = what
			}
		}
		for r.more() && len(fates) < 2000 {
			op, i := r.u8(), 0
			if q.n > 0 {
				i = r.u16() % q.n
			}
			now += mono.Time(op % 3)
			switch {
			case op < 80 || q.n == 0:
				x := q.push()
				x.off, x.end, x.at = uint64(len(fates)), uint64(len(fates))+1+uint64(op%9), now
				fates = append(fates, make([]fate, x.len())...)
			case op < 100:
				una = q.at(0).end
				q.pop()
			case op < 120:
				if x := q.at(i); x.len() > 1 && x.fate != sacked {
					q.split(i, x.off+1+uint64(r.u8())%uint64(x.len()-1))
				}
			case op < 180:
				if x := q.at(i); x.fate != sacked {
					lo := x.off + uint64(r.u8())%uint64(x.len())
					hi := lo + 1 + uint64(r.u8())%(x.end-lo)
					set(lo, hi, sacked)
					i = q.sack(i, lo, hi)
				}
				q.join(i, i)
			case op < 210:
				if x := q.at(i); x.fate == flying {
					q.lose(x)
					set(x.off, x.end, lost)
				}
			default:
				if x := q.lost(); x != nil {
					set(x.off, x.end, flying)
					if op < 235 {
						x.at = now
						q.fly(x)
					} else {
						q.refly(x)
					}
				}
			}
			q.check(t)
			for i := range q.n {
				x := q.at(i)
				for off := x.off; off < x.end; off++ {
					if fates[off] != x.fate {
						t.Fatalf("byte %d has fate %d, want %d", off, x.fate, fates[off])
					}
					if got := q.find(off); got != i {
						t.Fatalf("byte %d is found in record %d, want %d", off, got, i)
					}
				}
			}
			if end := uint64(len(fates)); q.n > 0 && (q.at(0).off != una || q.last().end != end) || q.n == 0 && una != end {
				t.Fatalf("the records are not [%d, %d)", una, end)
			}
		}
	})
}

// board is a sending Conn, and what its peer has told it.
type board struct {
	t    *testing.T
	now  mono.Time
	pool *buf.Pool
	conn Conn
	in   Stream
	out  Stream
	una  uint64       // the highest acknowledgment
	told [60_000]bool // SACKed since the last timeout
	pkt  Packet
	recv Segment
}

// FuzzScoreboard tells a sending Conn whatever the fuzzer likes about what its
// peer has, true or not, and holds the books about what is in flight against
// what was told. In the end the peer is honest, and has nothing of what it had
// only SACKed (RFC 2018, 8): all of it arrives.
func FuzzScoreboard(f *testing.F) {
	for _, b := range seeds() {
		f.Add(b)
	}
	var slabs slabs
	f.Fuzz(func(t *testing.T, ops []byte) {
		r := &script{ops}
		b := newBoard(t, slabs.next(), r)
		for steps := 0; r.more() && steps < 300; steps++ {
			b.step(r)
			b.books()
			b.send()
			b.books()
		}
		b.finish()
	})
}

func newBoard(t *testing.T, pool *buf.Pool, r *script) *board {
	kind := r.u8()
	b := &board{t: t, now: mono.Time(time.Hour), pool: pool}
	algorithm := []string{"reno", "cubic", "bbr"}[kind>>4%3]
	cfg := &Config{Relay: kind&4 != 0, Retries: 1000, NoSegmentation: kind&8 != 0, NewController: func(x cc.Config) cc.Controller {
		c, err := cc.New(algorithm, x)
		if err != nil {
			panic(err)
		}
		return c
	}}
	iss, irs := wire.SeqOf(1<<32-3000), wire.SeqOf(7)
	b.conn.Resume(b.now, &Snapshot{
		MSS: 112, SACK: kind&1 == 0, Timestamps: kind&2 == 0, SndUna: iss, SndNxt: iss, SndWnd: 30_000,
		RcvNxt: irs, RcvEdge: irs.Add(1000), TSRecent: 5, TSRecentAge: b.now, TSVal: 5,
	}, &b.in, &b.out, cfg)
	return b
}

func (b *board) write(n int) {
	if n = min(n, len(b.told)-int(b.out.End())); n > 0 {
		streamBytes(b.pool.Room(n), b.out.End())
		b.out.Append(b.pool.Keep(0, n))
	}
}

func (b *board) step(r *script) {
	c := &b.conn
	switch op := r.u8(); op % 8 {
	case 0:
		b.write(r.u16() % 8000)
	case 1:
		b.now = b.now.Add(time.Duration(r.u8()) * time.Millisecond)
		c.Expire(b.now)
	case 2:
		if at := c.Deadline(); at != mono.Never {
			b.now = max(b.now, at)
			c.Expire(b.now)
		}
	case 3: // an ACK of more, or of less
		b.ack(b.una+uint64(r.u16())%(c.nxt-b.una+1)-min(b.una, uint64(op>>6)*50), r)
	default:
		b.ack(b.una, r)
	}
}

// ack gives the Conn an ACK with SACK blocks of the fuzzer's.
func (b *board) ack(ack uint64, r *script) {
	c, s := &b.conn, &b.recv
	*s = Segment{Seq: c.RcvNxt(), Ack: c.seq(ack), Flags: wire.ACK, Window: uint16(20_000 + r.u16()%20_000)}
	b.una = max(b.una, ack)
	for range int(r.u8() % 5) {
		if s.Options.NSACK == 4 {
			break
		}
		from := b.una + uint64(r.u16())%(c.nxt-b.una+1)
		to := min(from+uint64(r.u8())*20, c.nxt)
		s.Options.Set |= wire.HasSACK
		s.Options.SACK[s.Options.NSACK] = wire.Block{Left: c.seq(from), Right: c.seq(to)}
		s.Options.NSACK++
		for i := from; i < min(to, uint64(len(b.told))); i++ {
			b.told[i] = true
		}
	}
	c.Receive(b.now, s)
}

// send lets the Conn send all it wants.
func (b *board) send() {
	for n := 0; b.conn.Transmit(b.now, &b.pkt); n++ {
		p := &b.pkt
		if n == 3000 {
			b.t.Fatal("Transmit does not come to an end")
		}
		off := b.conn.offset(p.Seq)
		if p.Len > 0 && off < b.una {
			b.t.Fatalf("sends [%d, +%d) again, which is acknowledged up to %d", off, p.Len, b.una)
		}
		for _, piece := range p.Payload {
			if at, wrong := wrongByte(piece, off); wrong {
				b.t.Fatalf("wrong byte at %d", at)
			}
			off += uint64(len(piece))
		}
	}
}

// books compares what the Conn counts with what its records say, and those with
// what the peer said.
func (b *board) books() {
	c := &b.conn
	c.sent.check(b.t)
	if c.una != b.una {
		b.t.Fatalf("SND.UNA %d, want %d", c.una, b.una)
	}
	at, flight, lostBytes := c.una, 0, 0
	for i := range c.sent.n {
		r := c.sent.at(i)
		if r.off != at || r.end <= r.off {
			b.t.Fatalf("record %d is [%d, %d), want it to begin at %d", i, r.off, r.end, at)
		}
		at = r.end
		switch r.fate {
		case flying:
			flight += r.len()
		case lost:
			lostBytes += r.len()
		case sacked:
			for i := r.off; i < r.end; i++ {
				if !b.told[i] {
					b.t.Fatalf("[%d, %d) counts as SACKed, and nobody SACKed %d", r.off, r.end, i)
				}
			}
		}
	}
	if at != c.nxt || flight != c.flight || lostBytes != c.lostBytes {
		b.t.Fatalf("records up to %d, %d bytes in flight, %d lost; the books say %d, %d, %d", at, flight, lostBytes, c.nxt, c.flight, c.lostBytes)
	}
}

// finish is an honest peer.
func (b *board) finish() {
	c := &b.conn
	got := b.una
	for steps := 0; c.out.Len() > 0; steps++ {
		if steps == 20_000 {
			b.t.Fatalf("hangs with [%d, %d) unacknowledged, %d in flight, %d lost", c.una, c.out.End(), c.flight, c.lostBytes)
		}
		before := got
		for c.Transmit(b.now, &b.pkt) {
			if off := c.offset(b.pkt.Seq); off <= got {
				got = max(got, off+uint64(b.pkt.Len))
			}
		}
		b.now = b.now.Add(time.Millisecond)
		if got == before {
			if at := c.Deadline(); at != mono.Never {
				b.now = max(b.now, at)
			}
		}
		b.una = got
		c.Receive(b.now, &Segment{Seq: c.RcvNxt(), Ack: c.seq(got), Flags: wire.ACK, Window: 40_000})
		c.Expire(b.now)
		b.books()
	}
	c.Release()
	if b.out.Reset(); b.pool.InUse() != 0 {
		b.t.Fatalf("%d bytes of buffers leak", b.pool.InUse())
	}
}
