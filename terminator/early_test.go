package terminator

import (
	"fmt"
	"strings"
	"testing"

	"accd/splice"
	"accd/tcpstack/wire"
)

// newEarlyBox makes a box whose rule answers clients early, with these limits.
func newEarlyBox(t *testing.T, limits string) *box {
	t.Helper()
	src := strings.Replace(config, "action: accelerate,", "action: accelerate, handshake: split, accept: early,", 1)
	src = strings.Replace(src, "limits: { flows: 1000, memory: 64MiB, new_flows_per_second: 1000, per_client_opening: 100 }", "limits: "+limits, 1)
	return newBox(t, 1, func(cfg *Config) { cfg.Policy = table(t, src) })
}

// Cookies hold no place, but who brings one back wants one: limits hold for those
// clients, too. Their ACKs are dropped, and come again.
func TestEarlyKeepsItsLimits(t *testing.T) {
	const limit, clients = 200, 1000
	for name, limits := range map[string]string{
		"flows":                fmt.Sprintf("{ flows: %d, memory: 4GiB }", limit),
		"memory":               fmt.Sprintf("{ flows: 10000, memory: %dMiB }", limit/4), // of 256 KiB each
		"new flows per second": fmt.Sprintf("{ flows: 10000, memory: 4GiB, new_flows_per_second: %d }", limit),
	} {
		t.Run(name, func(t *testing.T) {
			b := newEarlyBox(t, limits)
			s := b.term.shards[0]
			for i := range clients {
				k := tupleOf(fmt.Sprintf("10.1.%d.%d:4000", i/200, 1+i%200), "192.0.2.9:80")
				b.send(splice.Client, packet{tuple: k, flags: wire.SYN, seq: 1000, window: 65535, options: &synOptions, net: splice.LAN})
				b.turn()
			}
			answers := b.take(0)
			for _, g := range answers {
				if g.side != splice.Client || g.view.Flags() != wire.SYN|wire.ACK {
					t.Fatalf("a SYN came out as %v towards the %v", g.view.Flags(), g.side)
				}
				var o wire.Options
				o.Decode(g.view.OptionBytes())
				ack := packet{tuple: g.view.Tuple().Reverse(), flags: wire.ACK, seq: 1001, ack: g.view.Seq().Uint32() + 1, window: 512,
					options: &wire.Options{Set: wire.HasTS, TSVal: 101, TSEcr: o.TSVal}, net: splice.LAN}
				b.send(splice.Client, ack)
				b.turn()
			}
			if len(answers) != clients {
				t.Errorf("%d of %d clients were answered", len(answers), clients)
			}
			for _, g := range b.take(0) {
				if g.side == splice.Server && g.view.Flags()&(wire.SYN|wire.ACK) != wire.SYN {
					t.Fatalf("%v towards a server that knows of nothing", g.view.Flags())
				}
			}
			if n := s.flows.len(); n > limit || n < limit*9/10 {
				t.Errorf("%d flows", n)
			}
			b.wantReason(Unanswered, uint64(clients-s.flows.len()))
		})
	}
}
