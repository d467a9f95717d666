package tcpstack

import (
	"testing"
	"time"

	"accd/tcpstack/buf"
	"accd/tcpstack/cc"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// duel is two Conns that exchange streams over a path on which a script decides
// what happens to each segment: it arrives, is lost, comes twice or late, or a
// copy with one field bent comes before it.
type duel struct {
	t    *testing.T
	now  mono.Time
	pool *buf.Pool
	ends [2]duellist
	r    *script
	pkt  Packet
}

// duellist is one end.
type duellist struct {
	conn    Conn
	in, out Stream
	total   uint64 // bytes it sends
	read    uint64
	path    []crossing // what it has sent, in order of arrival
	late    []crossing // what others overtake

	// What its peer has seen: what no segment may take back.
	acked, edge wire.Seq
}

// crossing is a segment on its way.
type crossing struct {
	at  mono.Time
	seg Segment // without payload
	off uint64  // of its data
	n   int     // bytes of data
}

const duelDelay = 3 * time.Millisecond

// FuzzLive takes the next valid segment of either end and, if the script says so,
// bends one field of a copy, in a way that a peer which follows RFC 9293, 5961 and
// 7323 is not harmed by: both streams arrive, byte for byte, and both end.
func FuzzLive(f *testing.F) {
	for _, b := range seeds() {
		f.Add(b)
	}
	var slabs slabs
	f.Fuzz(func(t *testing.T, ops []byte) {
		pool := slabs.next()
		d := newDuel(t, pool, &script{ops[:min(len(ops), 600)]})
		for steps := 0; !d.over(); steps++ {
			if steps == 30_000 {
				t.Fatalf("hangs: %d of %d and %d of %d bytes arrived\n%+v\n%+v", d.ends[1].read, d.ends[0].total, d.ends[0].read, d.ends[1].total,
					*d.ends[0].conn.Stats(), *d.ends[1].conn.Stats())
			}
			d.step()
		}
		for i := range d.ends {
			e := &d.ends[i]
			e.conn.Release()
			e.in.Reset()
			e.out.Reset()
		}
		if n := pool.InUse(); n != 0 {
			t.Errorf("%d bytes of buffers leak", n)
		}
	})
}

func newDuel(t *testing.T, pool *buf.Pool, r *script) *duel {
	d := &duel{t: t, now: mono.Time(time.Hour), pool: pool, r: r}
	kind := r.u8()
	room := make([]byte, 20_000)
	for i := range d.ends {
		e := &d.ends[i]
		algorithm := []string{"reno", "cubic", "bbr"}[r.u8()%3]
		cfg := &Config{Buffer: 2000 << (r.u8() % 5), Retries: 1000, NoSegmentation: r.u8()%2 == 0, NewController: func(x cc.Config) cc.Controller {
			c, err := cc.New(algorithm, x)
			if err != nil {
				panic(err)
			}
			return c
		}}
		self, peer := wire.SeqOf(1<<32-3000), wire.SeqOf(1<<31-5000)
		if i == 1 {
			self, peer = peer, self
		}
		window := 1 << 16
		e.conn.Resume(d.now, &Snapshot{
			MSS: 300 + int(kind), SndScale: 2, RcvScale: 2, SACK: kind&1 == 0, Timestamps: kind&2 == 0,
			SndUna: self, SndNxt: self, SndWnd: 2000, RcvNxt: peer, RcvEdge: peer.Add(2000), MaxWnd: window,
			TSRecent: 0xffffff00, TSRecentAge: d.now, TSVal: 0xffffff00,
		}, &e.in, &e.out, cfg)
		e.total = uint64(r.u16() % len(room))
		e.out.Append(pool.Copy(streamBytes(room[:e.total], 0)))
		e.out.Close()
		e.acked, e.edge = peer, peer
	}
	return d
}

// over reports whether both ends have everything and have ended. Who asked its peer
// for the last acknowledgment in vain until the peer left TIME-WAIT never learns how
// it ended (RFC 9293, 3.6.1).
func (d *duel) over() bool {
	for i := range d.ends {
		e, peer := &d.ends[i], &d.ends[1-i]
		if e.read != peer.total || !e.in.Closed() || !e.conn.FINAcked() && peer.conn.State() != Closed {
			return false
		}
	}
	return true
}

// step goes on to the next event.
func (d *duel) step() {
	at := mono.Never
	for i := range d.ends {
		e := &d.ends[i]
		for e.conn.Transmit(d.now, &d.pkt) {
			d.cross(e, &d.pkt)
		}
		if len(e.path) > 0 {
			at = min(at, e.path[0].at)
		} else if len(e.late) > 0 {
			e.path, e.late = append(e.path, e.late...), e.late[:0]
			at = min(at, max(d.now, e.path[0].at))
		}
		at = min(at, e.conn.Deadline())
	}
	if at == mono.Never {
		d.t.Fatal("nothing will ever happen again")
	}
	d.now = max(d.now, at)
	for i := range d.ends {
		e, to := &d.ends[i], &d.ends[1-i]
		if len(e.path) > 0 && e.path[0].at <= d.now {
			x := e.path[0]
			e.path = e.path[1:]
			d.fate(e, to, &x)
		}
		to.conn.Expire(d.now)
		if err := to.conn.Err(); err != nil {
			d.t.Fatal(err)
		}
		to.take(d.t)
	}
}

// take reads what has arrived.
func (e *duellist) take(t *testing.T) {
	for _, b := range e.in.Gather(nil, e.in.Base(), e.in.Len()) {
		if at, wrong := wrongByte(b, e.read); wrong {
			t.Fatalf("wrong byte at %d", at)
		}
		e.read += uint64(len(b))
	}
	e.in.Discard(e.in.End())
}

// cross puts what an end sends on the path, and wants it to take nothing back.
func (d *duel) cross(e *duellist, p *Packet) {
	if p.Flags.Has(wire.RST) {
		d.t.Fatal("a reset")
	}
	edge := p.Ack.Add(int(p.Window) << 2)
	if p.Ack.Less(e.acked) || e.edge.Sub(edge) >= 4 {
		d.t.Fatalf("takes back %d bytes of what is acknowledged and %d of the window", e.acked.Sub(p.Ack), e.edge.Sub(edge))
	}
	e.acked, e.edge = p.Ack, wire.MaxSeq(e.edge, edge)
	off := e.conn.offset(p.Seq)
	for _, b := range p.Payload {
		if at, wrong := wrongByte(b, off); wrong {
			d.t.Fatalf("sends a wrong byte at %d", at)
		}
		off += uint64(len(b))
	}
	size := p.Len
	if p.GSOSize > 0 {
		size = p.GSOSize
	}
	for done := 0; done == 0 || done < p.Len; done += size {
		x := crossing{at: d.now.Add(duelDelay), n: min(size, p.Len-done), off: e.conn.offset(p.Seq) + uint64(done)}
		x.seg = Segment{Seq: p.Seq.Add(done), Ack: p.Ack, Flags: p.Flags, Window: p.Window, Options: p.Options}
		if done+x.n < p.Len {
			x.seg.Flags &^= wire.FIN | wire.PSH
		}
		e.path = append(e.path, x)
		if size == 0 {
			break
		}
	}
}

// fate lets the script decide about a segment.
func (d *duel) fate(from, to *duellist, x *crossing) {
	switch op := d.r.u8(); {
	case op < 90:
	case op < 120:
		// Who is in TIME-WAIT does not stay there for ever; its peer may
		// never learn how it ended (RFC 9293, 3.6).
		if from.conn.State() != TimeWait {
			return
		}
	case op < 140:
		d.arrive(to, x)
	case op < 165:
		from.late = append(from.late, *x)
		return
	default:
		bent := *x
		d.bend(from, to, &bent)
		d.arrive(to, &bent)
	}
	d.arrive(to, x)
	for _, x := range from.late {
		d.arrive(to, &x)
	}
	from.late = from.late[:0]
}

// bend changes one field of a segment on its way to an end. What lies where the
// receiver expects it is either true or not to be believed.
func (d *duel) bend(from, to *duellist, x *crossing) {
	s, r := &x.seg, d.r
	switch r.u8() % 14 {
	case 0: // other bytes of the stream that were sent already, or were never asked for
		if s.Flags.Has(wire.FIN) {
			return
		}
		back := uint64(r.u16()) % (x.off + 1)
		x.off -= back
		s.Seq = s.Seq.Add(-int(back))
		x.n = min(x.n+int(r.u8()), int(min(from.conn.nxt, from.total)-x.off))
	case 1: // far to the left
		s.Seq = s.Seq.Add(-1<<20 - r.u16())
	case 2: // beyond the window
		s.Seq = to.edge.Add(1 + r.u16())
	case 3: // an old acknowledgment
		s.Ack = s.Ack.Add(-r.u16())
	case 4: // of what was never sent
		s.Ack = to.conn.SndNxt().Add(1 + r.u16())
	case 5:
		s.Ack = to.conn.SndNxt().Add(1<<30 + r.u16())
	case 6: // the next true segment corrects it
		s.Window = uint16(r.u16())
	case 7: // RFC 7323, 5.3: too old
		s.Options.TSVal = to.conn.tsRecent - 1 - uint32(r.u16())
	case 8:
		s.Options.TSEcr = uint32(r.u16()) << (r.u8() % 17)
	case 9: // lies about what has arrived
		for range 1 + r.u8()%4 {
			if s.Options.NSACK == 4 {
				break
			}
			left := to.conn.SndUna().Add(r.u16() - 1000)
			s.Options.Set |= wire.HasSACK
			s.Options.SACK[s.Options.NSACK] = wire.Block{Left: left, Right: left.Add(r.u16() - 100)}
			s.Options.NSACK++
		}
	case 10:
		s.Options.Set, s.Options.NSACK = 0, 0
	case 11: // RFC 5961, 4: answered, without effect
		s.Flags |= wire.SYN
	case 12: // RFC 5961, 3: an RST counts at exactly RCV.NXT
		s.Flags |= wire.RST
		if s.Seq == to.conn.RcvNxt() {
			s.Seq = s.Seq.Add(1 + r.u16())
		}
	case 13:
		s.Flags ^= []wire.Flags{wire.ACK, wire.PSH, wire.URG, wire.ECE, wire.CWR, wire.AE}[r.u8()%6]
	}
}

// arrive gives a segment with its bytes to an end.
func (d *duel) arrive(to *duellist, x *crossing) {
	s := x.seg
	if x.n > 0 {
		streamBytes(d.pool.Room(x.n), x.off)
		s.Payload = d.pool.Keep(0, x.n)
	}
	to.conn.Receive(d.now, &s)
}
