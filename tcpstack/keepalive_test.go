package tcpstack

import (
	"testing"
	"time"
)

// RFC 9293, 3.8.4, MUST-29: a clock that leaps by hours, as that of a virtual
// machine does after a pause, makes one probe due, not all of them and the end.
func TestKeepAliveOutlivesALeap(t *testing.T) {
	cfg := config("reno")
	cfg.KeepAlive = KeepAlive{On: true, Idle: time.Minute, Interval: time.Second}
	s := tell(t, cfg, nil)
	s.flush()
	s.wait(5 * time.Hour)
	for range 3 {
		s.c.Expire(s.now)
	}
	s.want("-1:-1 ack 0")
	if s.c.Err() != nil {
		t.Fatal(s.c.Err())
	}
	s.wait(rtt)
	s.peer(0, 0, 0)
	s.wait(rtt)
	s.c.Expire(s.now)
	s.quiet()
}
