package netcfg

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"accd/netcfg/netlab"

	"golang.org/x/sys/unix"
)

// BenchmarkFrame measures what the kernel does for a frame of a steered flow, by
// each of the four ways, and for one of a connection that nobody steers: from a
// write of the frame to where the next namespace, or the full ring of a tap, drops
// it. All of it runs in the writer's thread. The box masquerades, or does nothing but
// forward, without and with the shortcut.
func BenchmarkFrame(b *testing.B) {
	for _, box := range []struct {
		name  string
		lab   func(testing.TB) *routerLab
		hurry bool
	}{{"masquerading", newRouterLab, false}, {"plain", newPlainLab, false}, {"shortcut", newPlainLab, true}} {
		b.Run(box.name, func(b *testing.B) { benchmarkFrame(b, box.lab(b), box.hurry) })
	}
}

func benchmarkFrame(b *testing.B, r *routerLab, hurry bool) {
	r.echo(r.server, ":80")
	r.echo(r.server, ":81")
	p := r.plan()
	p.Queues = 2
	p.BeatTimeout = time.Hour
	p.Clauses = []Clause{{Ports: []PortRange{{81, 81}}}, {Accelerate: true}}
	a := r.start(p)

	last := a.last()
	a.relay.hurry.Store(hurry)
	steered, native := r.dial(r.client, server4+":80"), r.dial(r.client, server4+":81")
	r.ok(steered.exchange(1000, 5*time.Second))
	r.ok(native.exchange(1000, 5*time.Second))
	a.hang()
	if n := a.relay.direct[client].Load() + a.relay.direct[server].Load(); (n > 0) != hurry {
		b.Fatalf("%d frames took the shortcut", n)
	}
	fromClient, fromServer := last(client), last(server)
	answer := steered.answer(fromServer)
	unsteered := slices.Clone(fromClient)
	binary.BigEndian.PutUint16(unsteered[20:], native.local().Port())
	binary.BigEndian.PutUint16(unsteered[22:], 81)
	for _, n := range []*netlab.Namespace{r.client, r.server} {
		r.run(n, "nft", "add table inet deaf; add chain inet deaf in { type filter hook prerouting priority -500; policy drop; }")
	}

	for _, way := range []struct {
		name string
		ip   []byte
		by   func(ip []byte) (fd int, frame []byte)
	}{
		{"client-to-tap", fromClient, r.wire(r.client, "lan")},
		{"server-to-tap", answer, r.wire(r.server, "wan")},
		{"tap-to-client", fromServer, a.into(client)},
		{"tap-to-server", fromClient, a.into(server)},
		{"unsteered", unsteered, r.wire(r.client, "lan")},
	} {
		b.Run(way.name, func(b *testing.B) {
			fd, frame := way.by(checked(way.ip))
			for b.Loop() {
				if _, err := unix.Write(fd, frame); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
