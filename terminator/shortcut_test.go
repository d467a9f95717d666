package terminator

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"accd/splice"
	"accd/tcpstack/wire"
)

var (
	invitation = [6]byte{2, 0xac, 0xcd, 0, 2, 0}
	nic        = [6]byte{0x52, 0x54, 0, 0x12, 0x34, 0x56} // the host's, on the wire
)

func withShortcut(c *Config) { c.Shortcut = invitation }

// direct gives the frame of p as it is on the wire, where it has one hop more to go.
func (p packet) direct() []byte {
	if p.ttl == 0 {
		p.ttl = 62
	}
	p.ttl++
	f := p.frame()
	copy(f, nic[:])
	return f
}

// by sends a packet the one way or the other.
func (b *box) by(shortcut bool, side splice.Side, p packet) {
	b.t.Helper()
	f := p.frame()
	if shortcut {
		f = p.direct()
	}
	b.put(0, side, wire.VirtioHeader{}, f)
}

// What passes leaves the other tap as if it had been forwarded, with the TTL it would
// have then, whether its flow is known or not; but its source says nothing.
func TestShortcutPassesAsForwarded(t *testing.T) {
	for _, known := range []bool{true, false} {
		for _, tuple := range []wire.Tuple{web4, web6} {
			for _, ttl := range []uint8{1, 2, 62, 254} { // when it is forwarded
				b := newBox(t, 1, withShortcut)
				if known {
					b.handshake(0, tuple)
				}
				for from, p := range []packet{
					splice.Client: {tuple: tuple, flags: wire.ACK, ttl: ttl, seq: 1001, ack: 5001, window: 512, options: &clientTS, net: splice.LAN},
					splice.Server: {tuple: tuple.Reverse(), flags: wire.ACK, ttl: ttl, seq: 5001, ack: 1001, window: 512, options: &serverTS, net: splice.WAN},
				} {
					from := splice.Side(from)
					direct := p.direct()
					copy(direct[6:], bye[:])
					b.put(0, from, wire.VirtioHeader{}, append(direct, make([]byte, 6)...)) // and padding
					short := b.want1(0)
					copy(short.frame[6:], b.term.shards[0].dev[0].neighbour[:])
					b.put(0, from, wire.VirtioHeader{}, p.frame())
					long := b.want1(0)
					if !known && !bytes.Equal(long.frame[6:12], p.frame()[6:12]) {
						t.Fatal("the source of a frame of nobody has changed")
					}
					copy(long.frame[6:], short.frame[6:12])
					if short.side != long.side || !bytes.Equal(short.frame, long.frame) {
						t.Errorf("%v, known %v, TTL %d: came out towards the %v as\n% x, forwarded towards the %v as\n% x", tuple, known, ttl, short.side, short.frame, long.side, long.frame)
					}
				}
				if n := b.count(0).direct; n != [2]uint64{1, 1} {
					t.Errorf("%d frames are counted", n)
				}
			}
		}
	}
}

// A frame that comes by the shortcut cannot tell steering anything.
func TestShortcutTakesNoNewsOffTheWire(t *testing.T) {
	b := newBox(t, 1, withShortcut)
	b.handshake(0, web4)
	for _, source := range [][6]byte{bye, invitation} {
		f := packet{tuple: web4, flags: wire.ACK, seq: 1001, ack: 5001, window: 512, options: &clientTS}.direct()
		copy(f[6:], source[:])
		b.put(0, splice.Client, wire.VirtioHeader{}, f)
		if g := b.want1(0); [6]byte(g.frame[6:12]) != neighbourMAC(0) {
			t.Errorf("from % x", g.frame[6:12])
		}
	}
}

