package tcpstack

import (
	"fmt"
	"strconv"
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
	snap.Tuple = storyKey()
	if edit != nil {
		edit(&snap)
	}
	if cfg == nil {
		cfg = config("reno")
	}
	s.c = Resume(s.now, &snap, &s.in, &s.out, cfg)
	s.cleanup()
	return s
}

// dial begins a story with our SYN, accept with the peer's. SYNs have the sequence
// number −1.
func dial(t *testing.T, cfg *Config) *story {
	s := &story{t: t, now: mono.Time(time.Second)}
	s.c = Dial(s.now, storyKey(), wire.SeqOf(ourISN).Add(-1), &s.in, &s.out, cfg)
	s.c.SetTimestamp(500)
	s.cleanup()
	return s
}

func accept(t *testing.T, cfg *Config, edit ...func(*Segment)) *story {
	s := &story{t: t, now: mono.Time(time.Second)}
	syn := Segment{Seq: wire.SeqOf(peerISN).Add(-1), Flags: wire.SYN, Window: 16384}
	for _, e := range edit {
		e(&syn)
	}
	s.c = Accept(s.now, storyKey(), wire.SeqOf(ourISN).Add(-1), &syn, &s.in, &s.out, cfg)
	s.c.SetTimestamp(500)
	s.cleanup()
	return s
}

func storyKey() (k wire.Tuple) {
	k.Src[10], k.Src[11] = 0xff, 0xff
	return k
}

func (s *story) cleanup() {
	t := s.t
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
}

func (s *story) write(n int) {
	for ; n > 0; n -= 60_000 {
		s.out.Append(s.pool.Copy(make([]byte, min(n, 60_000))))
	}
}

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

// syn makes a segment the peer's SYN, with the options named as show names them.
func syn(options string) func(*Segment) {
	return func(g *Segment) {
		g.Flags |= wire.SYN
		o := &g.Options
		f := strings.Fields(options)
		for i := 0; i < len(f); i++ {
			var n int
			if i+1 < len(f) {
				n, _ = strconv.Atoi(f[i+1])
			}
			switch f[i] {
			case "mss":
				o.Set, o.MSS = o.Set|wire.HasMSS, uint16(n)
				i++
			case "wscale":
				o.Set, o.WScale = o.Set|wire.HasWScale, uint8(n)
				i++
			case "sackOK":
				o.Set |= wire.HasSACKPermitted
			default:
				panic("no option " + f[i])
			}
		}
	}
}

func rawWindow(n uint16) func(*Segment) { return func(g *Segment) { g.Window = n } }
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
	if p.Flags == wire.RST|wire.ACK && p.Seq == (wire.Seq{}) {
		seq = 0 // of CLOSED, which has no numbers of its own
	}
	fmt.Fprintf(&b, "%d:%d", seq, seq+p.Len)
	if p.Flags.Has(wire.ACK) {
		fmt.Fprintf(&b, " ack %d", p.Ack.Sub(wire.SeqOf(peerISN)))
	}
	if p.Flags.Has(wire.SYN) {
		fmt.Fprintf(&b, " win %d", p.Window)
	}
	o := &p.Options
	if o.Has(wire.HasMSS) {
		fmt.Fprintf(&b, " mss %d", o.MSS)
	}
	if o.Has(wire.HasSACKPermitted) {
		b.WriteString(" sackOK")
	}
	if o.Has(wire.HasWScale) {
		fmt.Fprintf(&b, " wscale %d", o.WScale)
	}
	if p.ECN != wire.NotECT {
		fmt.Fprintf(&b, " %v", p.ECN)
	}
	if p.Flags.Has(wire.URG) {
		fmt.Fprintf(&b, " urg %d", p.Urgent)
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

// state wants the Conn in a state.
func (s *story) state(want State) {
	s.t.Helper()
	if got := s.c.State(); got != want {
		s.t.Fatalf("at %v: state %v, want %v", s.now.Sub(mono.Time(time.Second)), got, want)
	}
}

// ended wants the Conn to have ended for a reason.
func (s *story) ended(why error) {
	s.t.Helper()
	if s.state(Closed); s.c.Err() != why {
		s.t.Fatalf("at %v: ended with %v, want %v", s.now.Sub(mono.Time(time.Second)), s.c.Err(), why)
	}
	if at := s.c.Deadline(); at != mono.Never {
		s.t.Fatalf("CLOSED, and something is due at %v", at)
	}
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

// pass lets d pass, in which everything happens when it is due and nothing is sent.
func (s *story) pass(d time.Duration) {
	s.t.Helper()
	for end := s.now.Add(d); s.now < end; {
		s.advance(end.Sub(s.now))
		s.quiet()
	}
}

// next lets time pass until a packet leaves, wants it, and gives how long it took.
func (s *story) next(packet string) time.Duration {
	s.t.Helper()
	start := s.now
	var p Packet
	for range 100 {
		if s.advance(24 * time.Hour); s.c.Transmit(s.now, &p) {
			if got := s.show(&p); got != packet {
				s.t.Fatalf("at %v: packet is %q, want %q", s.now.Sub(mono.Time(time.Second)), got, packet)
			}
			s.quiet()
			return s.now.Sub(start)
		}
		if s.c.Deadline() == mono.Never {
			break
		}
	}
	s.t.Fatalf("at %v: nothing is sent, want %q", s.now.Sub(mono.Time(time.Second)), packet)
	return 0
}

// wait lets exactly d pass without looking at deadlines in between.
func (s *story) wait(d time.Duration) { s.now = s.now.Add(d) }
