package tcpstack

import (
	"testing"
	"time"

	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// RFC 9293, 3.5, figure 6: the three-way handshake from the side that dials.
//
// proves: MUST-43 MUST-45
func TestDial(t *testing.T) {
	s := dial(t, config("reno"))
	s.state(SynSent)
	s.want("S -1:-1 win 65535 mss 1460 sackOK wscale 7 ts 500 0")
	s.wait(20 * time.Millisecond)
	s.peer(-1, 0, 0, syn("mss 1000 sackOK wscale 2"), ts(70, 500), rawWindow(9000))
	s.state(Established)
	s.want("0:0 ack 0 ts 520 70")
	if smoothed, _ := s.c.RTT(); smoothed != 20*time.Millisecond {
		t.Errorf("round trip %v, want that of the handshake", smoothed)
	}
	if got := s.c.SndEdge().Sub(s.c.SndUna()); got != 9000 {
		t.Errorf("window %d, want 9000: a SYN's is not scaled (RFC 7323, 2.2)", got)
	}
	s.write(1976)
	s.want("0:1976 ack 0 ts 520 70")
	s.peer(0, 0, 1976, ts(71, 520))
}

// The same from the side that listens.
func TestAccept(t *testing.T) {
	s := accept(t, config("reno"), syn("mss 1000 sackOK wscale 2"), ts(70, 0))
	s.state(SynReceived)
	s.want("S -1:-1 ack 0 win 65535 mss 1460 sackOK wscale 7 ts 500 70")
	s.wait(20 * time.Millisecond)
	s.peer(0, 10, 0, ts(71, 500))
	s.state(Established)
	s.want("0:0 ack 10 ts 520 71")
	if got := s.c.SndEdge().Sub(s.c.SndUna()); got != peerWnd {
		t.Errorf("window %d, want %d", got, peerWnd)
	}
	if s.in.Len() != 10 {
		t.Errorf("%d bytes received, want 10", s.in.Len())
	}
}

// The answer says what was asked for and what the Config allows, and no more.
func TestOptionsAgreed(t *testing.T) {
	for name, c := range map[string]struct {
		cfg   func(*Config)
		asked string
		want  string
	}{
		"nothing asked":    {nil, "", "S -1:-1 ack 0 win 65535 mss 1460"},
		"SACK":             {nil, "sackOK", "S -1:-1 ack 0 win 65535 mss 1460 sackOK"},
		"scale":            {nil, "wscale 14", "S -1:-1 ack 0 win 65535 mss 1460 wscale 7"},
		"no SACK":          {func(c *Config) { c.NoSACK = true }, "sackOK wscale 1", "S -1:-1 ack 0 win 65535 mss 1460 wscale 7"},
		"no scale":         {func(c *Config) { c.NoWindowScale = true }, "sackOK wscale 1", "S -1:-1 ack 0 win 65535 mss 1460 sackOK"},
		"small buffer":     {func(c *Config) { c.Buffer = 3000 }, "wscale 1", "S -1:-1 ack 0 win 3000 mss 1460 wscale 0"},
		"a buffer to grow": {func(c *Config) { c.Buffer, c.WindowScale = 3000, 9 }, "wscale 1", "S -1:-1 ack 0 win 3000 mss 1460 wscale 9"},
		"small MTU":        {func(c *Config) { c.MTU = 576 }, "mss 1460", "S -1:-1 ack 0 win 65535 mss 536"},
		"jumbo":            {func(c *Config) { c.MTU = 9000 }, "mss 8960", "S -1:-1 ack 0 win 65535 mss 8960"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config("reno")
			if c.cfg != nil {
				c.cfg(cfg)
			}
			s := accept(t, cfg, syn(c.asked))
			s.want(c.want)
			s.peer(0, 0, 0)
			s.state(Established)
		})
	}
}

