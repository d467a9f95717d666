package simnet

import (
	"testing"
	"time"

	"accd/splice"
)

// A reader that takes a burst and is slow from then on is held for no longer than a
// drain may take (docs/custody.md, Limit by time): what its kernel has swallowed at once is
// not the rate at which it reads. It is kept as busy.
func TestSlowReaderAfterBurst(t *testing.T) {
	const burst, perSecond, seconds = 12 << 20, 4 << 20, 10
	lan := Symmetric(Impairments{Rate: 10e9 / 8, Delay: 50 * time.Microsecond, GRO: true})
	s := New(1)
	cfg := Config{
		Hosts: [2]HostConfig{endpoint(t, "cubic", 12<<20), endpoint(t, "cubic", 64<<20)},
		Scripts: [2]Script{
			{Steps: []Step{{Bytes: 100}}, CloseLast: true},
			{Steps: []Step{{Need: 100, Bytes: burst + (seconds+20)*perSecond}}},
		},
		Near: bottleneck(10_000, 20*time.Millisecond, 1, 0), Far: lan,
	}
	for i := range int64(seconds) {
		cfg.Scripts[splice.Client].Pauses = append(cfg.Scripts[splice.Client].Pauses, Pause{At: burst + i*perSecond, For: time.Second})
	}
	for i := range cfg.Box.Legs {
		cfg.Box.Legs[i] = cfg.Hosts[i].Stack
	}
	net := NewNetwork(s, cfg)
	client := net.Hosts[splice.Client]
	client.Connect()
	atFirst, later := 0, 0
	if err := s.Run(time.Minute, func() bool {
		if f := net.Box.flow; f != nil {
			held := f.Held()[splice.Client]
			if atFirst = max(atFirst, held); s.Since() > 6*time.Second {
				later = max(later, held)
			}
		}
		return client.Read() >= burst+(seconds-1)*perSecond
	}); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes were held at most, %d from 6 s on; after %v", atFirst, later, s.Since())
	if atFirst > burst*9/4 || later > 2*perSecond {
		t.Errorf("%d bytes were held, %d from 6 s on, for a reader of %d a second", atFirst, later, perSecond)
	}
	if took := s.Since(); took > (seconds-1)*time.Second+500*time.Millisecond {
		t.Errorf("%v, the reader alone takes %d s", took, seconds-1)
	}
}

// A reader that pauses now and then, as players do, gets what it asks for as soon as it would
// from an accd that did not mind: its pauses are most of the time.
func TestPausingReader(t *testing.T) {
	const piece, pieces = 10 << 20, 10
	for _, c := range []struct {
		near, far   Path
		pause, most time.Duration
	}{
		{Symmetric(Impairments{Rate: 10e9 / 8, Delay: 50 * time.Microsecond, GRO: true}), bottleneck(100, 100*time.Millisecond, 1, 0), time.Second, 11 * time.Second},
		{bottleneck(500, 20*time.Millisecond, 1, 0), bottleneck(1000, 100*time.Millisecond, 1, 0), 2 * time.Second, 26 * time.Second},
	} {
		s := New(1)
		cfg := Config{
			Hosts: [2]HostConfig{endpoint(t, "cubic", 2<<20), endpoint(t, "cubic", 32<<20)},
			Scripts: [2]Script{
				{Steps: []Step{{Bytes: 100}}, CloseLast: true},
				{Steps: []Step{{Need: 100, Bytes: piece * pieces}}},
			},
			Near: c.near, Far: c.far,
		}
		for i := range int64(pieces - 1) {
			cfg.Scripts[splice.Client].Pauses = append(cfg.Scripts[splice.Client].Pauses, Pause{At: piece * (i + 1), For: c.pause})
		}
		for i := range cfg.Box.Legs {
			cfg.Box.Legs[i] = cfg.Hosts[i].Stack
		}
		reader := NewNetwork(s, cfg).Hosts[splice.Client]
		reader.Connect()
		if err := s.Run(5*time.Minute, func() bool { return reader.Read() == piece*pieces }); err != nil {
			t.Fatal(err)
		}
		if took := s.Since(); took > c.most {
			t.Errorf("%v with pauses of %v, want %v at most", took, c.pause, c.most)
		}
	}
}

// A reader for whom nothing waited for a while is not slow: what comes after a pause comes as
// fast where each leg is a connection of its own, which stays in custody meanwhile, as where
// custody begins anew.
func TestPauseIsNotSlow(t *testing.T) {
	const burst, bursts, pause = 40 << 20, 4, 2 * time.Second
	lan := Symmetric(Impairments{Rate: 10e9 / 8, Delay: 50 * time.Microsecond, GRO: true})
	wan := bottleneck(1000, 100*time.Millisecond, 1, 0)
	for far, paths := range [2][2]Path{splice.Client: {wan, lan}, splice.Server: {lan, wan}} {
		read := func(split bool) time.Duration {
			s := New(1)
			cfg := Config{
				Hosts: [2]HostConfig{endpoint(t, "cubic", 64<<20), endpoint(t, "cubic", 64<<20)},
				Near:  paths[splice.Client], Far: paths[splice.Server], Box: BoxConfig{Split: split, MaxBuffer: 64 << 20},
			}
			client, server := &cfg.Scripts[splice.Client], &cfg.Scripts[splice.Server]
			client.CloseLast = true
			for i := range int64(bursts) {
				client.Steps = append(client.Steps, Step{Need: i * burst, Wait: pause, Bytes: 100})
				server.Steps = append(server.Steps, Step{Need: (i + 1) * 100, Bytes: burst})
			}
			for i := range cfg.Box.Legs {
				cfg.Box.Legs[i] = cfg.Hosts[i].Stack
			}
			reader := NewNetwork(s, cfg).Hosts[splice.Client]
			reader.Connect()
			if err := s.Run(time.Minute, func() bool { return reader.Read() == bursts*burst }); err != nil {
				t.Fatal(err)
			}
			return s.Since() - bursts*pause
		}
		anew, split := read(false), read(true)
		t.Logf("%v far away: %v, %v split", splice.Side(far), anew, split)
		if split > anew*21/20 {
			t.Errorf("%v far away: %v split, %v if not", splice.Side(far), split, anew)
		}
	}
}
