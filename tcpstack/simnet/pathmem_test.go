package simnet

import (
	"testing"
	"time"

	"accd/splice"
	"accd/tcpstack"
	"accd/tcpstack/buf"
	"accd/tcpstack/cc"
	"accd/tcpstack/pathmem"
	"accd/tcpstack/wire"
)

// fetched is how a download went.
type fetched struct {
	took     time.Duration // from the SYN to the last byte
	drops    int           // segments, by the queue
	timeouts uint64
	memory   cc.Memory // of the server, in the end
	states   map[string]bool
}

// fetch downloads so many bytes from a server that remembers the path so.
func fetch(t *testing.T, algorithm string, mbit float64, rtt time.Duration, bytes int64, remembered cc.Path) fetched {
	t.Helper()
	s := New(1)
	pool := new(buf.Pool)
	p := NewPairs(s, 1, bottleneck(mbit, rtt, 1, 0), pool, func(_ int, side splice.Side) (HostConfig, Script) {
		cfg := endpoint(t, algorithm, 16<<20)
		if side == splice.Client {
			return cfg, Script{CloseLast: true}
		}
		cfg.Path = remembered
		return cfg, Script{Steps: []Step{{Bytes: bytes}}}
	})[0]
	client, server := p.Hosts[splice.Client], p.Hosts[splice.Server]
	f := fetched{states: map[string]bool{}}
	s.Check = func() {
		if server.Open() {
			f.states[server.Conn.Control()] = true
			var snap tcpstack.Snapshot
			server.Conn.Snapshot(&snap)
			f.memory = snap.CC
		}
	}
	client.Connect()
	if err := s.Run(10*time.Minute, func() bool { return client.Read() == bytes }); err != nil {
		t.Fatal(err)
	}
	if client.Read() != bytes {
		t.Fatalf("%d of %d bytes arrived", client.Read(), bytes)
	}
	f.took, f.drops, f.timeouts = s.Since(), p.Back.Drops.Queue, server.Conn.Stats().Timeouts
	p.Discard()
	return f
}

// learnt is what a table of paths keeps of a flow.
func learnt(m cc.Memory) cc.Path {
	paths := pathmem.New(1)
	paths.Learn(Start, wire.Addr{}, 0, &m)
	return paths.Recall(Start, wire.Addr{}, 0)
}

// A megabyte to a path remembered takes at most 0.6 of the time it takes to a
// new one and loses nothing, with every algorithm.
func TestRememberedPath(t *testing.T) {
	const rtt = 200 * time.Millisecond
	for _, algorithm := range cc.Names() {
		p := learnt(fetch(t, algorithm, 100, rtt, 60<<20, cc.Path{}).memory)
		if bdp := 2_500_000; p.Capacity < bdp/2 || p.Capacity > bdp {
			t.Errorf("%s: capacity %d of a path of %d", algorithm, p.Capacity, bdp)
		}
		fresh := fetch(t, algorithm, 100, rtt, 1<<20, cc.Path{})
		again := fetch(t, algorithm, 100, rtt, 1<<20, p)
		t.Logf("%-6s 1 MiB: new %v, remembered %v (%.2f), %d dropped", algorithm, fresh.took, again.took, again.took.Seconds()/fresh.took.Seconds(), again.drops)
		most := 0.6
		if algorithm == "hybla" {
			most = 0.75 // it starts nearly as fast without
		}
		if again.took.Seconds() > most*fresh.took.Seconds() {
			t.Errorf("%s: %v to a path remembered, %v to a new one", algorithm, again.took, fresh.took)
		}
		if again.drops != 0 || again.timeouts != 0 {
			t.Errorf("%s: %d drops, %d timeouts", algorithm, again.drops, again.timeouts)
		}
	}
}

// A path remembered that has become ten times slower is not flooded: what is lost
// beyond what is lost anyway is less than the jump, nothing times out, and the transfer is over in a time
// like that of a flow that knew nothing. What is remembered then is the new path.
func TestRememberedPathHasBecomeSlow(t *testing.T) {
	const rtt = 200 * time.Millisecond
	remembered := cc.Path{Capacity: 2_500_000, RTT: rtt}
	for _, algorithm := range cc.Names() {
		fresh := fetch(t, algorithm, 10, rtt, 8<<20, cc.Path{})
		again := fetch(t, algorithm, 10, rtt, 8<<20, remembered)
		t.Logf("%-6s 8 MiB: new %v, %d dropped; remembered as ten times faster %v, %d dropped", algorithm, fresh.took, fresh.drops, again.took, again.drops)
		if !again.states["careful resume: safe retreat"] {
			t.Errorf("%s: no safe retreat: %v", algorithm, again.states)
		}
		if again.drops > remembered.Capacity/2/1448+fresh.drops || again.timeouts != 0 {
			t.Errorf("%s: %d drops, %d timeouts", algorithm, again.drops, again.timeouts)
		}
		if again.took > fresh.took*5/4 {
			t.Errorf("%s: %v, and %v without memory", algorithm, again.took, fresh.took)
		}
		if p := learnt(again.memory); p.Capacity > 500_000 {
			t.Errorf("%s: capacity %d remembered", algorithm, p.Capacity)
		}
	}
}

