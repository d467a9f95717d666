// Package netcfg changes the host so that chosen TCP connections pass through
// two tap devices, and puts everything back. It makes the taps, routes and
// rules, and nft tables that pick the packets; it knows nothing of TCP
// stacks and hands out files.
//
// A Plan says what is wanted. Up brings the host there and gives a Steering,
// whose Beat must be called several times within BeatTimeout: without it the
// kernel steers nothing. Down undoes it all, and Cleanup does the same for a
// process that died. All of them work in the network namespace of the calling
// thread.
//
// Words: a leg is client or server by who sent the SYN; a side is the network a
// packet arrived from (see Side).
package netcfg

import (
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Side is a network next to the box, told by the interface that a packet
// arrives on or, failing that, by its source address.
type Side uint8

// The sides. The last byte of the destination MAC of a frame that comes out of a
// tap is the side its packet arrived from: see NeighbourMAC.
const (
	Unknown Side = iota
	LAN
	WAN
	sides
)

// String gives the side as the configuration names it.
func (s Side) String() string {
	return [...]string{"unknown", "lan", "wan", "invalid"}[min(s, sides)]
}

// role is which leg a packet comes from.
type role uint8

const (
	client role = iota // of the endpoint that sent the SYN; it enters by the first tap
	server
	roles
)

func (r role) String() string { return [...]string{"client", "server"}[r] }

// NeighbourMAC gives the destination MAC of the frames that the kernel sends
// out of either tap for packets that arrived from a side.
func NeighbourMAC(s Side) [6]byte { return [6]byte{0x02, 0xac, 0xcd, 0, 0, byte(s)} }

// Names are the names and numbers that accd takes on the host. Whoever cleans up
// after a dead process must know them. The zero value of each field means its
// default.
type Names struct {
	ClientTap  string // device of the client legs; default "accd0"
	ServerTap  string // device of the server legs; default "accd1"
	Table      string // name of the nft tables: of family inet, and with a shortcut of netdev; default "accd"
	Preference int    // of the first of seven ip rules; the local rule moves behind them; default 10
	RouteTable int    // first of six routing tables; default 4040
	Mark       uint32 // first of six packet marks; default 0xacc0
	MarkMask   uint32 // the bits of the mark that accd reads and writes; default 0xffff
	StateDir   string // where the journal of changed settings lies; default "/run/accd"
}

// Plan is the desired state. The zero value of a field means its default; a Plan
// without clauses steers nothing.
type Plan struct {
	Names
	Queues  int // of each tap, one per shard; default 1
	LAN     Network
	WAN     Network
	Clauses []Clause // the first that matches a SYN decides; none: not steered

	FlowTimeout    time.Duration // a flow without packets for that long is steered no longer; default 1h
	OpeningTimeout time.Duration // the same for a handshake; default 10s
	BeatTimeout    time.Duration // without Beat for that long nothing is steered; default 700ms
	Flows          int           // most flows steered at once, of each family; default 1048576
	Openings       int           // most handshakes steered at once, of each family; default 65536

	// Block makes steered connections stop when accd dies or hangs, and new
	// ones that would be steered too, until accd runs again or Cleanup is
	// called. Unset they flow natively.
	Block bool
	// NoOwner leaves the nft table without its owner flag, for kernels older
	// than 5.12: after a crash it stays until Cleanup, without effect.
	NoOwner bool
	// NoShortcut has all packets go the long way: see ShortcutMAC.
	NoShortcut bool
	// Plain makes taps without virtio-net headers.
	Plain bool
}

// Network tells which packets arrive from a side.
type Network struct {
	Interfaces []string
	Prefixes   []netip.Prefix // source addresses, where no interface tells
}

// Clause is one rule of the steering policy. An empty list matches everything;
// a list matches when one of its entries does.
type Clause struct {
	Accelerate     bool // steer what matches; unset: leave it alone
	From, To       []netip.Prefix
	NotFrom, NotTo []netip.Prefix // excluded
	Ports          []PortRange    // destination
	In             []string       // interfaces the SYN arrives on
	DSCP           []uint8
}

// PortRange is First to Last, both included.
type PortRange struct{ First, Last uint16 }

// withDefaults fills the fields that are zero.
func (n Names) withDefaults() Names {
	set(&n.ClientTap, "accd0")
	set(&n.ServerTap, "accd1")
	set(&n.Table, "accd")
	set(&n.Preference, 10)
	set(&n.RouteTable, 4040)
	set(&n.Mark, 0xacc0)
	set(&n.MarkMask, 0xffff)
	set(&n.StateDir, "/run/accd")
	return n
}

func (p Plan) withDefaults() Plan {
	p.Names = p.Names.withDefaults()
	set(&p.Queues, 1)
	set(&p.FlowTimeout, time.Hour)
	set(&p.OpeningTimeout, 10*time.Second)
	set(&p.BeatTimeout, 700*time.Millisecond)
	set(&p.Flows, 1<<20)
	set(&p.Openings, 1<<16)
	return p
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// mark gives the packet mark of a leg's packets that arrived from a side.
func (n *Names) mark(r role, s Side) uint32 { return n.Mark + uint32(n.index(r, s)) }

// table gives the routing table that leads packets with that mark to a tap.
func (n *Names) table(r role, s Side) int { return n.RouteTable + n.index(r, s) }

// preference gives the preference of the ip rule that looks the table up, behind the
// one for packets without a mark.
func (n *Names) preference(r role, s Side) int { return n.Preference + 1 + n.index(r, s) }

func (n *Names) index(r role, s Side) int { return int(r)*int(sides) + int(s) }

// localPreference is where the rule for the local table goes: behind ours.
func (n *Names) localPreference() int { return n.Preference + 1 + int(roles)*int(sides) }

// tap gives the name of the device of a leg.
func (n *Names) tap(r role) string {
	if r == client {
		return n.ClientTap
	}
	return n.ServerTap
}

// fragmentMark marks packets that are never steered because they arrived in
// fragments: a seventh value under the mask.
func (n *Names) fragmentMark() uint32 {
	if m := n.mark(server, WAN) + 1; m&^n.MarkMask == 0 {
		return m
	}
	return n.Mark - 1
}

// owned reports that the nft table belongs to the process: nobody else can change it,
// and it goes with the process.
func (p *Plan) owned() bool { return !p.NoOwner && !p.Block }

// validate finds what no host could do. All findings are reported at once.
func (p *Plan) validate() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf("netcfg: "+format, args...)) }
	for _, name := range []string{p.ClientTap, p.ServerTap} {
		if len(name) >= unix.IFNAMSIZ {
			fail("tap name %q is longer than %d bytes", name, unix.IFNAMSIZ-1)
		}
	}
	if p.ClientTap == p.ServerTap {
		fail("both taps are named %q", p.ClientTap)
	}
	if last := p.mark(server, WAN); last < p.Mark || (p.Mark|last)&^p.MarkMask != 0 {
		fail("marks %#x to %#x do not fit the mask %#x", p.Mark, last, p.MarkMask)
	}
	if bits.OnesCount32(p.MarkMask) < 3 || p.Mark == 0 {
		fail("mark %#x under mask %#x: want a mark that is not zero and a mask of at least 3 bits", p.Mark, p.MarkMask)
	}
	if p.Preference < 1 {
		fail("rule preference %d: want 1 or more", p.Preference)
	}
	if p.RouteTable < 1 || p.RouteTable+int(roles)*int(sides) > 1<<31-1 ||
		p.RouteTable <= unix.RT_TABLE_LOCAL && p.table(server, WAN) >= unix.RT_TABLE_DEFAULT {
		fail("routing tables %d to %d: want six tables other than %d to %d of the system", p.RouteTable, p.table(server, WAN), unix.RT_TABLE_DEFAULT, unix.RT_TABLE_LOCAL)
	}
	if p.Queues < 1 || p.Queues > MaxQueues {
		fail("%d queues: want 1 to %d", p.Queues, MaxQueues)
	}
	for name, d := range map[string]time.Duration{"flow": p.FlowTimeout, "opening": p.OpeningTimeout, "beat": p.BeatTimeout} {
		if d < time.Millisecond {
			fail("%s timeout %v: want 1ms or more", name, d)
		}
	}
	for _, dev := range p.LAN.Interfaces {
		if slices.Contains(p.WAN.Interfaces, dev) {
			fail("interface %s is on both sides", dev)
		}
	}
	for i, c := range p.Clauses {
		for _, dev := range c.In {
			if dev == "" || len(dev) >= unix.IFNAMSIZ {
				fail("clause %d: interface name %q: want 1 to %d bytes", i, dev, unix.IFNAMSIZ-1)
			}
		}
		for _, r := range c.Ports {
			if r.First > r.Last {
				fail("clause %d: ports %d to %d: the first is larger", i, r.First, r.Last)
			}
		}
		for _, d := range c.DSCP {
			if d > 63 {
				fail("clause %d: DSCP %d: want 0 to 63", i, d)
			}
		}
		for _, p := range slices.Concat(c.From, c.To, c.NotFrom, c.NotTo) {
			if !p.IsValid() {
				fail("clause %d: invalid prefix %v", i, p)
			}
		}
	}
	return errors.Join(errs...)
}
