package tcpnet

import (
	"encoding/binary"
	"errors"
	"flag"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"accd/tcpstack/wire"
	"accd/terminator/link"
)

var seed = flag.Uint64("seed", 0, "seed of the random tests; 0: a new one")

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
	waits := func() bool { _, ok := a.waiting.get(c.key); return ok }
	await(t, a, waits)
	a.forge(wire.Header{Tuple: c.key.Reverse(), Seq: c.tcp.RcvNxt().Add(1 << 20), Flags: wire.SYN, Window: 1000})
	a.mu.Lock()
	defer a.mu.Unlock()
	if !waits() {
		t.Error("a forged SYN has ended the TIME-WAIT")
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

// sink is a device from which nothing comes, and which counts what is sent.
type sink struct {
	*link.Mem
	bytes, frames int
}

func (s *sink) Send(_ *wire.VirtioHeader, head []byte, body [][]byte) error {
	s.frames++
	s.bytes += len(head)
	for _, b := range body {
		s.bytes += len(b)
	}
	return nil
}

// Frames of whoever is on the link, damaged at random: nothing panics, no memory
// grows without bound, and what is sent in answer is not much more than what came.
func TestGarbage(t *testing.T) {
	n := *seed
	if n == 0 {
		n = rand.Uint64()
	}
	t.Logf("-seed=%d", n)
	rng := rand.New(rand.NewPCG(n, 0))
	inner, outer := link.NewMem(link.Caps{Offload: true, MTU: 1500})
	defer outer.Close()
	q := &sink{Mem: inner}
	s, err := New(Config{Queue: q, Addrs: addrsB, Gateways: []netip.Addr{netip.MustParseAddr("10.9.0.254"), netip.MustParseAddr("fd00:9::fe")}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l := must[net.Listener](t)(s.Listen("tcp", ":80"))
	defer l.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	in := 0
	for range 100_000 {
		f := stranger(rng, s.cfg.MAC)
		for range rng.IntN(4) {
			f[rng.IntN(len(f))] = byte(rng.Uint32())
		}
		if rng.IntN(10) == 0 {
			f = f[:rng.IntN(len(f))]
		}
		in += max(len(f), 60)
		if err := outer.Send(&wire.VirtioHeader{Flags: wire.VirtioDataValid}, f, nil); err != nil {
			t.Fatal(err)
		}
		s.read(now)
	}
	if q.bytes > in*3/2 || len(s.known) > mostNeighbours || len(s.conns) > 2*s.cfg.Backlog {
		t.Errorf("%d bytes came, %d left; %d neighbours, %d connections", in, q.bytes, len(s.known), len(s.conns))
	}
	t.Logf("%d frames, %d bytes came, %d left; %d neighbours, %d connections", q.frames, in, q.bytes, len(s.known), len(s.conns))
}

// stranger makes a frame of somebody on the link.
func stranger(rng *rand.Rand, to [6]byte) []byte {
	mac := [6]byte{2, 0, 0, 0, byte(rng.Uint32()), byte(rng.Uint32())}
	from := netip.AddrFrom4([4]byte{10, 9, 0, byte(3 + rng.IntN(200))})
	if rng.IntN(2) == 0 {
		from = netip.AddrFrom16([16]byte{0: 0xfd, 3: 9, 14: byte(rng.Uint32()), 15: byte(rng.Uint32())})
	}
	us := addrsB[family(from)].Addr()
	b := make([]byte, wire.MaxHeader)
	switch rng.IntN(3) {
	case 0: // somebody asks who we are, or says who it is
		copy(b, to[:])
		copy(b[6:], mac[:])
		if from.Is4() {
			copy(b[12:], []byte{8, 6, 0, 1, 8, 0, 6, 4, 0, byte(1 + rng.IntN(2))})
			copy(b[22:], mac[:])
			copy(b[28:], from.AsSlice())
			copy(b[38:], us.AsSlice())
			return b[:42]
		}
		copy(b[12:], []byte{0x86, 0xdd, 6 << 4, 0, 0, 0, 0, discoveryLen, wire.ProtoICMPv6, hopLimit})
		copy(b[22:], from.AsSlice())
		copy(b[38:], us.AsSlice())
		p := b[54:86]
		p[0] = byte(solicitation + rng.IntN(2))
		copy(p[8:], us.AsSlice())
		p[24], p[25] = byte(1+rng.IntN(2)), 1
		copy(p[26:], mac[:])
		binary.BigEndian.PutUint16(p[2:], ^wire.Fold(wire.Sum(p, wire.PseudoSum(b[22:38], b[38:54], wire.ProtoICMPv6, len(p)))))
		return b[:86]
	}
	o := wire.Options{Set: wire.OptionSet(rng.Uint32()) & (wire.HasMSS | wire.HasTS | wire.HasWScale | wire.HasSACKPermitted), MSS: uint16(rng.Uint32()), WScale: uint8(rng.Uint32())}
	flag := wire.Flags(1) << rng.IntN(8)
	h := wire.Header{
		DstMAC: to, SrcMAC: mac, Tuple: wire.TupleOf(netip.AddrPortFrom(from, uint16(rng.Uint32())), netip.AddrPortFrom(us, uint16(80+rng.IntN(2)))),
		TTL: 64, Seq: wire.SeqOf(rng.Uint32()), Ack: wire.SeqOf(rng.Uint32()), Flags: flag | 1<<rng.IntN(8), Window: uint16(rng.Uint32()), Options: &o,
	}
	n, _ := h.Put(b)
	return b[:n]
}

// Questions in the name of a group are not answered, or all of it would hear (RFC
// 4861, 7.1.1); and an advertisement that does not say so overrides nothing (7.2.5).
func TestNeighboursOfGroups(t *testing.T) {
	inner, outer := link.NewMem(link.Caps{Offload: true, MTU: 1500})
	defer outer.Close()
	q := &sink{Mem: inner}
	s, err := New(Config{Queue: q, Addrs: addrsB})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	rng := rand.New(rand.NewPCG(1, 0))
	frame := func(kind int, edit func(b []byte)) {
		t.Helper()
		for {
			b := stranger(rng, s.cfg.MAC)
			if len(b) == 42 && b[21] == byte(kind) || len(b) == 86 && b[54] == byte(kind) && b[78] == byte(kind-solicitation+1) {
				edit(b)
				if len(b) == 86 {
					p := b[54:]
					p[2], p[3] = 0, 0
					binary.BigEndian.PutUint16(p[2:], ^wire.Fold(wire.Sum(p, wire.PseudoSum(b[22:38], b[38:54], wire.ProtoICMPv6, len(p)))))
				}
				if err := outer.Send(new(wire.VirtioHeader), b, nil); err != nil {
					t.Fatal(err)
				}
				s.read(s.now())
				return
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, c := range map[string]struct {
		kind, answers int
		edit          func(b []byte)
	}{
		"ARP":                       {arpRequest, 1, func([]byte) {}},
		"ARP from a group":          {arpRequest, 0, func(b []byte) { b[22] |= 1 }},
		"solicitation":              {solicitation, 1, func([]byte) {}},
		"solicitation of a group":   {solicitation, 0, func(b []byte) { b[22] = 0xff }},
		"solicitation to the group": {solicitation, 0, func(b []byte) { b[80] |= 1 }},
	} {
		q.frames = 0
		if frame(c.kind, c.edit); q.frames != c.answers {
			t.Errorf("%s: %d answers, want %d", name, q.frames, c.answers)
		}
	}
	him := netip.MustParseAddr("fd00:9::77")
	s.of(him) // it was asked for
	for _, c := range []struct{ flags, mac, want byte }{{0, 1, 1}, {0, 2, 1}, {1 << 5, 3, 3}} {
		frame(advertisement, func(b []byte) {
			copy(b[62:], him.AsSlice())
			b[58], b[85] = c.flags, c.mac
		})
		if got := s.known[him].mac[5]; got != c.want {
			t.Errorf("flags %#x: it is at %d, want %d", c.flags, got, c.want)
		}
	}
}
