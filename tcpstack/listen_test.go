package tcpstack

import (
	"strings"
	"testing"
	"time"

	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// port is a Listener and the Conns it made, by the peer's port.
type port struct {
	t   *testing.T
	l   *Listener
	now mono.Time
	key wire.Tuple
	pkt Packet
	c   *Conn
	in  Stream
	out Stream
}

func listenOn(t *testing.T, backlog int, cfg *Config) *port {
	p := &port{t: t, now: mono.Time(time.Hour), l: NewListener(backlog, SecretOf([16]byte{1}), SecretOf([16]byte{2}), cfg)}
	p.key.Src = wire.Addr{10: 0xff, 11: 0xff, 12: 192, 13: 0, 14: 2, 15: 1}
	p.key.Dst = wire.Addr{10: 0xff, 11: 0xff, 12: 198, 13: 51, 14: 100, 15: 7}
	p.key.SrcPort, p.key.DstPort = 80, 4711
	return p
}

func (p *port) is6() *port {
	p.key.Src = wire.Addr{0: 0x20, 1: 1, 2: 0xd, 3: 0xb8, 15: 1}
	p.key.Dst = wire.Addr{0: 0x20, 1: 1, 2: 0xd, 3: 0xb8, 15: 7}
	return p
}

// peer sends a segment and wants an Arrival; a Conn is accepted into p.c.
func (p *port) peer(want Arrival, s Segment) {
	p.t.Helper()
	if got := p.l.Receive(p.now, &p.key, &s, &p.pkt); got != want {
		p.t.Fatalf("the listener says %d of %v %v, want %d", got, s.Flags, s.Seq, want)
	}
	if want == Opens {
		p.c, p.in, p.out = new(Conn), Stream{}, Stream{}
		p.l.Accept(p.now, p.c, &p.key, &s, &p.in, &p.out, nil)
	}
}

func synOpts(options string) wire.Options {
	var s Segment
	syn(options)(&s)
	return s.Options
}

// A Listener that takes the place of another knows its cookies.
func TestCookieOutlivesItsListener(t *testing.T) {
	p := listenOn(t, 0, config("reno"))
	p.peer(Answered, Segment{Seq: wire.SeqOf(77), Flags: wire.SYN})
	ack := Segment{Seq: wire.SeqOf(78), Ack: p.pkt.Seq.Add(1), Flags: wire.ACK}
	at := p.l.CookieAt()
	p.l = listenOn(t, 0, config("reno")).l
	p.peer(Answered, ack) // an RST: it has sent none
	p.l.Expect(at)
	p.peer(Opens, ack)
}

// RFC 9293, 3.10.7.2, step by step.
func TestListen(t *testing.T) {
	p := listenOn(t, 10, config("reno"))
	p.peer(Ignored, Segment{Flags: wire.RST})
	p.peer(Ignored, Segment{Flags: wire.RST | wire.ACK})
	p.peer(Answered, Segment{Seq: wire.SeqOf(5), Ack: wire.SeqOf(77), Flags: wire.ACK})
	if p.pkt.Flags != wire.RST || p.pkt.Seq != wire.SeqOf(77) {
		t.Errorf("an ACK is answered by %v %v, want an RST at 77", p.pkt.Flags, p.pkt.Seq)
	}
	p.peer(Answered, Segment{Seq: wire.SeqOf(5), Ack: wire.SeqOf(77), Flags: wire.SYN | wire.ACK})
	p.peer(Ignored, Segment{Flags: wire.FIN})
	p.peer(Ignored, Segment{})
	p.peer(Opens, Segment{Seq: wire.SeqOf(1000), Flags: wire.SYN, Window: 5000})
	if p.c.State() != SynReceived || p.l.Half() != 1 {
		t.Errorf("state %v, %d half open", p.c.State(), p.l.Half())
	}
	iss, _ := p.l.start.Start(p.now, &p.key)
	if !p.c.Transmit(p.now, &p.pkt) || p.pkt.Seq != iss || p.pkt.Ack != wire.SeqOf(1001) {
		t.Errorf("SYN-ACK %v ack %v, want the ISN of the sockets, %v, and ack 1001", p.pkt.Seq, p.pkt.Ack, iss)
	}
}

// RFC 9293, MUST-46, 57, 63: what was sent to or by many, or by itself, is dropped.
//
// proves: MUST-57 MUST-63
func TestListenToOneHost(t *testing.T) {
	p := listenOn(t, 10, config("reno"))
	syn := Segment{Flags: wire.SYN}
	for name, edit := range map[string]func(k *wire.Tuple){
		"from multicast":   func(k *wire.Tuple) { k.Dst[12] = 224 },
		"to multicast":     func(k *wire.Tuple) { k.Src[12] = 239 },
		"from broadcast":   func(k *wire.Tuple) { k.Dst = wire.Addr{10: 0xff, 11: 0xff, 12: 255, 13: 255, 14: 255, 15: 255} },
		"from nobody":      func(k *wire.Tuple) { k.Dst = wire.Addr{10: 0xff, 11: 0xff} },
		"from itself":      func(k *wire.Tuple) { k.Dst, k.DstPort = k.Src, k.SrcPort },
		"from multicast 6": func(k *wire.Tuple) { k.Dst = wire.Addr{0: 0xff, 1: 2, 15: 1} },
		"from nobody 6":    func(k *wire.Tuple) { k.Dst = wire.Addr{} },
	} {
		key := p.key
		edit(&key)
		if got := p.l.Receive(p.now, &key, &syn, &p.pkt); got != Ignored {
			t.Errorf("%s: %d, want Ignored", name, got)
		}
		if Refuse(&key, &syn, &p.pkt) {
			t.Errorf("%s: CLOSED answers", name)
		}
	}
}

// RFC 9293, 3.10.7.1.
func TestRefuse(t *testing.T) {
	p := listenOn(t, 0, config("reno"))
	s := Segment{Seq: wire.SeqOf(100), Flags: wire.SYN | wire.FIN}
	if !Refuse(&p.key, &s, &p.pkt) || p.pkt.Flags != wire.RST|wire.ACK || p.pkt.Seq != (wire.Seq{}) || p.pkt.Ack != wire.SeqOf(102) {
		t.Errorf("without ACK: %v %v ack %v, want RST|ACK 0 ack 102", p.pkt.Flags, p.pkt.Seq, p.pkt.Ack)
	}
	s = Segment{Seq: wire.SeqOf(100), Ack: wire.SeqOf(7), Flags: wire.ACK | wire.FIN}
	if !Refuse(&p.key, &s, &p.pkt) || p.pkt.Flags != wire.RST || p.pkt.Seq != wire.SeqOf(7) {
		t.Errorf("with ACK: %v %v, want RST 7", p.pkt.Flags, p.pkt.Seq)
	}
	s.Flags |= wire.RST
	if Refuse(&p.key, &s, &p.pkt) {
		t.Error("an RST is answered")
	}
}

// RFC 4987, 3.6: beyond the backlog a SYN leaves nothing behind, and the ACK of its
// cookie brings everything back.
func TestCookie(t *testing.T) {
	for name, c := range map[string]struct {
		six      bool
		asked    string
		stamps   bool
		mss      int // of the Conn
		scale    int // of the peer's windows
		sack, ts bool
	}{
		"all options":   {false, "mss 1460 sackOK wscale 9", true, 1448, 9, true, true},
		"no scaling":    {false, "mss 1452 sackOK", true, 1440, 0, true, true},
		"no SACK":       {false, "mss 1300 wscale 0", true, 1288, 0, false, true},
		"no stamps":     {false, "mss 1460 sackOK wscale 9", false, 1460, 0, false, false},
		"in between":    {false, "mss 1459", false, 1452, 0, false, false},
		"tiny":          {false, "mss 100", false, 536, 0, false, false},
		"none":          {false, "", false, 536, 0, false, false},
		"jumbo":         {false, "mss 8960", false, 8960, 0, false, false},
		"IPv6 none":     {true, "", false, 1220, 0, false, false},
		"IPv6 tunnel":   {true, "mss 1428", false, 1420, 0, false, false},
		"IPv6 usual":    {true, "mss 1440 sackOK wscale 14", true, 1428, 14, true, true},
		"IPv6 jumbo":    {true, "mss 8940 sackOK", true, 8928, 0, true, true},
		"scale too big": {false, "mss 1460 wscale 15", true, 1448, 14, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config("reno")
			cfg.MTU = 9000
			p := listenOn(t, 0, cfg)
			if c.six {
				p.is6()
			}
			s := Segment{Seq: wire.SeqOf(1 << 31), Flags: wire.SYN, Window: 8000, Options: synOpts(c.asked)}
			if c.stamps {
				s.Options.Set, s.Options.TSVal = s.Options.Set|wire.HasTS, 900
			}
			p.peer(Answered, s)
			if p.pkt.Flags != wire.SYN|wire.ACK || p.pkt.Ack != wire.SeqOf(1<<31+1) || p.l.Half() != 0 {
				t.Fatalf("answered by %v ack %v, %d half open", p.pkt.Flags, p.pkt.Ack, p.l.Half())
			}
			o := &p.pkt.Options
			if o.Has(wire.HasWScale) != (c.ts && strings.Contains(c.asked, "wscale")) || o.Has(wire.HasSACKPermitted) != c.sack || o.Has(wire.HasTS) != c.ts {
				t.Errorf("granted: %b, which the cookie cannot remember", o.Set)
			}
			stamp := o.TSVal
			p.now = p.now.Add(cookieTick)
			ack := Segment{Seq: s.Seq.Add(1), Ack: p.pkt.Seq.Add(1), Flags: wire.ACK, Window: 500}
			if c.stamps {
				ack.Options.Set, ack.Options.TSVal, ack.Options.TSEcr = wire.HasTS, 901, stamp
			}
			p.peer(Opens, ack)
			conn := p.c
			if conn.State() != Established || conn.Err() != nil {
				t.Fatalf("state %v, %v", conn.State(), conn.Err())
			}
			if got := conn.payload(conn.pmtu.most); got != c.mss {
				t.Errorf("segments of at most %d, want %d", got, c.mss)
			}
			if got := conn.SndEdge().Sub(conn.SndUna()); got != 500<<c.scale {
				t.Errorf("window %d, want %d", got, 500<<c.scale)
			}
			if conn.snap.SACK != c.sack || conn.snap.Timestamps != c.ts {
				t.Errorf("SACK %v, timestamps %v", conn.snap.SACK, conn.snap.Timestamps)
			}
			conn.Probe()
			if !conn.Transmit(p.now, &p.pkt) || c.ts && int32(p.pkt.Options.TSVal-stamp) < 0 {
				t.Errorf("timestamp %d after %d", p.pkt.Options.TSVal, stamp)
			}
		})
	}
}

