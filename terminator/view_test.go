package terminator

import (
	"strings"
	"testing"

	"accd/policy"
	"accd/splice"
	"accd/tcpstack/wire"
)

// What an operator sees of a leg is what that leg has agreed on: of a split flow
// each its own, of a relayed one what both ends know.
func TestViewTellsTheLegsApart(t *testing.T) {
	poor := wire.Options{Set: wire.HasMSS, MSS: 1000}
	for _, handshake := range []policy.Handshake{policy.Relay, policy.Split} {
		t.Run(handshake.String(), func(t *testing.T) {
			b := newBox(t, 1, func(cfg *Config) {
				cfg.Policy = table(t, strings.Replace(config, "action: accelerate,", "action: accelerate, handshake: "+handshake.String()+",", 1))
			})
			for _, p := range []struct {
				from splice.Side
				packet
			}{
				{splice.Client, packet{tuple: web4, flags: wire.SYN, seq: 1000, window: 65535, options: &poor, net: splice.LAN}},
				{splice.Server, packet{tuple: web4.Reverse(), flags: wire.SYN | wire.ACK, seq: 5000, ack: 1001, window: 65535, options: &synAckOptions, net: splice.WAN}},
				{splice.Client, packet{tuple: web4, flags: wire.ACK, seq: 1001, ack: 5001, window: 65535, net: splice.LAN}},
			} {
				b.send(p.from, p.packet)
				b.turn()
				b.take(0)
			}
			s := b.term.shards[0]
			v := s.describe(s.attend(&web4).at)
			split := handshake == policy.Split
			if v.Handshake != handshake.String() || v.Drainable == split {
				t.Errorf("handshake %q, drainable %v", v.Handshake, v.Drainable)
			}
			client, server := &v.ClientLeg, &v.ServerLeg
			if client.SACK || client.Timestamps || client.WindowScale != 0 || client.MSS != 1000 || client.ECN != "none" {
				t.Errorf("client leg %+v", client)
			}
			if server.SACK != split || server.Timestamps != split || server.WindowScale != 0 && !split || server.WindowScale != 7 && split || server.MSS != 1460 {
				t.Errorf("server leg %+v", server)
			}
		})
	}
}
