package tcpstack

import (
	"testing"
	"time"
)

// RFC 9293, MUST-25: nobody is asked unless it was configured.
func TestKeepAliveIsOff(t *testing.T) {
	s := tell(t, nil, nil)
	s.pass(100 * 24 * time.Hour)
	s.state(Established)
}

// RFC 9293, MUST-26 to MUST-28: after two hours without a sign of life, and at the
// sequence number before the window, without data (SHLD-12).
func TestKeepAlive(t *testing.T) {
	cfg := config("reno")
	cfg.KeepAlive.On = true
	s := tell(t, cfg, nil)
	for range 3 {
		if got := s.next("-1:-1 ack 0"); got != 2*time.Hour {
			t.Errorf("asked after %v, want 2 h", got)
		}
		s.peer(0, 0, 0)
	}
}

// RFC 9293, MUST-29: an answer that is lost is not the end; nine are.
func TestKeepAliveGivesUp(t *testing.T) {
	cfg := config("reno")
	cfg.KeepAlive = KeepAlive{On: true, Idle: 3 * time.Hour, Interval: time.Minute, Probes: 4}
	s := tell(t, cfg, nil)
	s.next("-1:-1 ack 0")
	for range 2 {
		if got := s.next("-1:-1 ack 0"); got != time.Minute {
			t.Errorf("asked again after %v, want 1 m", got)
		}
	}
	s.peer(0, 0, 0)
	s.next("-1:-1 ack 0")
	for range 3 {
		s.next("-1:-1 ack 0")
	}
	if got := s.next("R 0:0 ack 0"); got != time.Minute {
		t.Errorf("given up after %v, want 1 m", got)
	}
	s.ended(ErrTimeout)
}

// While data waits to be acknowledged the retransmission timer asks, and no one else.
func TestKeepAliveWithData(t *testing.T) {
	cfg := config("reno")
	cfg.KeepAlive = KeepAlive{On: true, Idle: time.Second}
	s := tell(t, cfg, nil)
	s.write(1000)
	s.want("0:1000 ack 0")
	s.next("0:1000 ack 0")
	s.next("0:1000 ack 0")
	s.peer(0, 0, 1000)
	s.next("999:999 ack 0")
}

// RFC 9293, MUST-26 does not forbid it in half-closed connections: a peer in
// CLOSE-WAIT may be gone as well.
func TestKeepAliveHalfClosed(t *testing.T) {
	cfg := config("reno")
	cfg.KeepAlive.On = true
	s := closed(t, FinWait2, cfg)
	s.next("0:0 ack 0")
}

// RFC 5482 and RFC 9293, 3.9.1.1: what is sent waits so long, whatever the count of
// retransmissions, and not a moment longer because the connection was quiet before.
func TestUserTimeout(t *testing.T) {
	cfg := config("reno")
	cfg.UserTimeout = 10 * time.Second
	s := tell(t, cfg, nil)
	s.pass(time.Hour)
	s.write(1000)
	s.want("0:1000 ack 0")
	s.wait(5 * time.Second)
	s.peer(0, 0, 500)
	start := s.now
	for s.c.Err() == nil {
		s.advance(time.Minute)
		if s.c.Err() == nil {
			s.flush()
		}
	}
	if got := s.now.Sub(start); got != 10*time.Second {
		t.Errorf("ended %v after the last progress, want 10 s", got)
	}
	if s.flush() != 1 {
		t.Error("the peer is not told")
	}
	s.ended(ErrTimeout)
}

// packetdrill's user_timeout: with a window that stays closed and probes that are
// answered, too.
func TestUserTimeoutAtZeroWindow(t *testing.T) {
	cfg := config("reno")
	cfg.UserTimeout = 10 * time.Second
	s := tell(t, cfg, func(n *Snapshot) { n.SndWnd = 0 })
	s.pass(time.Hour)
	s.write(1000)
	s.quiet()
	start := s.now
	for s.c.Err() == nil {
		s.advance(time.Minute)
		if s.c.Err() == nil && s.flush() > 0 {
			s.peer(0, 0, 0, window(0))
		}
	}
	s.want("R 0:0 ack 0")
	if got := s.now.Sub(start); got != 10*time.Second {
		t.Errorf("ended after %v, want 10 s", got)
	}
	s.ended(ErrTimeout)
}

// RFC 9293, 3.9.1.1: the timeout of an OPEN.
func TestUserTimeoutOfDial(t *testing.T) {
	cfg := config("reno")
	cfg.UserTimeout, cfg.NoTimestamps = 2500*time.Millisecond, true
	s := dial(t, cfg)
	s.flush()
	start := s.now
	s.next("S -1:-1 win 65535 mss 1460 sackOK wscale 7")
	s.next("S -1:-1 win 65535 mss 1460 sackOK wscale 7")
	s.advance(time.Minute)
	s.ended(ErrTimeout)
	if got := s.now.Sub(start); got != cfg.UserTimeout {
		t.Errorf("ended after %v, want %v", got, cfg.UserTimeout)
	}
}
