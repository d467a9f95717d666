//go:build !race

package simnet

import (
	"flag"
	"os"
	"testing"
	"time"

	"accd/splice"
	"accd/tcpstack"
	"accd/tcpstack/mono"
)

var soak = flag.Bool("soak", false, "carry 17 GiB through one connection of TestSixtyDays, not a share of it")

const (
	kib  = 1 << 10
	mib  = 1 << 20
	gib  = 1 << 30
	hour = time.Hour
	day  = 24 * hour
)

// talk gives the scripts of a connection on which each side says n bytes in turn,
// with a silence before each turn of the client.
func talk(n int64, silences ...time.Duration) (s [2]Script) {
	for i, silence := range silences {
		s[0].Steps = append(s[0].Steps, Step{Need: n * int64(i), Wait: silence, Bytes: n})
		s[1].Steps = append(s[1].Steps, Step{Need: n * int64(i+1), Bytes: n})
	}
	return s
}

// every gives the silences of a connection that talks once in a while, for so long.
func every(silence, during time.Duration) (all []time.Duration) {
	for t := silence; t <= during; t += silence {
		all = append(all, silence)
	}
	return all
}

// TestSixtyDays is what a connection meets that lives long: sequence numbers and
// timestamps that come round, silences after which no timestamp can be compared
// with the last, windows that stay closed for a day, and nothing but keepalives
// for weeks. All of it in accd's custody whenever there is something to carry,
// with the observer's checks after every event.
func TestSixtyDays(t *testing.T) {
	bulk := int64(400 * mib)
	if *soak {
		bulk = 17 * gib
	}
	// The timestamp clocks tick once a millisecond.
	const half, whole = 1 << 31 * time.Millisecond, 1 << 32 * time.Millisecond
	for _, c := range []struct {
		name      string
		scripts   [2]Script
		edit      func(c *Config)
		atLeast   time.Duration // that it lasts
		custodies int           // that there are at least
	}{
		// The last of the stream comes weeks after the first.
		{"bulk down", [2]Script{
			{Steps: []Step{{Bytes: 100}, {Need: bulk / 2, Wait: 59 * day, Bytes: 100}}},
			{Steps: []Step{{Need: 100, Bytes: bulk / 2}, {Need: 200, Bytes: bulk / 2}}},
		}, func(c *Config) { c.Hosts[splice.Server].Wrap = 150 * mib }, 59 * day, 2},
		{"bulk up", [2]Script{{Steps: []Step{{Bytes: bulk / 4}, {Wait: 59 * day, Bytes: bulk / 4}}}, {}},
			func(c *Config) { c.Hosts[splice.Client].Wrap = 50 * mib }, 59 * day, 2},
		// RFC 7323, 5.5: after 24 days TS.Recent says nothing; the value of the
		// next segment then seems to lie before it.
		{"silences of 24 days and more", talk(100*kib, time.Second, 24*day+hour, 24*day+23*hour, 10*day), nil, 59 * day, 4},
		{"silence of half a turn", talk(100*kib, time.Second, half-time.Minute, half+time.Minute, 9*day), nil, 58 * day, 4},
		{"silence of a whole turn", talk(100*kib, time.Second, whole-time.Minute, 2*time.Minute, 10*day), nil, 59 * day, 4},
		{"timestamps at half a turn", talk(3*kib, every(150*time.Second, hour)...), func(c *Config) { clocks(c, half-30*time.Minute) }, 50 * time.Minute, 20},
		{"timestamps come round", talk(3*kib, every(150*time.Second, hour)...), func(c *Config) { clocks(c, whole-30*time.Minute) }, 50 * time.Minute, 20},
		{"once an hour", talk(kib, every(hour, 60*day)...), nil, 59 * day, 1000},
		{"keepalives", talk(kib, every(20*day, 60*day)...), func(c *Config) {
			for i := range c.Hosts {
				c.Hosts[i].KeepAlive = 75 * time.Second
			}
		}, 59 * day, 2},
		{"a window closed for a day", talk(mib, every(10*day, 60*day)...), func(c *Config) {
			c.Scripts[0].Pauses = []Pause{{At: 100 * kib, For: day}, {At: 3*mib + 1, For: day}}
			c.Scripts[1].Pauses = []Pause{{At: 2*mib + 100*kib, For: day}, {At: 4*mib + 1, For: 30 * hour}}
			for i := range c.Hosts {
				c.Hosts[i].Stack.Buffer = 64 * kib
			}
		}, 60 * day, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := Symmetric(Impairments{Delay: 200 * time.Microsecond, GRO: true})
			host := endpoint(t, "cubic", 8*mib)
			cfg := Config{Near: path, Far: path, Hosts: [2]HostConfig{host, host}, Scripts: c.scripts}
			cfg.Box = BoxConfig{Legs: [2]tcpstack.Config{host.Stack, host.Stack}, MaxBuffer: 4 * mib}
			if c.edit != nil {
				c.edit(&cfg)
			}
			s := New(1)
			if *seed > 0 && testing.Verbose() {
				s.Trace = os.Stdout
			}
			n := NewNetwork(s, cfg)
			n.Limit = 70 * day
			if err := n.Run(); err != nil {
				t.Fatal(err)
			}
			if d := n.Hosts[0].End.Sub(Start); d < c.atLeast || n.Box.Count.Custodies < c.custodies {
				t.Errorf("it lasted %v and was in custody %d times, want %v and %d", d, n.Box.Count.Custodies, c.atLeast, c.custodies)
			}
			if n := n.Box.Count; n.PassedBytes > n.TakenBytes/4 || n.Drains > 0 || n.Resets > 0 {
				t.Errorf("most is to be taken, and nothing drained or reset: %+v", n)
			}
		})
	}
}

// clocks makes both hosts' timestamp clocks show t at the start.
func clocks(c *Config, t time.Duration) {
	for i := range c.Hosts {
		c.Hosts[i].Clock = uint32(t/time.Millisecond) - uint32(Start/mono.Time(time.Millisecond))
	}
}
