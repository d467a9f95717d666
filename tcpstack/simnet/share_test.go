package simnet

import (
	"testing"
	"time"

	"accd/splice"
)

// Flows that share the queue of an accd that does not keep up (docs/custody.md, Own queue)
// still get what long paths take, whichever side they are on and whatever waits in
// them: a limit that takes a path's own queue for accd's would slow the sender, and then
// follow it down.
func TestShareLeavesLongPathsAlone(t *testing.T) {
	const mbit, bytes = 100, 40 << 20
	lan := Symmetric(Impairments{Rate: 1e9 / 8, Delay: 100 * time.Microsecond, GRO: true})
	for _, algorithm := range []string{"cubic", "bbr"} {
		for _, where := range []struct {
			name      string
			near, far Path // of the client, of the server
		}{
			{"client far away", bottleneck(mbit, 100*time.Millisecond, 1, 0), lan},
			{"client behind a long queue", bottleneck(mbit, 40*time.Millisecond, 8, 0), lan},
			{"client behind losses", bottleneck(mbit, 40*time.Millisecond, 1, 0.0005), lan},
			{"server far away", lan, bottleneck(mbit, 100*time.Millisecond, 1, 0)},
			{"server behind a long queue", lan, bottleneck(mbit, 40*time.Millisecond, 8, 0)},
			{"both far away", bottleneck(mbit, 40*time.Millisecond, 1, 0), bottleneck(mbit, 60*time.Millisecond, 1, 0)},
		} {
			download := func(share int) time.Duration {
				s, came := downloadThrough(t, algorithm, where.near, where.far, bytes, BoxConfig{MaxBuffer: 32 << 20, Share: share})
				if came != bytes {
					t.Fatalf("%s, %s: %d of %d bytes arrived", algorithm, where.name, came, bytes)
				}
				return s.Since()
			}
			alone, shared := download(0), download(mbit*1e6/8/500/4) // of 2 ms, among four
			t.Logf("%-5s %-27s %v alone, %v with a share", algorithm, where.name, alone, shared)
			if shared > alone*11/10 {
				t.Errorf("%s, %s: %v with a share, %v alone", algorithm, where.name, shared, alone)
			}
		}
	}
}

// What waits between near ends stays within what a processor's caches hold, however
// long the queues are that it makes on its way, and the path is as full.
func TestShareOfNearEnds(t *testing.T) {
	const mbit, bytes, most = 8000, 200 << 20, 4 << 20
	lan := Symmetric(Impairments{Rate: 10e9 / 8, Delay: 50 * time.Microsecond, GRO: true})
	s := New(1)
	cfg := Config{
		Hosts:   [2]HostConfig{endpoint(t, "cubic", 64<<20), endpoint(t, "cubic", 64<<20)},
		Scripts: [2]Script{{Steps: []Step{{Bytes: 100}}, CloseLast: true}, {Steps: []Step{{Need: 100, Bytes: bytes}}}},
		Near:    bottleneck(mbit, 200*time.Microsecond, 40, 0), Far: lan,
	}
	for i := range cfg.Box.Legs {
		cfg.Box.Legs[i] = cfg.Hosts[i].Stack
	}
	net := NewNetwork(s, cfg)
	client := net.Hosts[splice.Client]
	client.Connect()
	held := 0
	if err := s.Run(time.Minute, func() bool {
		if f := net.Box.flow; f != nil {
			held = max(held, f.Held()[splice.Client])
		}
		return client.Read() == bytes
	}); err != nil {
		t.Fatal(err)
	}
	goodput := float64(client.Read()) * 8 / 1e6 / s.Since().Seconds()
	t.Logf("%d bytes waited at most, %.0f of %d Mbit/s", held, goodput, mbit)
	if held > most || goodput < .9*mbit {
		t.Errorf("%d bytes waited, %.0f of %d Mbit/s arrived", held, goodput, mbit)
	}
}