// A SYN-ACK can wait for what somebody else answers; nothing is sent until then,
// and the answer can say less than the MTU allows.
func TestHeldAnswer(t *testing.T) {
	cfg := config("reno")
	cfg.HoldAnswer = true
	s := accept(t, cfg, syn("mss 1460"))
	s.quiet()
	s.advance(time.Hour)
	s.quiet()
	s.peer(-1, 0, 0, flags(wire.SYN), syn("mss 1460")) // again
	s.peer(0, 0, 0)                                    // a guess
	s.quiet()
	s.state(SynReceived)
	s.c.OfferMSS(1200)
	s.c.Answer(s.now)
	s.want("S -1:-1 ack 0 win 65535 mss 1200")
	s.peer(0, 0, 0)
	s.state(Established)
}

// RFC 9293, 3.10.7.1: who refuses in place of somebody else refuses as CLOSED does.
func TestHeldRefusal(t *testing.T) {
	cfg := config("reno")
	cfg.HoldAnswer = true
	s := accept(t, cfg, syn("mss 1460"))
	s.c.Abort()
	s.want("R 0:0 ack 0")
	s.ended(ErrAborted)
}

const (
	plainSYN    = "S -1:-1 win 65535 mss 1460 sackOK wscale 7 ts "
	plainSYNACK = "S -1:-1 ack 0 win 65535 mss 1460"
)

// RFC 9293, MUST-23: R2 of a SYN is at least three minutes.
func TestSYNAgain(t *testing.T) {
	cfg := config("reno")
	cfg.NoTimestamps = true
	s := dial(t, cfg)
	syn := "S -1:-1 win 65535 mss 1460 sackOK wscale 7"
	s.want(syn)
	start := s.now
	for _, seconds := range []int{1, 1, 1, 1, 1, 2, 4, 8, 16, 32, 64} {
		if got := s.next(syn); got != time.Duration(seconds)*time.Second {
			t.Errorf("%v after the last SYN, want %d s", got, seconds)
		}
	}
	s.advance(time.Hour)
	if s.ended(ErrTimeout); s.now.Sub(start) < 3*time.Minute {
		t.Errorf("given up after %v", s.now.Sub(start))
	}
}

// A Config can ask for less.
func TestSYNRetries(t *testing.T) {
	cfg := config("reno")
	cfg.SYNRetries, cfg.NoTimestamps = 2, true
	s := dial(t, cfg)
	s.want("S -1:-1 win 65535 mss 1460 sackOK wscale 7")
	s.next("S -1:-1 win 65535 mss 1460 sackOK wscale 7")
	s.next("S -1:-1 win 65535 mss 1460 sackOK wscale 7")
	s.advance(time.Hour)
	s.ended(ErrTimeout)
}

// A SYN-ACK goes to who may not have asked for it: five times again and no more.
func TestSYNACKAgain(t *testing.T) {
	s := accept(t, config("reno"))
	s.want(plainSYNACK)
	for i := range synAckRetries {
		if got := s.next(plainSYNACK); got != time.Second<<i {
			t.Errorf("%v after the last SYN-ACK, want %v", got, time.Second<<i)
		}
	}
	s.advance(time.Hour)
	s.ended(ErrTimeout)
}

// RFC 6298, 5.7: once a SYN was lost, the first RTO is 3 s. RFC 5681, 3.1 as Linux
// reads it: a second loss leaves one segment of the initial window.
func TestAfterLostSYNs(t *testing.T) {
	for lost, want := range []struct {
		rto    time.Duration
		window int
	}{{rtoInitial, 10}, {rtoAfterSYN, 10}, {rtoAfterSYN, 1}} {
		cfg := config("reno")
		cfg.NoTimestamps = true
		s := dial(t, cfg)
		s.flush()
		for range lost {
			s.next("S -1:-1 win 65535 mss 1460 sackOK wscale 7")
		}
		s.peer(-1, 0, 0, syn("mss 1000"), rawWindow(65535))
		s.want("0:0 ack 0")
		if window, _, _ := s.c.Congestion(); window != want.window*1000 {
			t.Errorf("%d SYNs lost: window %d, want %d segments", lost, window, want.window)
		}
		if got := s.c.RTO(); lost > 0 && got != want.rto {
			t.Errorf("%d SYNs lost: RTO %v, want %v", lost, got, want.rto)
		}
	}
}

