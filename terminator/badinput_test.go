package terminator

import (
	"bytes"
	"testing"

	"accd/splice"
	"accd/tcpstack/wire"
)

// withOptions makes the frame of p with raw option bytes, whose checksum is right;
// their length is a multiple of four.
func withOptions(p packet, options ...byte) []byte {
	p.payload = append(bytes.Clone(options), p.payload...)
	p.options = nil
	f := p.frame()
	f[46] += byte(len(options)/4) << 4 // what was payload becomes options
	mendTCP(f)
	return f
}

// mendTCP makes the TCP checksum of an IPv4 frame right.
func mendTCP(f []byte) {
	f[50], f[51] = 0, 0
	pseudo := append(append([]byte{}, f[26:34]...), 0, wire.ProtoTCP, byte((len(f)-34)>>8), byte(len(f)-34))
	sum := ^wire.Fold(wire.Sum(f[34:], wire.Sum(pseudo, 0)))
	f[50], f[51] = byte(sum>>8), byte(sum)
}

// Input that no honest endpoint sends passes or is not followed, each for its own
// reason; accd never answers it, makes no flow of it and keeps nothing of it
// (RFC 9293, MUST-57, MUST-63, MUST-7; RFC 1122, 4.2.3.10).
func TestBadInput(t *testing.T) {
	syn := func(client, server string) []byte {
		return packet{tuple: tupleOf(client, server), flags: wire.SYN, seq: 1000, window: 65535, options: &synOptions, net: splice.LAN}.frame()
	}
	plain := packet{tuple: web4, flags: wire.SYN, seq: 1000, window: 65535, net: splice.LAN}
	data := packet{tuple: web4, flags: wire.ACK, seq: 1001, ack: 5001, window: 512, payload: []byte("data"), net: splice.LAN}
	edit := func(f []byte, at int, b ...byte) []byte {
		f = bytes.Clone(f)
		copy(f[at:], b)
		return f
	}
	for _, c := range []struct {
		name  string
		frame []byte
		want  Reason
	}{
		{"land", syn("192.0.2.9:80", "192.0.2.9:80"), Land},
		{"land, other port", syn("192.0.2.9:81", "192.0.2.9:80"), Land},
		{"land, IPv6", syn("[2001:db8::9]:80", "[2001:db8::9]:80"), Land},
		{"to multicast", syn("10.1.0.7:1", "224.0.0.1:80"), NotUnicast},
		{"to multicast, IPv6", syn("[2001:db8::7]:1", "[ff02::1]:80"), NotUnicast},
		{"to broadcast", syn("10.1.0.7:1", "255.255.255.255:80"), NotUnicast},
		{"from multicast", syn("239.1.2.3:1", "192.0.2.9:80"), NotUnicast},
		{"from broadcast", syn("255.255.255.255:1", "192.0.2.9:80"), NotUnicast},
		{"from nobody", syn("0.0.0.0:1", "192.0.2.9:80"), NotUnicast},
		{"from nobody, IPv6", syn("[::]:1", "[2001:db8::9]:80"), NotUnicast},
		{"from a reserved address", syn("240.0.0.1:1", "192.0.2.9:80"), NotUnicast},
		{"checksum", edit(plain.frame(), 50, 0xde, 0xad), BadChecksum},
		{"header shorter than itself", edit(plain.frame(), 46, 0x40), Malformed},
		{"header longer than the packet", edit(plain.frame(), 46, 0xf0), Malformed},
		{"no flags", packet{tuple: web4, seq: 1}.frame(), NoFlow},
		{"all flags", packet{tuple: web4, flags: 0x1ff, seq: 1}.frame(), NoFlow},
		{"SYN and FIN", packet{tuple: web4, flags: wire.SYN | wire.FIN, seq: 1, options: &synOptions, net: splice.LAN}.frame(), Opening},
		{"SYN and RST", packet{tuple: web4, flags: wire.SYN | wire.RST, seq: 1, options: &synOptions, net: splice.LAN}.frame(), NoFlow},
		{"option of length 0", withOptions(plain, 2, 0, 5, 0xb4), Opening},
		{"option of length 1", withOptions(plain, 8, 1, 0, 0), Opening},
		{"option past the end", withOptions(plain, 1, 1, 2, 40), Opening},
		{"option without a length", withOptions(plain, 1, 1, 1, 3), Opening},
		{"options in data", withOptions(data, 8, 0, 0, 0), NoFlow},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBox(t, 1)
			for range 3 {
				b.put(0, splice.Client, wire.VirtioHeader{}, c.frame)
				if g := b.want1(0); g.side != splice.Server {
					t.Errorf("answered to the %v", g.side)
				}
			}
			if c.want != Opening { // a SYN's ECN may be changed, and it may come again
				wantPassed(t, splice.Client, c.frame, func() got {
					b.put(0, splice.Client, wire.VirtioHeader{}, c.frame)
					return b.want1(0)
				}())
				b.wantReason(c.want, 4)
			} else {
				b.wantReason(c.want, 3)
			}
			s := b.term.shards[0]
			if s.flows.len() != 0 || s.pool.InUse() != 0 {
				t.Errorf("%d flows, %d bytes are kept", s.flows.len(), s.pool.InUse())
			}
		})
	}
}