// ECN is remembered with timestamps only, and as RFC 3168 has it: AccECN's counters
// would begin at what the SYN brought.
func TestCookieECN(t *testing.T) {
	for _, c := range []struct {
		asked, granted wire.Flags
		stamps         bool
		agreed         ECN
	}{
		{wire.ECE | wire.CWR, wire.ECE, true, ClassicECN},
		{wire.AE | wire.ECE | wire.CWR, wire.ECE, true, ClassicECN},
		{wire.AE, 0, true, NoECN},
		{wire.ECE | wire.CWR, 0, false, NoECN},
		{0, 0, true, NoECN},
	} {
		cfg := config("reno")
		cfg.ECN = ECNAccurate
		p := listenOn(t, 0, cfg)
		s := Segment{Seq: wire.SeqOf(9), Flags: wire.SYN | c.asked}
		if c.stamps {
			ts(900, 0)(&s)
		}
		p.peer(Answered, s)
		if p.pkt.Flags != wire.SYN|wire.ACK|c.granted {
			t.Errorf("%v is answered by %v", s.Flags, p.pkt.Flags)
		}
		ack := Segment{Seq: wire.SeqOf(10), Ack: p.pkt.Seq.Add(1), Flags: wire.ACK}
		if c.stamps {
			ts(901, p.pkt.Options.TSVal)(&ack)
		}
		p.peer(Opens, ack)
		if p.c.ecn.agreed != c.agreed {
			t.Errorf("%v: agreed on %v, want %v", s.Flags, p.c.ecn.agreed, c.agreed)
		}
	}
}