// accd is the router of what comes by the shortcut: it drops what the kernel would,
// each for a reason of its own, and no flow hears of it.
func TestShortcutDropsWhatARouterDrops(t *testing.T) {
	hops := func(n uint8) func([]byte) {
		return func(f []byte) {
			var v wire.View
			v.Parse(f)
			v.SetTTL(n)
		}
	}
	for _, c := range []struct {
		name  string
		tuple wire.Tuple
		edit  func(f []byte)
		want  Reason
	}{
		{"header checksum", web4, func(f []byte) { f[24] ^= 1 }, BadHeader},
		{"header", web4, func(f []byte) { f[18] ^= 1 }, BadHeader},
		{"TTL 1", web4, hops(1), TTLExceeded},
		{"TTL 0", web4, hops(0), TTLExceeded},
		{"hop limit 1", web6, hops(1), TTLExceeded},
		{"hop limit 0", web6, hops(0), TTLExceeded},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBox(t, 1, withShortcut)
			b.handshake(0, c.tuple)
			before := b.count(0).in
			f := packet{tuple: c.tuple, flags: wire.ACK, seq: 1001, ack: 5001, window: 512, options: &clientTS, payload: []byte("data")}.direct()
			c.edit(f)
			b.put(0, splice.Client, wire.VirtioHeader{}, f)
			b.silence(0)
			b.wantReason(c.want, 1)
			if b.count(0).in != before || b.count(0).direct != [2]uint64{} {
				t.Errorf("counted as received: %+v, %d", b.count(0).in, b.count(0).direct)
			}
			if n := b.term.shards[0].attend(&c.tuple).Record().Dir[splice.Client].Next; n != wire.SeqOf(1001) {
				t.Errorf("the flow has heard of bytes up to %v", n)
			}
		})
	}
}