// A rule that answers clients early answers no addresses that are not two hosts':
// what comes from or goes to such passes, for the same reason as without the rule.
func TestEarlyAnswersHostsOnly(t *testing.T) {
	for _, c := range []struct {
		client, server string
		want           Reason
	}{
		{"192.0.2.9:80", "192.0.2.9:80", Land},
		{"10.1.0.7:1", "224.0.0.1:80", NotUnicast},
		{"0.0.0.0:1", "192.0.2.9:80", NotUnicast},
		{"10.1.0.7:1", "192.0.2.9:80", Rewritten},
	} {
		b := newEarlyBox(t, "{ flows: 1000, memory: 64MiB }")
		b.put(0, splice.Client, wire.VirtioHeader{}, packet{tuple: tupleOf(c.client, c.server), flags: wire.SYN, seq: 1000, window: 65535, options: &synOptions, net: splice.LAN}.frame())
		want := splice.Server
		if c.want == Rewritten {
			want = splice.Client // the SYN-ACK
		}
		if g := b.want1(0); g.side != want {
			t.Errorf("%s to %s: a frame towards the %v", c.client, c.server, g.side)
		}
		b.wantReason(c.want, 1)
	}
}

// A handshake whose SYN has options of illegal lengths, or announces segments that
// are mostly headers, makes no flow, for a reason of its own.
func TestBadHandshakes(t *testing.T) {
	for _, c := range []struct {
		name    string
		options []byte
		want    splice.Reason
	}{
		{"option of length 0", []byte{2, 0, 5, 0xb4}, splice.SYNOptions},
		{"MSS of length 3", []byte{2, 3, 5, 1}, splice.SYNOptions},
		{"window scale of length 4", []byte{3, 4, 7, 7}, splice.SYNOptions},
		{"past the end", []byte{1, 1, 2, 40}, splice.SYNOptions},
		{"MSS 0", []byte{2, 4, 0, 0}, splice.TinyMSS},
		{"MSS 47", []byte{2, 4, 0, 47}, splice.TinyMSS},
		{"MSS 48", []byte{2, 4, 0, 48}, splice.None},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBox(t, 1)
			for _, p := range []struct {
				side  splice.Side
				frame []byte
			}{
				{splice.Client, withOptions(packet{tuple: web4, flags: wire.SYN, seq: 1000, window: 65535, net: splice.LAN}, c.options...)},
				{splice.Server, packet{tuple: web4.Reverse(), flags: wire.SYN | wire.ACK, seq: 5000, ack: 1001, window: 65535, net: splice.WAN}.frame()},
				{splice.Client, packet{tuple: web4, flags: wire.ACK, seq: 1001, ack: 5001, window: 65535, net: splice.LAN}.frame()},
			} {
				b.put(0, p.side, wire.VirtioHeader{}, p.frame)
				if g := b.want1(0); g.side != p.side.Other() {
					t.Fatalf("answered to the %v", g.side)
				}
			}
			s := b.term.shards[0]
			made := s.attend(&web4) != nil
			if made != (c.want == splice.None) || c.want != splice.None && s.custody.By[c.want] != 1 {
				t.Errorf("flow %v, counted %d as %v", made, s.custody.By[c.want], c.want)
			}
		})
	}
}