// A cookie is good for one or two ticks, for its own sockets and numbers; in quiet
// times none is.
func TestBadCookies(t *testing.T) {
	open := func() (*port, Segment) {
		p := listenOn(t, 0, config("reno"))
		p.peer(Answered, Segment{Seq: wire.SeqOf(77), Flags: wire.SYN})
		return p, Segment{Seq: wire.SeqOf(78), Ack: p.pkt.Seq.Add(1), Flags: wire.ACK}
	}
	p, ack := open()
	wrong := ack
	wrong.Seq = wrong.Seq.Add(1 << 20)
	p.peer(Answered, wrong)
	// What follows an ACK that was lost waits for it: no RST.
	wrong = ack
	wrong.Seq = wrong.Seq.Add(1460)
	p.peer(Ignored, wrong)
	wrong = ack
	wrong.Ack = wrong.Ack.Add(1 << 20)
	p.peer(Answered, wrong)
	p.key.DstPort++
	p.peer(Answered, ack)
	p.key.DstPort--
	p.peer(Opens, ack)

	p, ack = open()
	p.now = p.now.Add(2 * cookieTick)
	p.peer(Answered, ack)
	if p.pkt.Flags != wire.RST || p.pkt.Seq != ack.Ack {
		t.Errorf("a late cookie is answered by %v %v", p.pkt.Flags, p.pkt.Seq)
	}

	_, ack = open()
	quiet := listenOn(t, 10, config("reno"))
	quiet.peer(Answered, ack)
	if quiet.pkt.Flags != wire.RST {
		t.Errorf("an ACK is answered by %v", quiet.pkt.Flags)
	}
}