// RFC 9293, MUST-10, and 3.5, figure 7: two SYNs cross, two SYN-ACKs follow.
func TestSimultaneousOpen(t *testing.T) {
	cfg := config("reno")
	cfg.NoTimestamps = true
	s := dial(t, cfg)
	s.want("S -1:-1 win 65535 mss 1460 sackOK wscale 7")
	s.peer(-1, 0, 0, flags(0), syn("mss 1460"), rawWindow(5000))
	s.state(SynReceived)
	s.want(plainSYNACK)
	s.peer(-1, 0, 0, syn("mss 1460"), rawWindow(5000))
	s.state(Established)
	s.want("0:0 ack 0")
	if got := s.c.SndEdge().Sub(s.c.SndUna()); got != 5000 {
		t.Errorf("window %d, want 5000", got)
	}
}

// The same where the peer's SYN-ACK is lost: its ACK of ours is enough.
func TestSimultaneousOpenByACK(t *testing.T) {
	s := dial(t, config("reno"))
	s.want(plainSYN + "500 0")
	s.peer(-1, 0, 0, flags(0), syn("mss 1460"))
	s.want(plainSYNACK)
	s.peer(0, 10, 0, rawWindow(5000))
	s.state(Established)
	s.want("0:0 ack 10")
}

// RFC 9293, MUST-11: an RST in SYN-RECEIVED sends who listened back to listen, and
// tells who dialled that it was refused.
func TestResetInSynReceived(t *testing.T) {
	s := accept(t, config("reno"))
	s.want(plainSYNACK)
	s.peer(0, 0, 0, flags(wire.RST))
	s.ended(ErrReset)

	s = dial(t, config("reno"))
	s.flush()
	s.peer(-1, 0, 0, flags(0), syn(""))
	s.want(plainSYNACK)
	s.peer(0, 0, 0, flags(wire.RST|wire.ACK))
	s.ended(ErrRefused)
}

// RFC 5961, 3.2 holds in SYN-RECEIVED: in the window is not enough.
func TestForgedResetInSynReceived(t *testing.T) {
	s := accept(t, config("reno"))
	s.want(plainSYNACK)
	s.peer(70000, 0, 0, flags(wire.RST))
	s.peer(-5, 0, 0, flags(wire.RST))
	s.quiet()
	s.peer(5, 0, 0, flags(wire.RST))
	s.want("0:0 ack 0")
	s.state(SynReceived)
	s.peer(0, 0, 0)
	s.state(Established)
}

// RFC 9293, 3.10.7.3, first and second: what does not acknowledge our SYN is
// answered by an RST or by nothing, and ends nothing.
func TestSynSentUnacceptable(t *testing.T) {
	s := dial(t, config("reno"))
	s.want(plainSYN + "500 0")
	s.peer(7, 0, -1)
	s.want("R -1:-1")
	s.peer(7, 0, 1)
	s.want("R 1:1")
	s.peer(-1, 0, 5, syn("mss 1460"))
	s.want("R 5:5")
	s.peer(7, 0, 5, flags(wire.RST|wire.ACK))
	s.peer(7, 0, 0, flags(wire.RST))
	s.peer(7, 10, 0)                           // fifth: neither SYN nor RST
	s.peer(7, 10, 0, flags(wire.FIN|wire.PSH)) //
	s.quiet()
	s.state(SynSent)
	s.peer(7, 0, 0, flags(wire.RST|wire.ACK))
	s.ended(ErrRefused)
}

// RFC 9293, 3.10.7.2 and 3.10.7.4: data that comes with a SYN is delivered when the
// connection is ESTABLISHED, and not before; so is a FIN.
func TestSYNWithData(t *testing.T) {
	s := accept(t, config("reno"), func(g *Segment) { g.Flags |= wire.FIN })
	s.want(plainSYNACK)
	s.peer(1, 0, 0)
	s.want("0:0 ack 1")
	s.state(CloseWait)

	s = dial(t, config("reno"))
	s.flush()
	s.peer(-1, 100, 0, flags(0), syn(""))
	s.want(plainSYNACK)
	if s.in.Len() != 0 {
		t.Error("data before the handshake is over")
	}
	s.peer(100, 0, 0)
	s.want("0:0 ack 100")
	if s.in.Len() != 100 {
		t.Errorf("%d bytes, want 100", s.in.Len())
	}
}

