package tcpstack

import (
	"testing"
	"time"

	"accd/tcpstack/wire"
)

// RFC 9293, 3.5, figure 6: the three-way handshake from the side that dials.
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
