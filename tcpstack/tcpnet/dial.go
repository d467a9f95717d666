package tcpnet

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"

	"accd/tcpstack"
	"accd/tcpstack/wire"
)

// RFC 6335, 6: the dynamic ports.
const (
	firstDynamic = 49152
	dynamicPorts = 65536 - firstDynamic
)

// Dial is DialContext without a context.
func (s *Stack) Dial(network, address string) (net.Conn, error) {
	return s.DialContext(context.Background(), network, address)
}

// DialContext connects to an address and port, as net.Dialer has it; network is
// tcp, tcp4 or tcp6. A host name is not looked up.
func (s *Stack) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fail(&net.AddrError{Err: "a Stack dials addresses, not names", Addr: address})
	}
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	if err := suits(network, to.Addr()); err != nil {
		return fail(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.failed != nil:
		return fail(s.failed)
	case to.Port() == 0 || to.Addr().IsUnspecified() || to.Addr().IsMulticast() || s.isBroadcast(to.Addr()) || s.ours(to.Addr()):
		// RFC 9293, MUST-46; and nothing of ours comes back from the link.
		return fail(&net.AddrError{Err: "cannot be dialled", Addr: address})
	case len(s.conns) >= mostConns:
		return fail(syscall.ENOBUFS)
	}
	from, ok := s.sourceFor(to.Addr())
	if !ok {
		return fail(syscall.ENETUNREACH)
	}
	key, ok := s.freePort(from, to)
	if !ok {
		return fail(syscall.EADDRINUSE)
	}
	now := s.now()
	c := s.newConn(key)
	s.conns[key] = c
	iss, stamp := s.secret.Start(now, &key)
	c.tcp.Dial(now, key, iss, &c.in, &c.out, &s.tcp)
	c.tcp.SetTimestamp(stamp)
	s.flush(now, c)

	stop := context.AfterFunc(ctx, c.wake)
	defer stop()
	for {
		switch {
		case c.lost != nil:
			return nil, &net.OpError{Op: "dial", Net: network, Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: explain("connect", c.lost)}
		case c.tcp.State() != tcpstack.SynSent && c.tcp.State() != tcpstack.SynReceived:
			c.opened = true
			return c, nil
		case ctx.Err() != nil:
			c.tcp.Abort()
			s.flush(s.now(), c)
			return nil, &net.OpError{Op: "dial", Net: network, Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: ctx.Err()}
		}
		c.changed.Wait()
	}
}

// suits reports, as an error, that an address is not of a network.
func suits(network string, a netip.Addr) error {
	switch {
	case network == "tcp", network == "tcp4" && a.Is4(), network == "tcp6" && a.Is6():
		return nil
	case network == "tcp4" || network == "tcp6":
		return &net.AddrError{Err: "no address for " + network, Addr: a.String()}
	}
	return net.UnknownNetworkError(fmt.Sprintf("%s (a Stack has tcp, tcp4 and tcp6)", network))
}

// freePort gives a tuple to dial with: its port is random (RFC 6056, 3.3.1) and in
// use with nobody else.
func (s *Stack) freePort(from netip.Addr, to netip.AddrPort) (wire.Tuple, bool) {
	first := rand.IntN(dynamicPorts)
	for i := range dynamicPorts {
		port := uint16(firstDynamic + (first+i)%dynamicPorts)
		key := wire.TupleOf(netip.AddrPortFrom(from, port), to)
		if _, waits := s.waiting.get(key); !waits && s.conns[key] == nil && s.listenerFor(netip.AddrPortFrom(from, port)) == nil {
			return key, true
		}
	}
	return wire.Tuple{}, false
}