// RFC 9293, 3.10.7.3: a SYN-ACK may bring data and a FIN.
func TestSYNACKWithData(t *testing.T) {
	s := dial(t, config("reno"))
	s.want(plainSYN + "500 0")
	s.peer(-1, 100, 0, syn(""), func(g *Segment) { g.Flags |= wire.FIN })
	s.want("0:0 ack 101")
	s.state(CloseWait)
	if s.in.Len() != 100 || !s.in.Closed() {
		t.Errorf("%d bytes, closed %v", s.in.Len(), s.in.Closed())
	}
}

// The ACK that completes the handshake may bring data and a FIN; a FIN before it is
// none.
func TestFINInSynReceived(t *testing.T) {
	s := accept(t, config("reno"))
	s.want(plainSYNACK)
	s.peer(0, 0, 0, flags(wire.FIN))
	s.quiet()
	s.state(SynReceived)
	s.peer(0, 10, 0, flags(wire.FIN|wire.ACK))
	s.state(CloseWait)
	s.want("0:0 ack 11")
}

// RFC 9293, 3.10.7.4, fifth: SYN-RECEIVED.
func TestSynReceivedBadACK(t *testing.T) {
	s := accept(t, config("reno"))
	s.want(plainSYNACK)
	for _, ack := range []int{-1, 1, 1 << 20, -1 << 20} {
		s.peer(0, 10, ack)
		s.want("R " + itoa(ack) + ":" + itoa(ack))
	}
	s.state(SynReceived)
	s.peer(0, 0, 0)
	s.state(Established)
}

// A SYN that comes again says that our answer was lost; another one in the window
// ends a passive open (RFC 9293, 3.10.7.4, fourth), and one outside is answered.
func TestSYNInSynReceived(t *testing.T) {
	s := accept(t, config("reno"))
	s.want(plainSYNACK)
	s.peer(-1, 0, 0, flags(0), syn(""))
	s.want(plainSYNACK)
	s.peer(-10, 0, 0, flags(0), syn(""))
	s.want("0:0 ack 0")
	s.peer(10, 0, 0, flags(0), syn(""))
	s.ended(ErrReset)
	s.quiet()
}

// A SYN-ACK that comes late or again is acknowledged: the server has not heard us.
func TestLateSYNACK(t *testing.T) {
	s := dial(t, config("reno"))
	s.want(plainSYN + "500 0")
	again := func() { s.peer(-1, 0, 0, syn("mss 1460 sackOK"), ts(70, 500)) }
	again()
	s.want("0:0 ack 0 ts 500 70")
	for range 3 {
		s.wait(time.Second)
		again()
		s.want("0:0 ack 0 ts " + itoa(500+int(s.now.Sub(s.c.born)/time.Millisecond)) + " 70")
	}
	s.state(Established)
}

// RFC 7323, 3.2: a third segment without the option it should have is no reason to
// fail (gVisor 11536).
func TestThirdACKWithoutTimestamp(t *testing.T) {
	s := accept(t, config("reno"), syn("mss 1460"), ts(7, 0))
	s.want(plainSYNACK + " ts 500 7")
	s.peer(0, 10, 0)
	s.state(Established)
	s.want("0:0 ack 10 ts 500 7")
}

// RFC 7323, 5.3: an old duplicate in SYN-RECEIVED.
func TestPAWSInSynReceived(t *testing.T) {
	s := accept(t, config("reno"), syn(""), ts(1000, 0))
	s.want(plainSYNACK + " ts 500 1000")
	s.peer(0, 10, 0, ts(10, 500))
	s.want("0:0 ack 0 ts 500 1000")
	s.state(SynReceived)
}

