package tcpnet

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"accd/tcpstack"
	"accd/tcpstack/wire"
)

// forge gives the Stack a segment as if it came over the link.
func (s *Stack) forge(h wire.Header) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h.DstMAC, h.SrcMAC, h.TTL = s.cfg.MAC, [6]byte{2, 0, 0, 0, 0, 0x66}, 64
	if h.Options == nil {
		h.Options = new(wire.Options)
	}
	b := make([]byte, wire.MaxHeader)
	n, l4 := h.Put(b)
	wire.FinishChecksum(b[:n], l4, nil)
	s.frame.Bytes, s.frame.Virtio = b[:n], wire.VirtioHeader{}
	s.receive(s.now())
}

// What nobody has read when the FINs of both ends are done does not outlive Close.
func TestCloseAfterTheEnd(t *testing.T) {
	a, b := wired(t)
	client, server := connected(t, a, b, "10.9.0.2:80")
	if _, err := client.Write([]byte("nobody reads this")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{client, server} {
		if err := c.(*conn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		await(t, b, func() bool { return server.(*conn).in.Closed() })
	}
	await(t, b, func() bool { return server.(*conn).removed })
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	client.Close() // joined sees whether anything leaks
}

// A SYN that nobody listens for does not end a TIME-WAIT: only where the port is
// open may it take the old connection's place (RFC 9293, 3.10.7.4, SHLD-4).
func TestForgedSYNInTimeWait(t *testing.T) {
	a, b := wired(t)
	client, server := connected(t, a, b, "10.9.0.2:80")
	client.Close()
	await(t, b, func() bool { return server.(*conn).in.Closed() })
	server.Close()
	c := client.(*conn)
	await(t, a, func() bool { return c.tcp.State() == tcpstack.TimeWait })
	a.forge(wire.Header{Tuple: c.key.Reverse(), Seq: c.tcp.RcvNxt().Add(1 << 20), Flags: wire.SYN, Window: 1000})
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conns[c.key] != c || c.tcp.State() != tcpstack.TimeWait {
		t.Errorf("a forged SYN has ended the TIME-WAIT: %v", c.tcp.State())
	}
}

// While nobody accepts, at most the backlog waits, and those who ask get no answer;
// a deadline that passes in between loses no connection.
func TestNobodyAccepts(t *testing.T) {
	a, b := wired(t, func(_, b *Config) { b.Backlog = 2 })
	l := must[net.Listener](t)(b.Listen("tcp", ":80")).(*Listener)
	defer l.Close()
	if err := l.SetDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		defer must[net.Conn](t)(a.Dial("tcp", "10.9.0.2:80")).Close()
	}
	await(t, b, func() bool { return len(l.ready) == 2 })
	for i := range 100 {
		from := netip.AddrPortFrom(addrsA[0].Addr(), uint16(1000+i))
		b.forge(wire.Header{Tuple: wire.TupleOf(from, netip.MustParseAddrPort("10.9.0.2:80")), Flags: wire.SYN, Window: 1000})
	}
	b.mu.Lock()
	if len(l.half) != 0 || len(l.ready) != 2 || len(b.conns) != 2 {
		t.Errorf("%d half open, %d ready, %d in all", len(l.half), len(l.ready), len(b.conns))
	}
	b.mu.Unlock()
	if _, err := l.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Accept gave %v", err)
	}
	l.SetDeadline(time.Time{})
	for range 2 {
		must[net.Conn](t)(l.Accept()).Close()
	}
}
