package tcpstack

// How large the buffers are where no custody decides it: as large as what passes
// through them in a round trip, and some more, for as long as something does. Read
// Fisk and Feng, Dynamic Right-Sizing
// in TCP (2001), and Linux's tcp_rcv_space_adjust and tcp_sndbuf_expand.

import (
	"time"

	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// autotune sizes the window offered by what its reader takes, and what the writer
// should keep ready by the congestion window.
type autotune struct {
	grown int // bytes taken from the Budget

	// The receiver's round trip, which a Conn that sends little has to find in what
	// it receives.
	rtt    time.Duration // 0: unknown
	mark   uint64        // without timestamps: a window's worth is there
	markAt mono.Time     // when mark was set; 0: not

	// One measurement.
	began mono.Time // 0: not yet
	from  uint64    // in.Base then
	got   uint64    // bytes received by then
	taken int       // bytes a round trip, the most so far

	send int // bytes that out is worth holding
}

// tuneIdle is how long a connection keeps what its buffers have grown by while it has
// nothing to say. Ours: by then congestion windows have decayed, too (RFC 7661, 4.4).
const tuneIdle = 10 * time.Second

// release gives back what the buffers have grown by.
func (a *autotune) release(b *Budget) {
	b.give(a.grown)
	*a = autotune{}
}

// tunes reports whether the Conn sizes its own window.
func (c *Conn) tunes() bool { return c.cfg.MinBuffer > 0 && !c.cfg.Relay }

// mostBuffer gives what the window offered may grow to.
func (c *Conn) mostBuffer() int {
	if c.cfg.Buffer == 0 {
		return defaultBuffer
	}
	return c.cfg.Buffer
}

// grow gives a buffer of now bytes that should have want of at most most, what it
// may have.
func (c *Conn) grow(now, want, most int) int {
	if want = min(want, most); want <= now {
		return now
	}
	n := c.cfg.Memory.take(want - now)
	c.tune.grown += n
	return now + n
}

// tuneDeadline gives when an idle Conn gives back what its buffers have grown by:
// long after what they held has left.
func (c *Conn) tuneDeadline() mono.Time {
	if c.tune == (autotune{}) || c.out.Len() > 0 || c.in.Len() > 0 || !c.reasm.empty() {
		return mono.Never
	}
	return c.heard.Add(tuneIdle)
}

// shrink is when it does. The window that was offered stays so (RFC 9293, SHLD-14):
// the peer, which is idle too, fills it no faster than its own window grows.
func (c *Conn) shrink(now mono.Time) {
	if c.tuneDeadline() > now {
		return
	}
	c.tune.release(c.cfg.Memory)
	if c.tunes() {
		c.buffer = min(c.mostBuffer(), c.cfg.MinBuffer)
	}
	c.Trim(KeptRecords)
	c.in.Trim(KeptRecords)
	c.out.Trim(KeptRecords)
}

// tuneReceive learns from a segment with data in order, of n bytes.
func (c *Conn) tuneReceive(now mono.Time, s *Segment, n int) {
	if !c.tunes() {
		return
	}
	c.measureRTT(now, s, n)
	a := &c.tune
	if a.rtt == 0 {
		return
	}
	switch {
	case a.began == 0:
	case now.Sub(a.began) < a.rtt:
		return
	default:
		// While there is a hole nothing is measured, so it may have been longer than
		// a round trip; and what then leaves at once came over all that time.
		taken := int(float64(min(c.in.base-a.from, c.stats.BytesReceived-a.got)) * float64(a.rtt) / float64(now.Sub(a.began)))
		if taken > a.taken {
			// The sender may double its rate in a round trip, and is not to find
			// the window closed before the next measurement ends.
			c.buffer = c.grow(c.buffer, 3*taken+16*c.rcvMSS(), c.mostBuffer())
			a.taken = taken
		}
	}
	a.began, a.from, a.got = now, c.in.base, c.stats.BytesReceived
}

// measureRTT estimates the round trip of a receiver: from the echo of its own
// timestamps, else from how long the peer takes to fill a window, which is never
// less.
func (c *Conn) measureRTT(now mono.Time, s *Segment, n int) {
	a := &c.tune
	if c.snap.Timestamps {
		if !s.Options.Has(wire.HasTS) || s.Options.TSEcr == 0 || n < c.rcvMSS() {
			return
		}
		sent := int32(s.Options.TSEcr - c.tsVal)
		d := now.Sub(c.born) - time.Duration(sent)*time.Millisecond
		if d < 0 || d > rtoMax {
			return // no echo of ours
		}
		d = max(d, time.Millisecond) // the clock ticks no finer
		if a.rtt == 0 {
			a.rtt = d
		}
		a.rtt += (d - a.rtt) / 8
		return
	}
	if a.markAt != 0 {
		if c.in.end < a.mark {
			return
		}
		if d := max(now.Sub(a.markAt), time.Microsecond); a.rtt == 0 || d < a.rtt {
			a.rtt = d
		}
	}
	a.mark, a.markAt = max(c.rcvEdge, c.in.end+1), now
}

// SendRoom gives how many more bytes out is worth holding: twice the congestion
// window, so that what is acknowledged can be followed at once, within the limits
// of Config, the least before ESTABLISHED. A writer that keeps to it loses no
// throughput and no memory.
func (c *Conn) SendRoom() int {
	a, window := &c.tune, 0
	if c.control != nil {
		window = c.control.Window()
	}
	least, most := c.cfg.MinSendBuffer, c.cfg.SendBuffer
	if most == 0 {
		most = defaultBuffer
	}
	if least == 0 {
		least = min(minSendBuffer, most)
	}
	a.send = c.grow(max(a.send, least), 2*window, most)
	return max(0, a.send-c.out.Len())
}