// RFC 9293, MUST-15: without the option segments have 536 bytes, 1220 over IPv6. No
// option makes them smaller than is sane (CVE-2019-11479).
func TestPeerMSS(t *testing.T) {
	for option, want := range map[string]int{"": 536, "mss 0": MinMSS, "mss 1": MinMSS, "mss 700": 700, "mss 9000": 1460} {
		s := dial(t, config("reno"))
		s.flush()
		s.peer(-1, 0, 0, syn(option))
		s.want("0:0 ack 0")
		if s.c.MSS() != want {
			t.Errorf("%q: %d, want %d", option, s.c.MSS(), want)
		}
	}
	var in, out Stream
	key := wire.Tuple{Src: wire.Addr{0: 0x20, 15: 1}, Dst: wire.Addr{0: 0x20, 15: 2}}
	syn := Segment{Flags: wire.SYN}
	c := Accept(1, key, wire.SeqOf(0), &syn, &in, &out, config("reno"))
	c.establish(2)
	if c.MSS() != 1220 || c.offeredMSS() != 1440 {
		t.Errorf("IPv6: %d, offered %d, want 1220 and 1440", c.MSS(), c.offeredMSS())
	}
}

// RFC 7323, 2.3: a shift beyond 14 counts as 14.
func TestLargestScale(t *testing.T) {
	s := accept(t, config("reno"), syn("wscale 200"))
	s.want(plainSYNACK + " wscale 7")
	s.peer(0, 0, 0, rawWindow(1000))
	if got := s.c.SndEdge().Sub(s.c.SndUna()); got != 1000<<14 {
		t.Errorf("window %d, want %d", got, 1000<<14)
	}
}

// What is written before the connection is open leaves with the last segment of the
// handshake; so does a FIN.
func TestWriteBeforeOpen(t *testing.T) {
	s := dial(t, config("reno"))
	s.write(100)
	s.out.Close()
	s.want(plainSYN + "500 0")
	s.peer(-1, 0, 0, syn("mss 1460"))
	s.want("F 0:100 ack 0")
	s.state(FinWait1)
	s.peer(0, 0, 101)
	s.state(FinWait2)
}

// RFC 9293, 3.10.5: nobody hears of an abort before SYN-RECEIVED.
func TestAbortBeforeOpen(t *testing.T) {
	s := dial(t, config("reno"))
	s.want(plainSYN + "500 0")
	s.c.Abort()
	s.ended(ErrAborted)
	s.quiet()

	s = dial(t, config("reno"))
	s.want(plainSYN + "500 0")
	s.c.Close(s.now)
	s.ended(ErrAborted)
	s.quiet()

	s = accept(t, config("reno"))
	s.want(plainSYNACK)
	s.c.Abort()
	s.want("R 0:0 ack 0")
	s.ended(ErrAborted)
}

// RFC 5461 and RFC 5927: ICMP errors end a connection in SYN-SENT only, and only
// about its SYN. Soft ones explain why nothing came.
func TestUnreachable(t *testing.T) {
	iss := wire.SeqOf(ourISN).Add(-1)
	s := dial(t, config("reno"))
	if s.c.Unreachable(s.now, iss, true) {
		t.Error("an error about a SYN that was not sent is believed")
	}
	s.want(plainSYN + "500 0")
	if s.c.Unreachable(s.now, iss.Add(1), true) || !s.c.Unreachable(s.now, iss, true) {
		t.Error("the wrong error is believed")
	}
	s.ended(ErrUnreachable)

	cfg := config("reno")
	cfg.SYNRetries = 1
	s = dial(t, cfg)
	s.flush()
	s.c.Unreachable(s.now, iss, false)
	s.state(SynSent)
	s.next(plainSYN + "1500 0")
	s.advance(time.Hour)
	s.ended(ErrUnreachable)

	s = dial(t, config("reno"))
	s.flush()
	s.peer(-1, 0, 0, syn(""))
	s.want("0:0 ack 0")
	if s.c.Unreachable(s.now, iss, true) {
		t.Error("believed in ESTABLISHED")
	}
	s.state(Established)
}

// Between handshake and end nothing is allocated per packet; the handshake itself
// allocates its controller.
func TestHandshakeAllocs(t *testing.T) {
	cfg := config("cubic")
	var in, out Stream
	var c Conn
	var p Packet
	n := testing.AllocsPerRun(100, func() {
		c.Dial(mono.Time(time.Second), storyKey(), wire.SeqOf(ourISN).Add(-1), &in, &out, cfg)
		c.Transmit(mono.Time(time.Second), &p)
		c.Abort()
	})
	if n != 0 {
		t.Errorf("a SYN takes %.0f allocations", n)
	}
}
