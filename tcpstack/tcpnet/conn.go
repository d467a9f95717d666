package tcpnet

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"accd/tcpstack"
	"accd/tcpstack/mono"
	"accd/tcpstack/timer"
	"accd/tcpstack/wire"
)

// conn is a connection: a Conn with its two Streams, and what its users wait for.
// All of it is guarded by the Stack's lock. It is a net.Conn with CloseRead and
// CloseWrite, as *net.TCPConn has them.
type conn struct {
	s       *Stack
	key     wire.Tuple // Src is ours
	tcp     tcpstack.Conn
	in, out tcpstack.Stream
	timer   timer.Entry[*conn]
	pieces  [][]byte

	changed     *sync.Cond // something that a user may wait for
	read, write deadline
	closed      bool      // Close: no user is left
	deaf        bool      // CloseRead: what comes is thrown away
	lost        error     // why it ended; nil: it goes on, or FINs ended it
	opened      bool      // Dial or Accept was successful
	removed     bool      // it is in no table of the Stack any more
	listener    *Listener // where it waits to be accepted
}

// deadline is until when Read or Write may wait.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

// passed reports whether it is over.
func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

// newConn makes a conn that is in no table yet.
func (s *Stack) newConn(key wire.Tuple) *conn {
	c := &conn{s: s, key: key, changed: sync.NewCond(&s.mu)}
	c.timer.Owner = c
	return c
}

// Read reads what came; io.EOF behind the peer's FIN.
func (c *conn) Read(b []byte) (int, error) {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, c.wrap("read", net.ErrClosed)
		case c.read.passed():
			return 0, c.wrap("read", os.ErrDeadlineExceeded)
		case c.in.Len() > 0 && !c.deaf && c.lost == nil:
			if len(b) == 0 {
				return 0, nil
			}
			n := min(len(b), c.in.Len())
			off := c.in.Base()
			c.pieces = c.in.Gather(c.pieces[:0], off, n)
			at := 0
			for _, p := range c.pieces {
				at += copy(b[at:], p)
			}
			clear(c.pieces)
			c.in.Discard(off + uint64(n))
			s.flush(s.now(), c) // the window has room again
			return n, nil
		case c.lost != nil:
			return 0, c.wrap("read", c.lost)
		case c.in.Closed() || c.deaf:
			return 0, io.EOF
		case len(b) == 0:
			return 0, nil
		}
		c.changed.Wait()
	}
}

// Write writes b: it returns when all of it is in the send buffer, which holds what
// the path can take soon (tcpstack.Conn.SendRoom).
func (c *conn) Write(b []byte) (n int, err error) {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case c.closed || c.out.Closed():
			return n, c.wrap("write", net.ErrClosed)
		case c.write.passed():
			return n, c.wrap("write", os.ErrDeadlineExceeded)
		case c.lost != nil:
			return n, c.wrap("write", c.lost)
		case len(b) == 0:
			return n, nil
		}
		for room := c.sendRoom(len(b)); room > 0 && len(b) > 0; {
			k := min(len(b), room, copyPiece)
			c.out.Append(s.pool.Copy(b[:k]))
			b, n, room = b[k:], n+k, room-k
		}
		s.flush(s.now(), c)
		if len(b) == 0 && c.lost == nil {
			return n, nil
		}
		if c.lost == nil {
			c.changed.Wait()
		}
	}
}

// sendRoom gives how many of n bytes Write may add. While most of the send buffer is
// full there is no room at all, or every ACK would wake Write for a little.
func (c *conn) sendRoom(n int) int {
	room := c.tcp.SendRoom()
	if room < min(n, (room+c.out.Len())/3) {
		return 0
	}
	return room
}

// Close gives the connection up: what was written is still delivered, in the
// background. Unread data resets it (RFC 9293, 3.6.1).
func (c *conn) Close() error {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.closed {
		return c.wrap("close", net.ErrClosed)
	}
	c.closed = true
	c.read.stop()
	c.write.stop()
	now := s.now()
	if c.lost == nil {
		c.tcp.Close(now)
	}
	s.flush(now, c)
	c.changed.Broadcast()
	return nil
}

// CloseWrite sends a FIN behind what was written; reading goes on.
func (c *conn) CloseWrite() error {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case c.closed:
		return c.wrap("close", net.ErrClosed)
	case c.lost != nil:
		return c.wrap("close", c.lost)
	}
	c.out.Close()
	s.flush(s.now(), c)
	c.changed.Broadcast()
	return nil
}