// Only TCP segments of open connections come by the shortcut, and nothing to a group or to
// the taps' own neighbours: the rest is the host's own chatter. Without a shortcut all is.
func TestShortcutIsForSegmentsOnly(t *testing.T) {
	segment := packet{tuple: web4, flags: wire.ACK, seq: 1001, ack: 5001, window: 512, options: &clientTS}.direct()
	edit := func(at int, b ...byte) []byte {
		f := bytes.Clone(segment)
		copy(f[at:], b)
		return f
	}
	icmp := tooBig(web4, 1001, 1300)
	copy(icmp, nic[:])
	for name, f := range map[string][]byte{
		"broadcast":          edit(0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
		"IPv4 multicast":     edit(0, 1, 0, 0x5e, 0, 0, 1),
		"IPv6 multicast":     edit(0, 0x33, 0x33, 0, 0, 0, 1),
		"no such neighbour":  edit(0, 2, 0xac, 0xcd, 0, 0, 3),
		"ARP":                edit(12, 8, 6),
		"UDP":                edit(23, 17),
		"SYN":                edit(47, byte(wire.SYN)),
		"SYN and ACK":        edit(47, byte(wire.SYN|wire.ACK)),
		"fragment":           edit(20, 0x20),
		"IP options":         edit(14, 0x46),
		"bad offset":         edit(46, 0x10),
		"ICMP error":         icmp,
		"shorter than a MAC": segment[:3],
		"no more than MACs":  segment[:13],
		"no IP header":       segment[:20],
	} {
		b := newBox(t, 1, withShortcut)
		b.put(0, splice.Client, wire.VirtioHeader{}, f)
		b.silence(0)
		if n := b.count(0).reasons[NotForUs]; n != 1 {
			t.Errorf("%s: counted %d times as not for us: %v", name, n, b.count(0).reasons)
		}
	}
	b := newBox(t, 1)
	b.put(0, splice.Client, wire.VirtioHeader{}, segment)
	b.silence(0)
	b.wantReason(NotForUs, 1)
}

// Custody by the shortcut: padding is no payload, the network of either end stays
// known, and what accd sends has the TTL that the endpoints' own would have.
func TestCustodyByTheShortcut(t *testing.T) {
	for _, tuple := range []wire.Tuple{web4, web6} {
		b := newBox(t, 1, withShortcut)
		b.handshake(0, tuple)
		request := packet{tuple: tuple, flags: wire.ACK | wire.PSH, seq: 1001, ack: 5001, window: 512, options: &clientTS, payload: []byte("?")}
		b.put(0, splice.Client, wire.VirtioHeader{}, append(request.direct(), "padding"...))
		g := b.want1(0)
		if g.side != splice.Server || string(g.view.Payload()) != "?" || g.view.TTL() != 63 || len(g.frame) != g.view.End {
			t.Errorf("%v: towards the %v came %q with TTL %d in %d bytes", tuple, g.side, g.view.Payload(), g.view.TTL(), len(g.frame))
		}
		fl := b.term.shards[0].attend(&tuple)
		if fl.State() != splice.InCustody {
			t.Fatalf("the flow is in %v", fl.State())
		}
		b.by(true, splice.Server, packet{tuple: tuple.Reverse(), flags: wire.ACK | wire.PSH, seq: 5001, ack: 1002, window: 512, options: &serverTS, payload: []byte("!")})
		b.turn()
		said := ""
		for _, g := range b.take(0) {
			if g.view.TTL() != 63 {
				t.Errorf("%v: TTL %d towards the %v", tuple, g.view.TTL(), g.side)
			}
			if g.side == splice.Client {
				said += string(g.view.Payload())
			}
		}
		if d := &fl.Record().Dir; said != "!" || d[splice.Client].Net != splice.LAN || d[splice.Server].Net != splice.WAN {
			t.Errorf("%v: the client hears %q; networks %d and %d", tuple, said, d[splice.Client].Net, d[splice.Server].Net)
		}
	}
}

// A frame that another shard has read by the shortcut goes one hop, not two.
func TestShortcutOnTheWrongShard(t *testing.T) {
	b := newBox(t, 2, withShortcut)
	b.handshake(1, web4)
	p := packet{tuple: web4.Reverse(), flags: wire.ACK, seq: 5001, ack: 1001, window: 512, options: &serverTS}
	b.put(0, splice.Server, wire.VirtioHeader{}, append(p.direct(), make([]byte, 6)...))
	b.turn()
	out := b.take(1)
	if len(out) != 1 || out[0].side != splice.Client || out[0].view.TTL() != 63 || len(out[0].frame) != len(p.frame()) || b.count(0).handoff.tcp != 1 {
		t.Fatalf("%d frames, %d handed over: %+v", len(out), b.count(0).handoff.tcp, out)
	}
	if n := b.count(0).direct[splice.Server] + b.count(1).direct[splice.Server]; n != 1 {
		t.Errorf("counted %d times", n)
	}
}

// invited sends nothing more, and gives where the frames go that have come out, and
// of them those that invite their flow, as "s" and "S" towards the server, "c" and "C"
// towards the client.
func (b *box) invited() (out string) {
	b.t.Helper()
	b.turn()
	for _, g := range b.take(0) {
		letters := "cs"
		if [6]byte(g.frame[6:12]) == invitation {
			letters = "CS"
		}
		out += letters[g.side : g.side+1]
	}
	return out
}

// On the wire the very segment of a client that has been forwarded invites its flow, from the
// one that ends the handshake on, and no other.
func TestInvitationOnTheWire(t *testing.T) {
	for _, tuple := range []wire.Tuple{web4, web6} {
		b := newBox(t, 1, withShortcut)
		ack := packet{tuple: tuple, flags: wire.ACK, seq: 1001, ack: 5001, window: 512, options: &clientTS, net: splice.LAN}
		back := packet{tuple: tuple.Reverse(), flags: wire.ACK, seq: 5001, ack: 1001, window: 512, options: &serverTS, net: splice.WAN}
		for i, c := range []struct {
			shortcut bool
			side     splice.Side
			p        packet
			want     string
		}{
			{false, splice.Client, packet{tuple: tuple, flags: wire.SYN, seq: 1000, window: 65535, options: &synOptions, net: splice.LAN}, "s"},
			{false, splice.Server, packet{tuple: tuple.Reverse(), flags: wire.SYN | wire.ACK, seq: 5000, ack: 1001, window: 65535, options: &synAckOptions, net: splice.WAN}, "c"},
			{false, splice.Client, ack, "S"},
			{true, splice.Client, ack, "s"},
			{false, splice.Server, back, "c"},
			{false, splice.Client, ack, "S"},
			{true, splice.Client, ack, "s"},
			{true, splice.Server, back, "c"},
			{false, splice.Client, ack, "S"},
			{false, splice.Client, ack, "S"},
			{false, splice.Client, packet{tuple: tuple, flags: wire.FIN | wire.ACK, seq: 1001, ack: 5001, window: 512, options: &clientTS, net: splice.LAN}, "s"},
			{true, splice.Client, ack, "s"},
			{false, splice.Client, packet{tuple: tuple, flags: wire.ACK, seq: 1002, ack: 5001, window: 512, options: &clientTS, net: splice.LAN}, "S"},
			{false, splice.Client, packet{tuple: tuple, flags: wire.RST, seq: 1002, net: splice.LAN}, "s"},
			{false, splice.Client, ack, "s"}, // of a flow that is over
		} {
			b.by(c.shortcut, c.side, c.p)
			if got := b.invited(); got != c.want {
				t.Errorf("%v, %d: %q came out, want %q", tuple, i, got, c.want)
			}
		}
	}
}

// In custody it is the next segment of accd's own towards the server.
func TestInvitationInCustody(t *testing.T) {
	b := newBox(t, 1, withShortcut)
	b.handshake(0, web4)
	seq, got := uint32(1001), uint32(5001)
	say := func(shortcut bool, text string) {
		b.by(shortcut, splice.Client, packet{tuple: web4, flags: wire.ACK, seq: seq, ack: got, window: 512, options: &clientTS, payload: []byte(text), net: splice.LAN})
		seq += uint32(len(text))
	}
	data := func(text string) {
		b.by(false, splice.Server, packet{tuple: web4.Reverse(), flags: wire.ACK, seq: got, ack: 1001, window: 512, options: &serverTS, payload: []byte(text), net: splice.WAN})
		got += uint32(len(text))
	}
	for i, c := range []struct {
		do   func()
		want string
	}{
		{func() { say(false, "forwarded") }, "cS"},
		{func() { say(true, "by the shortcut") }, "cs"},
		{func() { say(false, "forwarded,"); say(false, " and at once") }, "cS"},
		{func() { data("an answer") }, "cs"},
		{func() { say(false, "") }, ""}, // an ACK, with which accd has nothing to tell the server
		{func() { data("more") }, "cS"},
		{func() { data("more") }, "cs"},
	} {
		c.do()
		b.turn()
		b.now = b.now.Add(5 * time.Millisecond) // an ACK may wait for data to ride on
		if out := b.invited(); !sameFrames(out, c.want) {
			t.Errorf("%d: %q came out, want %q", i, out, c.want)
		}
	}
	if s := b.term.shards[0].attend(&web4).State(); s != splice.InCustody {
		t.Errorf("the flow is in %v", s)
	}
}

// sameFrames compares what came out towards the server, in order, and whether anything
// did towards the client, none of which may invite.
func sameFrames(out, want string) bool {
	side := func(s, of string) (sent string) {
		for _, c := range s {
			if bytes.ContainsRune([]byte(of), c) {
				sent += string(c)
			}
		}
		return sent
	}
	return side(out, "sS") == side(want, "sS") && side(out, "C") == "" && (side(out, "c") == "") == (side(want, "c") == "")
}

// A flow whose end is in sight, that stays native, or that is not open yet is not
// invited; nor is any without a shortcut.
func TestNoInvitation(t *testing.T) {
	ack := packet{tuple: web4, flags: wire.ACK, seq: 1001, ack: 5001, window: 512, options: &clientTS, net: splice.LAN}
	for name, c := range map[string]struct {
		box  func() *box
		do   func(b *box)
		want string
	}{
		"invited":     {func() *box { return newBox(t, 1, withShortcut) }, func(*box) {}, "S"},
		"no shortcut": {func() *box { return newBox(t, 1) }, func(*box) {}, "s"},
		"native": {func() *box { return newBox(t, 1, withShortcut) }, func(b *box) {
			b.term.shards[0].attend(&web4).Drain(b.now, splice.Operator)
		}, "s"},
		"stopping": {func() *box { return newBox(t, 1, withShortcut) }, func(b *box) { b.term.shards[0].drain() }, "s"},
		"another SYN": {func() *box { return newBox(t, 1, withShortcut) }, func(b *box) {
			b.send(splice.Client, packet{tuple: web4, flags: wire.SYN, seq: 9000, window: 65535, options: &synOptions, net: splice.LAN})
			if out := b.invited(); out != "s" {
				t.Errorf("of the SYN came out %q", out)
			}
		}, "s"},
	} {
		b := c.box()
		b.handshake(0, web4)
		c.do(b)
		b.send(splice.Client, ack)
		if out := b.invited(); out != c.want {
			t.Errorf("%s: %q came out, want %q", name, out, c.want)
		}
	}
}

// custodyOf brings a flow into custody with a byte of its client, which is acknowledged,
// and has the client say something by which it is invited: when accd has something to
// tell the server. The server's next byte is 5002.
func (b *box) custodyOf(tuple wire.Tuple) {
	b.t.Helper()
	b.handshake(0, tuple)
	b.by(true, splice.Client, packet{tuple: tuple, flags: wire.ACK, seq: 1001, ack: 5001, window: 512, options: &clientTS, payload: []byte("?")})
	b.turn()
	b.by(true, splice.Server, packet{tuple: tuple.Reverse(), flags: wire.ACK | wire.PSH, seq: 5001, ack: 1002, window: 512, options: &serverTS, payload: []byte("!")})
	b.pass(5 * time.Millisecond)
	b.take(0)
	b.by(false, splice.Client, packet{tuple: tuple, flags: wire.ACK, seq: 1002, ack: 5001, window: 500, options: &clientTS, net: splice.LAN})
	if out := b.invited(); out != "" {
		b.t.Fatalf("an ACK made %q come out", out)
	}
	if s := b.term.shards[0].attend(&tuple).State(); s != splice.InCustody {
		b.t.Fatalf("the flow is in %v", s)
	}
}

// What is due to be an invitation is none when the flow has become another, or is to
// stay native, or all that goes to the server is its end.
func TestInvitationLapses(t *testing.T) {
	answer := packet{tuple: web4.Reverse(), flags: wire.ACK, seq: 5002, ack: 1002, window: 512, options: &serverTS, payload: []byte("more"), net: splice.WAN}
	reset := packet{tuple: web4, flags: wire.RST | wire.ACK, seq: 1002, ack: 5001, window: 512, options: &clientTS, net: splice.LAN}
	for name, c := range map[string]struct {
		do   func(b *box)
		want bool
	}{
		"it does not lapse": {func(b *box) { b.by(true, splice.Server, answer) }, true},
		"native": {func(b *box) {
			b.term.shards[0].attend(&web4).Drain(b.now, splice.Operator)
			b.by(true, splice.Client, packet{tuple: web4, flags: wire.ACK, seq: 1002, ack: 5002, window: 512, options: &clientTS})
		}, false},
		"the client resets": {func(b *box) { b.by(false, splice.Client, reset) }, false},
		"another connection": {func(b *box) {
			// The client has what is held for it, so its reset ends the flow at once.
			b.by(true, splice.Client, packet{tuple: web4, flags: wire.ACK, seq: 1002, ack: 5002, window: 512, options: &clientTS})
			b.by(true, splice.Client, reset)
			b.pass(time.Minute)
			b.take(0)
			b.handshake(0, web6)
			b.by(true, splice.Client, packet{tuple: web6, flags: wire.ACK, seq: 1001, ack: 5001, window: 512, options: &clientTS})
		}, false},
		"another connection of that name": {func(b *box) {
			b.by(false, splice.Client, reset)
			b.turn()
			for _, p := range []packet{
				{tuple: web4, flags: wire.SYN, seq: 900_000, window: 65535, options: &synOptions, net: splice.LAN},
				{tuple: web4.Reverse(), flags: wire.SYN | wire.ACK, seq: 5000, ack: 900_001, window: 65535, options: &synAckOptions, net: splice.WAN},
			} {
				side := splice.Client
				if p.flags.Has(wire.ACK) {
					side = splice.Server
				}
				b.by(false, side, p)
				b.turn()
			}
			third := packet{tuple: web4, flags: wire.ACK, seq: 900_001, ack: 5001, window: 512, options: &clientTS}
			b.by(true, splice.Client, third)
			third.payload = []byte("?")
			b.by(true, splice.Client, third)
			b.turn()
			if n := b.count(0).replaced; n != 1 {
				t.Errorf("%d flows were replaced", n)
			}
		}, false},
	} {
		b := newBox(t, 1, withShortcut)
		b.custodyOf(web4)
		c.do(b)
		b.pass(5 * time.Millisecond)
		if out := b.invited(); bytes.ContainsAny([]byte(out), "S") != c.want || !bytes.ContainsAny([]byte(out), "sS") {
			t.Errorf("%s: %q came out", name, out)
		}
	}
}

// The end of a client's stream, forwarded as every FIN, makes no invitation due.
func TestNoInvitationByTheEnd(t *testing.T) {
	b := newBox(t, 1, withShortcut)
	b.handshake(0, web4)
	b.by(true, splice.Client, packet{tuple: web4, flags: wire.ACK, seq: 1001, ack: 5001, window: 512, options: &clientTS, payload: []byte("?")})
	b.by(false, splice.Client, packet{tuple: web4, flags: wire.ACK | wire.FIN, seq: 1002, ack: 5001, window: 512, options: &clientTS, net: splice.LAN})
	b.turn()
	b.by(true, splice.Server, packet{tuple: web4.Reverse(), flags: wire.ACK | wire.PSH, seq: 5001, ack: 1002, window: 512, options: &serverTS, payload: []byte("an answer")})
	b.turn()
	b.by(true, splice.Server, packet{tuple: web4.Reverse(), flags: wire.ACK | wire.PSH, seq: 5010, ack: 1003, window: 512, options: &serverTS, payload: []byte("and more")})
	b.pass(5 * time.Millisecond)
	if out := b.invited(); !bytes.ContainsAny([]byte(out), "s") || bytes.ContainsAny([]byte(out), "SC") {
		t.Errorf("%q came out", out)
	}
}

// A client that is answered early is there before its server is: the flow is invited
// when both are.
func TestInvitationOfEarlyAnswered(t *testing.T) {
	b := newEarlyBox(t, "{ flows: 1000, memory: 1GiB }")
	b.term.cfg.Shortcut = invitation
	b.send(splice.Client, packet{tuple: web4, flags: wire.SYN, seq: 1000, window: 65535, options: &synOptions, net: splice.LAN})
	var o wire.Options
	answer := b.want1(0)
	o.Decode(answer.view.OptionBytes())
	ts := wire.Options{Set: wire.HasTS, TSVal: 101, TSEcr: o.TSVal}
	seq := uint32(1001)
	say := func(text string) {
		b.send(splice.Client, packet{tuple: web4, flags: wire.ACK, seq: seq, ack: answer.view.Seq().Uint32() + 1, window: 512, options: &ts, payload: []byte(text), net: splice.LAN})
		seq += uint32(len(text))
		b.turn()
	}
	say("")
	say("a request")
	var syn got
	for _, g := range b.take(0) {
		if [6]byte(g.frame[6:12]) == invitation {
			t.Errorf("%v towards the %v invites", g.view.Flags(), g.side)
		}
		if g.side == splice.Server {
			syn = g
		}
	}
	if syn.view.Flags() != wire.SYN {
		t.Fatal("the server is not asked")
	}
	o.Decode(syn.view.OptionBytes())
	ts2 := synAckOptions
	ts2.TSEcr = o.TSVal
	b.send(splice.Server, packet{tuple: web4.Reverse(), flags: wire.SYN | wire.ACK, seq: 5000, ack: syn.view.Seq().Uint32() + 1, window: 65535, options: &ts2, net: splice.WAN})
	if out := b.invited(); out == "" || bytes.ContainsAny([]byte(out), "SC") {
		t.Errorf("the server's answer made %q come out", out)
	}
	say("another")
	if out := b.invited(); !sameFrames(out, "cS") {
		t.Errorf("%q came out", out)
	}
}

// BenchmarkPass has an ACK of a flow on the wire pass, queues in memory included.
func BenchmarkPass(b *testing.B) {
	p := packet{tuple: web4, flags: wire.ACK, seq: 1001, ack: 5001, window: 512, options: &clientTS, net: splice.LAN}
	for _, from := range []splice.Side{splice.Client, splice.Server} {
		if from == splice.Server {
			p = packet{tuple: web4.Reverse(), flags: wire.ACK, seq: 5001, ack: 1001, window: 512, options: &serverTS, net: splice.WAN}
		}
		for way, f := range map[string][]byte{"forwarded": p.frame(), "shortcut": p.direct()} {
			b.Run(fmt.Sprintf("%v/%s", from, way), func(b *testing.B) {
				x := newBox(b, 1, withShortcut)
				x.handshake(0, web4)
				s, out := x.term.shards[0], x.ends[0][from.Other()]
				var err error
				b.ReportAllocs()
				for b.Loop() {
					for range 32 {
						x.put(0, from, verified, f)
					}
					s.turn(x.now)
					for ok := true; ok; {
						if ok, err = out.Recv(&x.pool, &s.frame); err != nil {
							b.Fatal(err)
						}
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(32*b.N), "ns/frame")
			})
		}
	}
}