// RFC 9959, 4.2: a path with another round trip is another path, and one without
// much to send does not jump.
func TestPathThatIsNotRemembered(t *testing.T) {
	jumped := func(f fetched) bool { return f.states["careful resume: unvalidated"] }
	if !jumped(fetch(t, "cubic", 100, 200*time.Millisecond, 1<<20, cc.Path{Capacity: 2_500_000, RTT: 200 * time.Millisecond})) {
		t.Error("no jump where there should be one")
	}
	if jumped(fetch(t, "cubic", 100, 40*time.Millisecond, 1<<20, cc.Path{Capacity: 2_500_000, RTT: 200 * time.Millisecond})) {
		t.Error("a jump although the round trip is a fifth")
	}
	if jumped(fetch(t, "cubic", 100, 400*time.Millisecond, 1<<20, cc.Path{Capacity: 2_500_000, RTT: 30 * time.Millisecond})) {
		t.Error("a jump although the round trip is thirteen times as long")
	}
	if jumped(fetch(t, "cubic", 100, 200*time.Millisecond, 10_000, cc.Path{Capacity: 2_500_000, RTT: 200 * time.Millisecond})) {
		t.Error("a jump with nothing to send")
	}
}

// downloadThrough runs a download through a box that sends as the client, of an
// algorithm, and the server do, until the client has all bytes or a minute is over. It
// gives how many came.
func downloadThrough(t *testing.T, algorithm string, near, far Path, bytes int64, box BoxConfig) (s *Sim, came int64) {
	t.Helper()
	s = New(1)
	cfg := Config{
		Hosts:   [2]HostConfig{endpoint(t, algorithm, 16<<20), endpoint(t, "cubic", 16<<20)},
		Scripts: [2]Script{{Steps: []Step{{Bytes: 100}}, CloseLast: true}, {Steps: []Step{{Need: 100, Bytes: bytes}}}},
		Near:    near, Far: far, Box: box,
	}
	for i := range cfg.Box.Legs {
		cfg.Box.Legs[i] = cfg.Hosts[i].Stack
	}
	client := NewNetwork(s, cfg).Hosts[splice.Client]
	client.Connect()
	if err := s.Run(time.Minute, func() bool { return client.Read() == bytes }); err != nil {
		t.Fatal(err)
	}
	return s, client.Read()
}

// accd remembers the path to a client's network from one connection to the next,
// be it relayed or split, unless the rule says otherwise.
func TestCustodyRemembersPaths(t *testing.T) {
	const rtt, bytes = 200 * time.Millisecond, 1 << 20
	download := func(bytes int64, split, oblivious bool, paths *pathmem.Table) time.Duration {
		lan := Symmetric(Impairments{Rate: 1e9 / 8, Delay: 100 * time.Microsecond, GRO: true})
		s, _ := downloadThrough(t, "cubic", bottleneck(100, rtt, 1, 0), lan, bytes,
			BoxConfig{Split: split, Oblivious: oblivious, Paths: paths, MaxBuffer: 16 << 20})
		took := s.Since()
		if err := s.Run(time.Hour, nil); err != nil { // the custody ends
			t.Fatal(err)
		}
		return took
	}
	for _, split := range []bool{false, true} {
		paths := pathmem.New(16)
		fresh := download(bytes, split, false, paths)
		download(60<<20, split, false, paths)
		again := download(bytes, split, false, paths)
		t.Logf("split %v: first %v, then %v", split, fresh, again)
		if again > fresh*6/10 {
			t.Errorf("split %v: %v to a path remembered, %v to a new one", split, again, fresh)
		}
		if got := download(bytes, split, true, paths); got != fresh {
			t.Errorf("split %v: %v with path_memory: false, %v to a new path", split, got, fresh)
		}
	}
}