// What can be guessed: of a million random acknowledgments hardly one is a cookie.
func TestCookieGuesses(t *testing.T) {
	p := listenOn(t, 0, config("reno"))
	p.peer(Answered, Segment{Seq: wire.SeqOf(77), Flags: wire.SYN})
	good := 0
	for i := range 1_000_000 {
		if _, ok := p.l.cookies.opens(p.now, &p.key, wire.SeqOf(77), wire.SeqOf(uint32(i)*2654435761)); ok {
			good++
		}
	}
	if good > 1 {
		t.Errorf("%d of a million guesses are cookies", good)
	}
}

// A flood takes the backlog and no more, and allocates nothing; whoever brings a
// cookie back gets in.
func TestFlood(t *testing.T) {
	p := listenOn(t, 3, config("reno"))
	for range 3 {
		p.peer(Opens, Segment{Flags: wire.SYN})
		p.key.DstPort++
	}
	s := Segment{Seq: wire.SeqOf(1), Flags: wire.SYN, Options: synOpts("mss 1460 sackOK wscale 7")}
	flood := func() {
		p.key.DstPort++
		p.l.Receive(p.now, &p.key, &s, &p.pkt)
	}
	flood()
	if n := testing.AllocsPerRun(1000, flood); n != 0 {
		t.Errorf("%.1f allocations per SYN", n)
	}
	ack := Segment{Seq: wire.SeqOf(2), Ack: p.pkt.Seq.Add(1), Flags: wire.ACK, Window: 100}
	p.peer(Opens, ack)
	if p.c.State() != Established || p.l.Half() != 3 {
		t.Errorf("state %v, %d half open", p.c.State(), p.l.Half())
	}
	p.l.Settled()
	p.peer(Opens, Segment{Flags: wire.SYN})
}

// While answers are held there are no cookies: a SYN too many is not answered.
func TestHeldBacklog(t *testing.T) {
	cfg := config("reno")
	cfg.HoldAnswer = true
	p := listenOn(t, 1, cfg)
	p.peer(Opens, Segment{Flags: wire.SYN})
	p.peer(Ignored, Segment{Flags: wire.SYN})
	if p.l.Stats().Full != 1 {
		t.Errorf("%+v", p.l.Stats())
	}
}

// BenchmarkCookie is the cost of one SYN of a flood.
func BenchmarkCookie(b *testing.B) {
	p := listenOn(nil, 0, config("reno"))
	s := Segment{Seq: wire.SeqOf(1), Flags: wire.SYN, Options: synOpts("mss 1460 sackOK wscale 7")}
	b.ReportAllocs()
	for b.Loop() {
		p.key.DstPort++
		p.l.Receive(p.now, &p.key, &s, &p.pkt)
	}
}

// Who has numbers like those behind a cookie by chance, a connection older than the
// Listener above all, is told from those who wait for an ACK that was lost by what
// its timestamps echo.
func TestCookieEchoes(t *testing.T) {
	p := listenOn(t, 0, config("reno"))
	syn := Segment{Seq: wire.SeqOf(9), Flags: wire.SYN}
	ts(900, 0)(&syn)
	p.peer(Answered, syn)
	stamp := p.pkt.Options.TSVal
	later := Segment{Seq: wire.SeqOf(9 + 3000), Ack: p.pkt.Seq.Add(1), Flags: wire.ACK}
	p.now = p.now.Add(cookieTick - time.Second)
	for echo, want := range map[uint32]Arrival{stamp: Ignored, stamp - 1<<20: Answered, stamp + 1<<20: Answered, 0: Answered} {
		ts(901, echo)(&later)
		p.peer(want, later)
	}
}
