package tcpnet

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"accd/tcpstack"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// Listener is a port that connections are accepted on. It is a net.Listener with
// SetDeadline, as *net.TCPListener has it.
type Listener struct {
	s     *Stack
	at    netip.AddrPort // an unspecified address: all of the Stack's
	tcp   *tcpstack.Listener
	half  map[*conn]bool // in SYN-RECEIVED; false: made of a cookie
	ready []*conn        // ESTABLISHED, for Accept

	changed  *sync.Cond
	deadline deadline
	closed   bool
	lost     error
}

// Listen begins to accept connections to an address and port, as net.Listen has it:
// an empty or unspecified host means all addresses of the Stack, port 0 any that is
// free.
func (s *Stack) Listen(network, address string) (net.Listener, error) {
	fail := func(err error) (net.Listener, error) {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fail(err)
	}
	if host == "" {
		host = "::"
		if network == "tcp4" {
			host = "0.0.0.0"
		}
	}
	at, err := netip.ParseAddrPort(net.JoinHostPort(host, port))
	if err != nil {
		return fail(&net.AddrError{Err: "a Stack listens on addresses and port numbers, not names", Addr: address})
	}
	at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	if !(network == "tcp" && at.Addr().IsUnspecified()) {
		if err := suits(network, at.Addr()); err != nil {
			return fail(err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.failed != nil:
		return fail(s.failed)
	case !at.Addr().IsUnspecified() && !s.ours(at.Addr()):
		return fail(syscall.EADDRNOTAVAIL)
	case at.Addr().IsUnspecified():
		// One entry for both families; network narrows it.
		a := netip.IPv6Unspecified()
		if network == "tcp4" {
			a = netip.IPv4Unspecified()
		} else if network == "tcp6" {
			a = a.WithZone("6")
		}
		at = netip.AddrPortFrom(a, at.Port())
	}
	if at.Port() == 0 {
		for p := firstDynamic; p < firstDynamic+dynamicPorts && at.Port() == 0; p++ {
			if try := netip.AddrPortFrom(at.Addr(), uint16(p)); s.listeners[try] == nil {
				at = try
			}
		}
	}
	if at.Port() == 0 || s.listeners[at] != nil {
		return fail(syscall.EADDRINUSE)
	}
	l := &Listener{
		s: s, at: at, half: make(map[*conn]bool), changed: sync.NewCond(&s.mu),
		tcp: tcpstack.NewListener(s.cfg.Backlog, s.secret, s.cookies, &s.tcp),
	}
	s.listeners[at] = l
	return l, nil
}

// listenerFor gives who listens at an address of ours; nil: nobody.
func (s *Stack) listenerFor(to netip.AddrPort) *Listener {
	narrow := netip.IPv4Unspecified()
	if to.Addr().Is6() {
		narrow = netip.IPv6Unspecified().WithZone("6")
	}
	for _, a := range [3]netip.Addr{to.Addr(), narrow, netip.IPv6Unspecified()} {
		if l := s.listeners[netip.AddrPortFrom(a, to.Port())]; l != nil {
			return l
		}
	}
	return nil
}

// full reports whether nobody accepts what waits.
func (l *Listener) full() bool {
	return len(l.ready) >= l.s.cfg.Backlog || len(l.s.conns) >= mostConns
}

// opens reports whether a SYN would make a connection, and not be answered in
// another way: only that may take the place of one in TIME-WAIT.
func (s *Stack) opens(key wire.Tuple) bool {
	l := s.listenerFor(netip.AddrPortFrom(key.Src.Netip(), key.SrcPort))
	return l != nil && !l.full() && l.tcp.Half() < s.cfg.Backlog
}

// listen takes the segment at hand, which belongs to no connection. atLeast is the
// smallest initial sequence number allowed, nil any.
func (s *Stack) listen(now mono.Time, key wire.Tuple, atLeast *wire.Seq) {
	g := &s.segment
	l := s.listenerFor(netip.AddrPortFrom(key.Src.Netip(), key.SrcPort))
	if l == nil {
		if tcpstack.Refuse(&key, g, &s.packet) {
			s.send(now, key, &s.packet)
		}
		g.Drop()
		return
	}
	// Nobody accepts, so nobody is answered, not by a cookie either: the peer asks
	// again. What is half open the tcpstack.Listener bounds.
	full := l.full()
	if full && g.Flags.Has(wire.SYN) {
		g.Drop()
		return
	}
	switch l.tcp.Receive(now, &key, g, &s.packet) {
	case tcpstack.Answered:
		s.send(now, key, &s.packet)
	case tcpstack.Opens:
		if full {
			g.Drop() // the ACK of a cookie
			return
		}
		c := s.newConn(key)
		c.listener = l
		s.conns[key] = c
		l.half[c] = !g.Flags.Has(wire.ACK)
		l.tcp.Accept(now, &c.tcp, &key, g, &c.in, &c.out, atLeast)
		s.flush(now, c)
	}
}

// progress notes how far the handshake of c, which the Listener has made, is.
func (l *Listener) progress(c *conn) {
	if c.tcp.State() == tcpstack.SynReceived {
		return
	}
	l.forget(c)
	if c.tcp.Err() == nil {
		c.opened = true
		l.ready = append(l.ready, c)
		l.s.crowded = l.s.crowded || len(l.ready) == l.s.cfg.Backlog
		l.changed.Signal()
	}
}

// forget takes c out of the half-open connections.
func (l *Listener) forget(c *conn) {
	if fromSYN, ok := l.half[c]; ok {
		delete(l.half, c)
		if fromSYN {
			l.tcp.Settled()
		}
	}
}

// Accept waits for the next connection.
func (l *Listener) Accept() (net.Conn, error) {
	s := l.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case l.closed:
			return nil, l.wrap("accept", net.ErrClosed)
		case l.deadline.passed():
			return nil, l.wrap("accept", os.ErrDeadlineExceeded)
		case len(l.ready) > 0:
			c := l.ready[0]
			l.ready = l.ready[1:]
			return c, nil
		case l.lost != nil:
			return nil, l.wrap("accept", l.lost)
		}
		l.changed.Wait()
	}
}

// Close ends listening. Connections that nobody has accepted are reset.
func (l *Listener) Close() error {
	s := l.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.closed {
		return l.wrap("close", net.ErrClosed)
	}
	l.closed = true
	l.deadline.stop()
	if s.listeners[l.at] == l {
		delete(s.listeners, l.at)
	}
	now := s.now()
	for c := range l.half {
		c.tcp.Abort()
		s.flush(now, c)
	}
	for _, c := range l.ready {
		c.tcp.Abort()
		s.flush(now, c)
	}
	l.ready = nil
	l.changed.Broadcast()
	return nil
}

// end tells those who wait that the Stack is over.
func (l *Listener) end(why error) {
	l.lost = why
	l.deadline.stop()
	l.changed.Broadcast()
}

// Addr gives the address listened at.
func (l *Listener) Addr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(l.at.Addr().WithZone(""), l.at.Port()))
}

// SetDeadline sets until when Accept waits; the zero Time: for ever.
func (l *Listener) SetDeadline(t time.Time) error {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if l.closed {
		return l.wrap("set", net.ErrClosed)
	}
	l.deadline.set(t, func() {
		l.s.mu.Lock()
		defer l.s.mu.Unlock()
		l.changed.Broadcast()
	})
	l.changed.Broadcast()
	return nil
}

func (l *Listener) wrap(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Addr: l.Addr(), Err: err}
}
