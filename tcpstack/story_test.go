package tcpstack

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"accd/tcpstack/buf"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// story drives one Conn by hand: the peer's segments go in, the packets that
// come out are compared, and one that nobody wanted fails the test. Sequence
// numbers are relative: ours start at 0, the peer's too.
type story struct {
	t    *testing.T
	c    *Conn
	in   Stream
	out  Stream
	now  mono.Time
	pool buf.Pool
}

const (
	ourISN  = 0xffffff00 // close to the wrap on purpose
	peerISN = 0x7fffffa0
	peerWnd = 65536
)

func tell(t *testing.T, cfg *Config, edit func(*Snapshot)) *story {
	s := &story{t: t, now: mono.Time(time.Second)}
	snap := Snapshot{
		MSS: 1000, SACK: true,
		SndUna: wire.SeqOf(ourISN), SndNxt: wire.SeqOf(ourISN), SndWnd: peerWnd, SndScale: 2, RcvScale: 2,
		RcvNxt: wire.SeqOf(peerISN), RcvEdge: wire.SeqOf(peerISN).Add(60000),
	}
	snap.Tuple.Src[10], snap.Tuple.Src[11] = 0xff, 0xff
	if edit != nil {
		edit(&snap)
	}
	if cfg == nil {
		cfg = config("reno")
	}
	s.c = Resume(s.now, &snap, &s.in, &s.out, cfg)
	t.Cleanup(func() {
		if !t.Failed() {
			s.quiet()
		}
		s.in.Reset()
		s.out.Reset()
		s.c.Release()
		if n := s.pool.InUse(); n != 0 && !t.Failed() {
			t.Errorf("%d bytes of slabs leaked", n)
		}
	})
	return s
}

func (s *story) write(n int) { s.out.Append(s.pool.Copy(make([]byte, n))) }

// peer makes the peer send n bytes from seq on, acknowledging ack.
func (s *story) peer(seq, n, ack int, edit ...func(*Segment)) {
	seg := Segment{
		Seq: wire.SeqOf(peerISN).Add(seq), Ack: wire.SeqOf(ourISN).Add(ack),
		Flags: wire.ACK, Window: peerWnd / 4,
	}
	for n > 0 {
		k := min(n, 60000)
		seg.Payload = s.pool.Copy(make([]byte, k))
		n -= k
	}
	for _, e := range edit {
		e(&seg)
	}
	s.c.Receive(s.now, &seg)
	if seg.Payload.Len() > 0 {
		s.t.Error("Receive left the payload behind")
	}
}

func flags(f wire.Flags) func(*Segment) { return func(g *Segment) { g.Flags = f } }
func window(bytes int) func(*Segment)   { return func(g *Segment) { g.Window = uint16(bytes / 4) } }
func sack(b ...int) func(*Segment) {
	return func(g *Segment) {
		g.Options.Set |= wire.HasSACK
		for i := 0; i < len(b); i += 2 {
			g.Options.SACK[g.Options.NSACK] = wire.Block{Left: wire.SeqOf(ourISN).Add(b[i]), Right: wire.SeqOf(ourISN).Add(b[i+1])}
			g.Options.NSACK++
		}
	}
}
func ts(val, ecr uint32) func(*Segment) {
	return func(g *Segment) {
		g.Options.Set |= wire.HasTS
		g.Options.TSVal, g.Options.TSEcr = val, ecr
	}
}

// show writes a packet as the tests want it: "0:1000 ack 5 win 60000 sack 6:7".
func (s *story) show(p *Packet) string {
	var b strings.Builder
	if f := p.Flags &^ (wire.ACK | wire.PSH); f != 0 {
		fmt.Fprintf(&b, "%v ", f)
	}
	seq := p.Seq.Sub(wire.SeqOf(ourISN))
	fmt.Fprintf(&b, "%d:%d ack %d", seq, seq+p.Len, p.Ack.Sub(wire.SeqOf(peerISN)))
	if p.ECN != wire.NotECT {
		fmt.Fprintf(&b, " %v", p.ECN)
	}
	for _, k := range p.Options.Blocks() {
		fmt.Fprintf(&b, " sack %d:%d", k.Left.Sub(wire.SeqOf(peerISN)), k.Right.Sub(wire.SeqOf(peerISN)))
	}
	if p.Options.Has(wire.HasTS) {
		fmt.Fprintf(&b, " ts %d %d", p.Options.TSVal, p.Options.TSEcr)
	}
	return b.String()
}

// want compares everything that the Conn sends now.
func (s *story) want(packets ...string) {
	s.t.Helper()
	var p Packet
	for i := 0; ; i++ {
		if !s.c.Transmit(s.now, &p) {
			if i < len(packets) {
				s.t.Fatalf("at %v: sent %d packets, next wanted %q", s.now.Sub(mono.Time(time.Second)), i, packets[i])
			}
			return
		}
		got := s.show(&p)
		if i >= len(packets) {
			s.t.Fatalf("at %v: unexpected packet %q", s.now.Sub(mono.Time(time.Second)), got)
		}
		if got != packets[i] {
			s.t.Fatalf("at %v: packet %d is %q, want %q", s.now.Sub(mono.Time(time.Second)), i, got, packets[i])
		}
	}
}

// quiet wants silence.
func (s *story) quiet() {
	s.t.Helper()
	s.want()
}

// drain sends what there is and forgets it; it gives how many packets.
func (s *story) flush() (n int) {
	var p Packet
	for s.c.Transmit(s.now, &p) {
		n++
	}
	return n
}

// advance lets time pass up to the next deadline, or d if that is earlier.
func (s *story) advance(d time.Duration) {
	end := s.now.Add(d)
	for s.c.Deadline() <= end {
		s.now = max(s.now, s.c.Deadline())
		s.c.Expire(s.now)
		return
	}
	s.now = end
	s.c.Expire(s.now)
}

// wait lets exactly d pass without looking at deadlines in between.
func (s *story) wait(d time.Duration) { s.now = s.now.Add(d) }
