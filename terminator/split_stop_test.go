package terminator

import (
	"strings"
	"testing"
	"time"

	"accd/splice"
	"accd/tcpstack/wire"
)

// docs/custody.md, Split: a stop resets both ends of a handshake that is being split,
// before and behind the server's answer, and what completes all the same after the
// deadline too: the ends have agreed on options with accd, which is about to go.
func TestStopResetsSplitHandshakes(t *testing.T) {
	syn := packet{tuple: web4, flags: wire.SYN, seq: 1000, window: 65535, options: &synOptions, net: splice.LAN}
	synAck := packet{tuple: web4.Reverse(), flags: wire.SYN | wire.ACK, seq: 5000, ack: 1001, window: 65535, options: &synAckOptions, net: splice.WAN}
	ack := packet{tuple: web4, flags: wire.ACK, seq: 1001, ack: 5001, window: 512, options: &clientTS, net: splice.LAN}
	for _, answered := range []bool{false, true} {
		b := newBox(t, 1, func(cfg *Config) {
			cfg.Policy = table(t, strings.Replace(config, "action: accelerate,", "action: accelerate, handshake: split,", 1))
		})
		s := b.term.shards[0]
		b.send(splice.Client, syn)
		b.want1(0)
		next := uint32(0)
		if answered {
			b.send(splice.Server, synAck)
			b.want1(0)
			next = 5001
		}
		wantResets := func(when string, client, server uint32) {
			t.Helper()
			var resets [2]int
			for _, g := range b.take(0) {
				if !g.view.Flags().Has(wire.RST) {
					continue
				}
				resets[g.side]++
				if want := [2]uint32{client, server}[g.side]; g.view.Seq().Uint32() != want {
					t.Errorf("answered %v, %s: an RST towards the %v at %d, want %d", answered, when, g.side, g.view.Seq().Uint32(), want)
				}
				if g.side == splice.Client && g.view.Ack().Uint32() != 1001 {
					t.Errorf("answered %v, %s: a client in SYN-SENT does not accept ack %d", answered, when, g.view.Ack().Uint32())
				}
			}
			if resets != [2]int{1, 1} {
				t.Errorf("answered %v, %s: resets %v", answered, when, resets)
			}
		}
		s.ask((*shard).drain)
		b.turn()
		wantResets("at the stop", next, 1001)
		s.ask(func(s *shard) { s.kill() })
		b.turn()
		wantResets("at the deadline", next, 1001)

		b.send(splice.Server, synAck)
		b.want1(0)
		b.send(splice.Client, ack)
		b.turn()
		wantResets("completed", 5001, 1001)
		b.pass(5 * time.Second)
		if s.active != 0 || s.flows.len() != 0 {
			t.Errorf("answered %v: %d active, %d flows after the end", answered, s.active, s.flows.len())
		}
	}
}
