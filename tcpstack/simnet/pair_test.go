package simnet

import (
	"errors"
	"os"
	"testing"
	"time"

	"accd/splice"
	"accd/tcpstack"
	"accd/tcpstack/buf"
	"accd/tcpstack/cc"
)

// exchange runs one connection to its end.
func exchange(t *testing.T, seed uint64, path Path, cfg [2]HostConfig, scripts [2]Script) *Pair {
	t.Helper()
	s := New(seed)
	if testing.Verbose() {
		s.Trace = os.Stdout
	}
	pool := new(buf.Pool)
	p := NewPairs(s, 1, path, pool, func(_ int, side splice.Side) (HostConfig, Script) { return cfg[side], scripts[side] })[0]
	p.Hosts[splice.Client].Connect()
	if err := s.Run(time.Hour, p.Ended); err != nil {
		t.Fatal(err)
	}
	if !p.Ended() {
		t.Fatalf("the connection hangs: read %d and %d bytes", p.Hosts[0].Read(), p.Hosts[1].Read())
	}
	if err := s.Run(time.Minute, nil); err != nil {
		t.Fatal(err)
	}
	p.Discard()
	if n := pool.InUse(); n != 0 {
		t.Errorf("%d bytes of buffers leak", n)
	}
	return p
}

func wantComplete(t *testing.T, p *Pair, scripts [2]Script) {
	t.Helper()
	for i, h := range p.Hosts {
		if want := scripts[1-i].Total(); h.Err != nil || h.Read() != want {
			t.Errorf("%s: read %d of %d bytes, error %v", nameOf(splice.Side(i)), h.Read(), want, h.Err)
		}
	}
}

var lan = Symmetric(Impairments{Rate: 1e9 / 8, Delay: time.Millisecond, GRO: true})

func TestApplications(t *testing.T) {
	host := func(mod func(*HostConfig)) [2]HostConfig {
		h := [2]HostConfig{endpoint(t, "cubic", 1<<20), endpoint(t, "cubic", 1<<20)}
		if mod != nil {
			mod(&h[0])
		}
		return h
	}
	up, down := Script{Steps: []Step{{Bytes: 300000}}}, Script{Steps: []Step{{Bytes: 300000}}}
	for name, c := range map[string]struct {
		hosts   [2]HostConfig
		scripts [2]Script
	}{
		"nothing":            {host(nil), [2]Script{}},
		"both at once":       {host(nil), [2]Script{up, down}},
		"half-close":         {host(nil), [2]Script{{Steps: []Step{{Bytes: 10}}}, {Steps: []Step{{Need: 10, Wait: 5 * time.Second, Bytes: 300000}}}}},
		"server first":       {host(nil), [2]Script{{Steps: []Step{{Need: 50, Bytes: 20}}, CloseLast: true}, {Steps: []Step{{Bytes: 50}, {Need: 20, Bytes: 5000}}}}},
		"slow reader":        {host(nil), [2]Script{{ReadRate: 100000}, down}},
		"zero window":        {host(nil), [2]Script{{Pauses: []Pause{{50000, 10 * time.Second}}}, down}},
		"no timestamps":      {host(func(h *HostConfig) { h.Timestamps = false }), [2]Script{up, down}},
		"no SACK":            {host(func(h *HostConfig) { h.SACK = false }), [2]Script{up, down}},
		"no scaling":         {host(func(h *HostConfig) { h.WScale = -1 }), [2]Script{up, down}},
		"no options":         {host(func(h *HostConfig) { h.WScale, h.SACK, h.Timestamps, h.MSS = -1, false, false, 0 }), [2]Script{up, down}},
		"small buffer":       {host(func(h *HostConfig) { h.Stack.Buffer = 3000; h.WScale = 0 }), [2]Script{up, down}},
		"timestamps wrap":    {host(func(h *HostConfig) { h.Clock = 1<<32 - 100000 - 500 }), [2]Script{up, {Steps: []Step{{Bytes: 1000}, {Wait: 2 * time.Second, Bytes: 1000}}}}},
		"small MSS":          {host(func(h *HostConfig) { h.MSS = 300 }), [2]Script{up, down}},
		"tiny writes, delay": {host(nil), [2]Script{{Steps: []Step{{Bytes: 1}, {Need: 1, Bytes: 1}, {Need: 2, Bytes: 1}}}, {Steps: []Step{{Need: 1, Bytes: 1}, {Need: 2, Bytes: 1}}}}},
	} {
		t.Run(name, func(t *testing.T) {
			wantComplete(t, exchange(t, 1, lan, c.hosts, c.scripts), c.scripts)
		})
	}
}

