package splice

// The end of a flow by a reset that accd has to pass on or to send.
// docs/custody.md, RST, is to be read first.

import (
	"time"

	"accd/tcpstack"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// deliverWithin is how long what was acknowledged may take to be delivered
// before its receiver is reset.
const deliverWithin = 5 * time.Second

// ending is a flow of which one endpoint is gone, or both are to be reset.
type ending struct {
	on    bool
	side  Side      // to be reset; both: the other one too
	both  bool      //
	sent  bool      // the RST is out, or as good as
	until mono.Time // deliver until then; with sent: answer challenges until then
	why   Reason
}

// receiveRST judges an RST of the endpoint from (RFC 5961, 3.2).
func (f *Flow) receiveRST(now mono.Time, from Side, s *tcpstack.Segment) {
	c, other := f.c, from.Other()
	if c.conn[from].CheckReset(now, s) != tcpstack.ResetAccept {
		f.count(ForgedRST)
		return
	}
	// docs/custody.md, FIN: an RST after the sender's FIN was delivered is not
	// relayed while the receiver has everything. Nothing is held towards the
	// sender either, so the flow is the endpoints' own again.
	if c.conn[other].FINAcked() && c.stream[other].Len() == 0 {
		f.rec.why = Reset
		f.exit(now)
		return
	}
	f.beginEnding(now, other, Reset)
}

// beginEnding starts the end of the flow: side is reset once it has what was
// acknowledged in its name.
func (f *Flow) beginEnding(now mono.Time, side Side, why Reason) {
	c := f.c
	if !c.drain.on {
		f.book(Client)
		f.book(Server)
		c.drain.owed = [2]wire.Seq{c.owed(Client), c.owed(Server)}
		if c.split.on { // the two sides of a byte may have different numbers
			for i := range c.drain.owed {
				c.drain.owed[i] = c.conn[1-i].SndUna().Add(c.stream[i].Len())
			}
		}
		c.drain.on = true
	}
	f.state = InCustody
	c.ending = ending{on: true, side: side, until: now.Add(deliverWithin), why: why}
	c.conn[side].Drain() // nothing more is acknowledged, what is held is sent
	c.stream[side].Discard(c.stream[side].End())
	c.drain.release()
}

// Kill ends what cannot be drained before a stop's deadline: both endpoints are
// reset if bytes are held, and the flow is theirs if not. Transmit gives the
// RSTs.
func (f *Flow) Kill(now mono.Time) {
	c := f.c
	if c == nil {
		return
	}
	if !c.ending.on {
		if f.Held() == [2]int{} && !c.split.on {
			f.exit(now)
			return
		}
		f.beginEnding(now, Client, Killed)
		c.ending.both = true
	}
	f.sendReset(now)
}

// sendReset makes the RSTs due, and keeps what answers a challenge ACK for
// three RTO.
func (f *Flow) sendReset(now mono.Time) {
	c, e := f.c, &f.c.ending
	if e.sent {
		return
	}
	e.sent = true
	e.until = now.Add(3 * c.conn[e.side].RTO())
	for i := range c.conn {
		if e.both || Side(i) == e.side {
			// In drain the endpoint has got native bytes too.
			if o := &f.rec.Dir[1-i]; !c.split.on && !c.drain.word[i].doubted && c.conn[i].SndNxt().Less(o.Acked) {
				c.conn[i].SendTo(now, o.Acked)
			}
			c.conn[i].Abort()
			f.env.Count.Resets++
		}
	}
}

// whileEnding is Receive while the flow ends: nothing passes but a new connection,
// and, behind its SYN, once the RST is out, everything: the new one is nobody's but the
// endpoints', and who still has the old one is reset by the other.
func (f *Flow) whileEnding(now mono.Time, from Side, s *tcpstack.Segment) Disposition {
	c, e := f.c, &f.c.ending
	if s.Flags.Has(wire.SYN) {
		f.receiveSYN(from, s)
		return Pass
	}
	if e.sent && f.rec.reopening {
		return Pass
	}
	if near := &c.conn[from]; from == e.side || e.both {
		if s.Flags.Has(wire.RST) && s.Seq == near.RcvAcked() {
			// It is gone by itself.
			f.end(e.why)
			s.Drop()
			return Taken
		}
		near.Receive(now, s)
		if e.why != Killed {
			f.deliverOrReset(now)
		}
	}
	s.Drop()
	return Taken
}

// deliverOrReset sends the RST once everything acknowledged is delivered, or it
// has taken too long.
func (f *Flow) deliverOrReset(now mono.Time) {
	c, e := f.c, &f.c.ending
	conn := &c.conn[e.side]
	if !e.sent && (!conn.SndUna().Less(c.drain.owed[e.side.Other()]) || now >= e.until || conn.Err() != nil) {
		f.sendReset(now)
	}
}

func (f *Flow) transmitEnding(now mono.Time, p *tcpstack.Packet) (Side, bool) {
	c, e := f.c, &f.c.ending
	f.deliverOrReset(now)
	for i := range c.conn {
		if (e.both || Side(i) == e.side) && c.conn[i].Transmit(now, p) {
			return Side(i), true
		}
	}
	return Client, false
}

func (f *Flow) expireEnding(now mono.Time) {
	e := &f.c.ending
	switch {
	case !e.sent:
		f.c.conn[e.side].Expire(now)
		f.deliverOrReset(now)
	case now >= e.until:
		f.end(e.why)
	}
}

func (f *Flow) endingDeadline() mono.Time {
	e := &f.c.ending
	if e.sent {
		return e.until
	}
	return min(e.until, f.c.conn[e.side].Deadline())
}
