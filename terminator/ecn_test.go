package terminator

import (
	"testing"
	"time"

	"accd/splice"
	"accd/tcpstack/wire"
)

// ecnPacket is a packet whose IP header has a DSCP and an ECN codepoint.
func ecnPacket(p packet, e wire.ECN) []byte {
	f := p.frame()
	var v wire.View
	v.Parse(f)
	if v.Is6 {
		f[wire.EthLen], f[wire.EthLen+1] = f[wire.EthLen]|0xb, f[wire.EthLen+1]|0x80
	} else {
		f[wire.EthLen+1] = 0xb8
	}
	v.SetECN(e)
	return f
}

// docs/custody.md, ECN: the mark of a packet that is taken is echoed, and what
// leaves is ECT under the sender's DSCP. CWR on a superpacket is the first
// segment's alone, and the device is told so.
func TestECNThroughCustody(t *testing.T) {
	for _, tuple := range []wire.Tuple{web4, web6} {
		b := newBox(t, 1)
		for _, p := range []struct {
			side splice.Side
			packet
		}{
			{splice.Client, packet{tuple: tuple, flags: wire.SYN | wire.ECE | wire.CWR, seq: 1000, window: 65535, options: &synOptions, net: splice.LAN}},
			{splice.Server, packet{tuple: tuple.Reverse(), flags: wire.SYN | wire.ACK | wire.ECE, seq: 5000, ack: 1001, window: 65535, options: &synAckOptions, net: splice.WAN}},
			{splice.Client, packet{tuple: tuple, flags: wire.ACK, seq: 1001, ack: 5001, window: 512, options: &clientTS, net: splice.LAN}},
		} {
			b.send(p.side, p.packet)
			if g := b.want1(0); g.view.Flags() != p.flags {
				t.Fatalf("relayed %v as %v", p.flags, g.view.Flags())
			}
		}
		data := packet{tuple: tuple, flags: wire.ACK, seq: 1001, ack: 5001, window: 512, options: &clientTS, net: splice.LAN, payload: make([]byte, 1000)}
		b.put(0, splice.Client, wire.VirtioHeader{}, ecnPacket(data, wire.CE))
		b.turn()
		var toServer, toClient int
		for _, g := range b.take(0) {
			switch {
			case g.side == splice.Client:
				toClient++
				if g.view.TOS() != 0 || !g.view.Flags().Has(wire.ECE) {
					t.Errorf("to the client: TOS %#x, flags %v", g.view.TOS(), g.view.Flags())
				}
			default:
				toServer++
				if g.view.TOS() != 0xb8|uint8(wire.ECT0) || g.view.Flags().Any(wire.ECE|wire.CWR) {
					t.Errorf("to the server: TOS %#x, flags %v", g.view.TOS(), g.view.Flags())
				}
			}
		}
		if toServer != 1 || toClient != 1 {
			t.Fatalf("%d packets to the server, %d to the client", toServer, toClient)
		}
		b.send(splice.Server, packet{tuple: tuple.Reverse(), flags: wire.ACK | wire.ECE, seq: 5001, ack: 2001, window: 512, options: &serverTS, net: splice.WAN})
		b.silence(0)
		data.seq, data.flags, data.payload = 2001, wire.ACK|wire.CWR, make([]byte, 10_000)
		b.put(0, splice.Client, wire.VirtioHeader{}, ecnPacket(data, wire.ECT0))
		b.turn()
		b.pass(time.Second)
		said := 0
		for _, g := range b.take(0) {
			super := g.virtio.GSOSize > 0
			if g.side == splice.Server && g.view.Flags().Has(wire.CWR) {
				said++
				if super != (g.virtio.GSOType&wire.VirtioGSOECN != 0) {
					t.Errorf("CWR in %d bytes, superpacket %v, virtio-net %+v", len(g.view.Payload()), super, g.virtio)
				}
				if !super {
					t.Errorf("no superpacket, so this shows nothing")
				}
			} else if g.virtio.GSOType&wire.VirtioGSOECN != 0 {
				t.Errorf("without CWR: virtio-net %+v", g.virtio)
			}
		}
		if said != 1 {
			t.Errorf("CWR was said %d times", said)
		}
	}
}