// RFC 9293, 3.10.7.1: what has no connection is answered by an RST.
func TestRefused(t *testing.T) {
	cfg := [2]HostConfig{endpoint(t, "cubic", 1<<20), {Refuse: true}}
	s := New(1)
	p := NewPairs(s, 1, lan, new(buf.Pool), func(_ int, side splice.Side) (HostConfig, Script) { return cfg[side], Script{} })[0]
	p.Hosts[0].Connect()
	if err := s.Run(time.Minute, nil); err != nil || !errors.Is(p.Hosts[0].Err, tcpstack.ErrRefused) {
		t.Errorf("%v, %v, want ErrRefused", err, p.Hosts[0].Err)
	}
}

func TestAbort(t *testing.T) {
	cfg := [2]HostConfig{endpoint(t, "cubic", 1<<20), endpoint(t, "cubic", 1<<20)}
	p := exchange(t, 1, lan, cfg, [2]Script{{Abort: true, AbortAt: 100000}, {Steps: []Step{{Bytes: 1 << 20}}}})
	if !errors.Is(p.Hosts[0].Err, tcpstack.ErrAborted) || !errors.Is(p.Hosts[1].Err, tcpstack.ErrReset) {
		t.Errorf("%v and %v, want ErrAborted and ErrReset", p.Hosts[0].Err, p.Hosts[1].Err)
	}
}

// A router says that packets are too long; the transfer goes on with shorter
// ones (RFC 1191).
func TestPathMTU(t *testing.T) {
	cfg := [2]HostConfig{endpoint(t, "cubic", 1<<20), endpoint(t, "cubic", 1<<20)}
	scripts := [2]Script{{Steps: []Step{{Bytes: 500000}}}, {Steps: []Step{{Bytes: 500000}}}}
	path := lan
	path.Out.MTU, path.Back.MTU = 1400, 900
	wantComplete(t, exchange(t, 1, path, cfg, scripts), scripts)
}

// endpoint is a host as a current system is: SACK, timestamps, window scaling.
func endpoint(t *testing.T, algorithm string, buffer int) HostConfig {
	t.Helper()
	control, err := cc.Constructor(algorithm, nil)
	if err != nil {
		t.Fatal(err)
	}
	return HostConfig{
		Stack: tcpstack.Config{NewController: control, Buffer: buffer},
		MSS:   1460, SACK: true, Timestamps: true, WScale: 10, SendSpace: buffer,
	}
}

// RFC 9293, MUST-10: both ends dial, over paths that lose a fifth of it.
func TestSimultaneousOpen(t *testing.T) {
	scripts := [2]Script{{Steps: []Step{{Bytes: 20000}}}, {Steps: []Step{{Bytes: 30000}}}}
	for seed := range uint64(200) {
		cfg := [2]HostConfig{endpoint(t, "cubic", 1<<20), endpoint(t, "cubic", 1<<20)}
		path := lan
		path.Out.Loss, path.Back.Loss = 0.2, 0.2
		s := New(seed)
		pool := new(buf.Pool)
		p := NewPairs(s, 1, path, pool, func(_ int, side splice.Side) (HostConfig, Script) { return cfg[side], scripts[side] })[0]
		p.Hosts[splice.Client].Connect()
		s.After(s.upTo(time.Millisecond), // before the client's SYN arrives
			p.Hosts[splice.Server].Connect)
		if err := s.Run(time.Hour, p.Ended); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for i, h := range p.Hosts {
			if h.Err != nil || h.Read() != scripts[1-i].Total() {
				t.Fatalf("seed %d: %s read %d bytes and ended %v", seed, nameOf(splice.Side(i)), h.Read(), h.Err)
			}
		}
		p.Discard()
		if n := pool.InUse(); n != 0 {
			t.Fatalf("seed %d: %d bytes leak", seed, n)
		}
	}
}
