package tcpstack

// LISTEN and CLOSED: what answers where there is no connection. Read RFC 9293
// 3.10.7.1 and 3.10.7.2 and RFC 4987 first.

import (
	"time"

	"accd/tcpstack/buf"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// Arrival is what a Listener makes of a segment.
type Arrival uint8

// Arrivals.
const (
	// Ignored: the segment is dropped.
	Ignored Arrival = iota
	// Answered: the packet is to be sent, nothing else is to be done.
	Answered
	// Opens: the owner calls Listener.Accept with the same segment.
	Opens
)

// Listener is a port in LISTEN. The owner asks it about segments that belong to no
// Conn, and keeps the Conns. Up to its backlog each SYN becomes a Conn in
// SYN-RECEIVED; beyond it SYNs are answered with cookies, which take no memory at
// all, and the ACK that brings one back makes a Conn. So a flood costs its packets
// and the backlog, and who means it gets through.
type Listener struct {
	cfg     Config
	backlog int
	half    int
	start   Secret    // of ISNs and timestamps
	cookies Secret    // of cookies
	last    mono.Time // when a cookie was sent
	scratch Conn      // makes the SYN-ACKs with cookies
	in, out Stream    // of scratch
	stats   ListenerStats
}

// ListenerStats are counts from the beginning of a Listener.
type ListenerStats struct {
	Accepted    uint64 // SYNs that became a Conn
	CookiesSent uint64 // SYNs answered with a cookie
	CookiesUsed uint64 // ACKs that became a Conn
	CookiesBad  uint64 // ACKs with a cookie that is none, or too old
	Refused     uint64 // segments answered with an RST
	Ignored     uint64 // segments dropped
	Full        uint64 // of them SYNs, because of the backlog
}

// NewListener makes a Listener with room for backlog half-open connections, whose
// Conns get cfg. start is the Secret of their initial sequence numbers, cookies
// another. With cfg.HoldAnswer there are no cookies, as they would answer before
// Answer: beyond the backlog SYNs are dropped, to come again.
func NewListener(backlog int, start, cookies Secret, cfg *Config) *Listener {
	return &Listener{cfg: *cfg, backlog: backlog, start: start, cookies: cookies}
}

// Half gives the half-open connections.
func (l *Listener) Half() int { return l.half }

// Stats gives the counts.
func (l *Listener) Stats() *ListenerStats { return &l.stats }

// CookieAt gives when a cookie was sent last; 0: none was.
func (l *Listener) CookieAt() mono.Time { return l.last }

// Expect says that another Listener with the same secrets, whose place this one
// takes, sent its last cookie at at.
func (l *Listener) Expect(at mono.Time) { l.last = max(l.last, at) }

// Receive looks at a segment for which there is no Conn; key.Src is our side. With
// Answered p is filled. With Ignored and Answered it takes the payload.
func (l *Listener) Receive(now mono.Time, key *wire.Tuple, s *Segment, p *Packet) Arrival {
	p.reset()
	what := l.receive(now, key, s, p)
	if what != Opens {
		s.Drop()
	}
	if what == Ignored {
		l.stats.Ignored++
	}
	return what
}

func (l *Listener) receive(now mono.Time, key *wire.Tuple, s *Segment, p *Packet) Arrival {
	switch {
	case s.Flags.Has(wire.RST) || !answerable(key):
		return Ignored // First.
	case s.Flags.Has(wire.ACK):
		// Second.
		if !s.Flags.Has(wire.SYN) && l.expectsCookies(now) {
			if _, _, ok := l.cookieOf(now, key, s); ok {
				return Opens
			}
			if l.cookies.follows(now, key, s.Seq, s.Ack) && l.echoes(now, key, &s.Options) {
				return Ignored
			}
			l.stats.CookiesBad++
		}
		l.stats.Refused++
		Refuse(key, s, p)
		return Answered
	case !s.Flags.Has(wire.SYN):
		return Ignored // Fourth.
	case l.half < l.backlog:
		return Opens // Third.
	}
	l.stats.Full++
	if l.cfg.HoldAnswer {
		return Ignored
	}
	l.sendCookie(now, key, s, p)
	return Answered
}

// echoes reports whether a timestamp that comes back is one that a SYN-ACK with a
// cookie may have had: who has numbers like those of a cookie by chance has not.
func (l *Listener) echoes(now mono.Time, key *wire.Tuple, o *wire.Options) bool {
	const oldest = cookieAge*uint32(cookieTick/time.Millisecond) + 2<<stampBits
	_, stamp := l.start.Start(now, key)
	return !o.Has(wire.HasTS) || l.cfg.NoTimestamps || stamp-o.TSEcr <= oldest
}

// expectsCookies reports whether a cookie could be under way: in quiet times an ACK
// out of nowhere is answered by an RST, and none can be guessed.
func (l *Listener) expectsCookies(now mono.Time) bool {
	return l.last != 0 && now.Sub(l.last) < cookieAge*cookieTick
}

// sendCookie makes the SYN-ACK that a Conn would send, but for its numbers, and
// grants only what the cookie can remember. What else the SYN carries, data above
// all, has to come again.
func (l *Listener) sendCookie(now mono.Time, key *wire.Tuple, s *Segment, p *Packet) {
	l.last = now
	l.stats.CookiesSent++
	syn := *s
	syn.Payload = buf.Ref{}
	stamped := s.Options.Has(wire.HasTS) && !l.cfg.NoTimestamps
	syn.Flags &= wire.SYN | wire.ECE | wire.CWR // no AccECN: its state has no room
	if !stamped {
		syn.Options.Set &= wire.HasMSS
	}
	if !stamped || syn.Flags != wire.SYN|wire.ECE|wire.CWR {
		syn.Flags = wire.SYN
	}
	c := &l.scratch
	c.Accept(now, *key, l.cookies.cookie(now, key, s.Seq, &s.Options), &syn, &l.in, &l.out, &l.cfg)
	_, stamp := l.start.Start(now, key)
	c.SetTimestamp(stampWith(stamp, &syn.Options, syn.Flags.Has(wire.ECE)))
	c.Transmit(now, p)
}

// Accept makes c the Conn of a segment of which Receive has just said that it
// Opens: of a SYN, in SYN-RECEIVED, or of an ACK with a cookie, ESTABLISHED. It takes
// the payload. The owner calls Settled once a Conn made of a SYN is not in
// SYN-RECEIVED any more. atLeast, if not nil, is the smallest initial sequence
// number allowed: what TimeWaiter.Reopens gave.
func (l *Listener) Accept(now mono.Time, c *Conn, key *wire.Tuple, s *Segment, in, out *Stream, atLeast *wire.Seq) {
	iss, stamp := l.start.Start(now, key)
	if !s.Flags.Has(wire.ACK) {
		if atLeast != nil {
			iss = wire.MaxSeq(iss, *atLeast)
		}
		l.half++
		l.stats.Accepted++
		c.Accept(now, *key, iss, s, in, out, &l.cfg)
		c.SetTimestamp(stamp)
		return
	}
	l.stats.CookiesUsed++
	mss, late, _ := l.cookieOf(now, key, s)
	if late {
		s.Seq = s.Seq.Add(1)
	}
	syn := synOf(s, mss)
	c.Accept(now, *key, s.Ack.Add(-1), &syn, in, out, &l.cfg)
	c.SetTimestamp(stamp)
	c.open.due = false // the cookie was the answer
	c.Receive(now, s)
	if late {
		c.oweNow()
	}
}

// cookieOf reports whether an ACK brings a cookie back. late: it is a keepalive, one
// before the ACK that should have come first and was lost.
func (l *Listener) cookieOf(now mono.Time, key *wire.Tuple, s *Segment) (mss int, late, ok bool) {
	mss, ok = l.cookies.opens(now, key, s.Seq.Add(-1), s.Ack.Add(-1))
	if !ok && s.Payload.Len() == 0 && !s.Flags.Has(wire.FIN) {
		mss, ok = l.cookies.opens(now, key, s.Seq, s.Ack.Add(-1))
		late = ok
	}
	return mss, late, ok
}

// Settled says that a half-open connection has become an open one, or none.
func (l *Listener) Settled() { l.half-- }

// Refuse makes the answer of CLOSED to a segment that belongs to nothing (RFC 9293,
// 3.10.7.1); key.Src is our side. It reports whether there is one: an RST gets
// none, nor does what came from or went to an address that is not one host's
// (MUST-46, 57, 63). That the checksum was good is for the caller to know.
func Refuse(key *wire.Tuple, s *Segment, p *Packet) bool {
	p.reset()
	if s.Flags.Has(wire.RST) || !answerable(key) {
		return false
	}
	if s.Flags.Has(wire.ACK) {
		p.Seq, p.Flags = s.Ack, wire.RST
		return true
	}
	p.Seq, p.Ack, p.Flags = wire.Seq{}, s.End(), wire.RST|wire.ACK
	return true
}

// answerable reports whether what came over these sockets may be answered at all:
// both addresses are a host's, and not the same one's same port.
func answerable(key *wire.Tuple) bool {
	return key.Src.Unicast() && key.Dst.Unicast() && (key.Src != key.Dst || key.SrcPort != key.DstPort)
}