// CloseRead makes Read give io.EOF; what still comes is thrown away.
func (c *conn) CloseRead() error {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.closed {
		return c.wrap("close", net.ErrClosed)
	}
	c.deaf = true
	s.flush(s.now(), c)
	c.changed.Broadcast()
	return nil
}

// LocalAddr gives our address and port.
func (c *conn) LocalAddr() net.Addr { return addrOf(c.key.Src, c.key.SrcPort) }

// RemoteAddr gives the peer's address and port.
func (c *conn) RemoteAddr() net.Addr { return addrOf(c.key.Dst, c.key.DstPort) }

func addrOf(a wire.Addr, port uint16) net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(a.Netip(), port))
}

// SetDeadline sets both deadlines.
func (c *conn) SetDeadline(t time.Time) error { return c.setDeadlines(t, &c.read, &c.write) }

// SetReadDeadline sets until when Read waits; the zero Time: for ever.
func (c *conn) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, &c.read) }

// SetWriteDeadline sets until when Write waits; the zero Time: for ever.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, &c.write) }

func (c *conn) setDeadlines(t time.Time, all ...*deadline) error {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.closed {
		return c.wrap("set", net.ErrClosed)
	}
	for _, d := range all {
		d.set(t, c.wake)
	}
	c.changed.Broadcast()
	return nil
}

// set makes t the deadline; ring is called then.
func (d *deadline) set(t time.Time, ring func()) {
	d.stop()
	if d.at = t; !t.IsZero() {
		d.timer = time.AfterFunc(time.Until(t), ring)
	}
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

// wake lets those who wait look again.
func (c *conn) wake() {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.changed.Broadcast()
}

// lose ends the connection for its users.
func (c *conn) lose(why error) {
	if c.lost == nil {
		c.lost = why
	}
	c.remove()
}

// remove takes the connection out of the Stack.
func (c *conn) remove() {
	if c.removed {
		return
	}
	c.removed = true
	s := c.s
	s.wheel.Disarm(&c.timer)
	if s.conns[c.key] == c {
		delete(s.conns, c.key)
	}
	if l := c.listener; l != nil && !c.opened {
		l.forget(c)
	}
	c.tcp.Release()
	c.out.Reset()
	if c.closed || c.lost != nil {
		c.in.Reset()
	}
	c.changed.Broadcast()
}

// wrap gives an error as package net does: with errno values that programs know.
func (c *conn) wrap(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: explain(op, err)}
}

func explain(op string, err error) error {
	var errno syscall.Errno
	switch {
	case errors.Is(err, tcpstack.ErrReset):
		errno = syscall.ECONNRESET
	case errors.Is(err, tcpstack.ErrRefused):
		errno = syscall.ECONNREFUSED
	case errors.Is(err, tcpstack.ErrTimeout):
		errno = syscall.ETIMEDOUT
	case errors.Is(err, tcpstack.ErrUnreachable):
		errno = syscall.EHOSTUNREACH
	case errors.Is(err, tcpstack.ErrAborted):
		errno = syscall.ECONNABORTED
	default:
		return err
	}
	return os.NewSyscallError(op, errno)
}

// String describes the connection, for those who debug.
func (c *conn) String() string { return fmt.Sprintf("tcpnet: %v", c.key) }

// flush sends all that c has to send now, wakes whom that concerns, and arms its
// timer.
func (s *Stack) flush(now mono.Time, c *conn) {
	if c.deaf || c.closed {
		c.in.Discard(c.in.End())
	}
	if c.removed {
		return
	}
	if l := c.listener; l != nil && !c.opened {
		l.progress(c)
	}
	s.transmit(now, c)
	switch err := c.tcp.Err(); {
	case err != nil:
		c.lose(err)
		return
	case c.tcp.State() == tcpstack.Closed:
		c.remove() // FINs both ways; what came can still be read
		return
	}
	at := c.tcp.Deadline()
	if w, ok := c.tcp.TimeWaiter(); ok {
		s.waiting.add(c.key, w)
		at = w.Until
		c.remove() // what came can still be read
	} else {
		c.changed.Broadcast()
		s.wheel.Arm(&c.timer, at)
	}
	if s.sleeping != 0 && at < s.sleeping {
		s.sleeping = 0
		s.waiter.Wake()
	}
}

// transmit sends all that c has to send now.
func (s *Stack) transmit(now mono.Time, c *conn) {
	for c.tcp.Transmit(now, &s.packet) {
		s.send(now, c.key, &s.packet)
	}
}
