// Package policy turns a configuration file into an immutable Table: which
// connections are accelerated, how each side of them is treated, and what
// steering must match. It reads no file, clock or network.
package policy

import (
	"net/netip"
	"slices"

	"accd/tcpstack/wire"
)

// Table is what one configuration file says. It is never changed after Parse,
// so it may be read by many at once.
type Table struct {
	File   string // the name given to Parse
	Hash   string // twelve hex digits of the SHA-256 of the file
	Steer  Steer
	Limits Limits
	Admin  Admin
	Log    Log

	sides    sides
	verdicts []*Verdict // of the enabled rules, in order; the last matches everything
	matches  []*match   // as verdicts
}

// Action is what becomes of a connection.
type Action uint8

// Actions.
const (
	Pass       Action = iota // stays as the endpoints made it
	Accelerate               // accd takes custody of its bytes
)

// String gives the word of the configuration.
func (a Action) String() string {
	if a == Accelerate {
		return "accelerate"
	}
	return "pass"
}

// Handshake is who answers the SYN of a connection.
type Handshake uint8

// Handshakes.
const (
	Relay Handshake = iota // the endpoints each other
	Split                  // accd each of them, once the server has answered
	Early                  // the same, but the client before the server is asked
)

// String gives the word of the configuration.
func (h Handshake) String() string { return [...]string{"relay", "split", "split, accept: early"}[h] }

// Network is the network a leg crosses.
type Network uint8

// Networks, numbered as in the destination MAC of what the taps carry.
const (
	Unknown Network = iota // on no side of the configuration
	LAN
	WAN
)

// String gives "lan", "wan" or "unknown".
func (n Network) String() string { return [...]string{"unknown", "lan", "wan"}[n] }

// Meta is what Decide needs of a connection beside its addresses and ports.
type Meta struct {
	From Network // side of the interface the SYN came in by; Unknown if on none
	DSCP uint8   // of the SYN
}

// Verdict is what one rule decides. It is shared and read-only; equal pointers
// mean the same rule of the same Table.
type Verdict struct {
	Rule        string // name
	Description string
	Line        int // of the rule in the file
	Index       int // among the enabled rules, from 0
	Action      Action
	Handshake   Handshake
	Jumbo       bool    // each leg has its own MTU: the MSS is not clamped to the smallest
	PathMemory  bool    // new flows begin with what earlier ones found of the path
	LAN, WAN    Profile // of the leg on that side
	Other       Profile // of a leg on neither
}

// AnswersEarly reports whether some rule has accd answer clients before the server
// is asked.
func (t *Table) AnswersEarly() bool {
	return slices.ContainsFunc(t.verdicts, func(v *Verdict) bool { return v.Handshake == Early })
}

// Profile gives how a leg that crosses n is to be treated.
func (v *Verdict) Profile(n Network) *Profile {
	switch n {
	case LAN:
		return &v.LAN
	case WAN:
		return &v.WAN
	}
	return &v.Other
}

// Decide gives the verdict of the first rule that matches a connection; k is
// the direction of its SYN. It is never nil.
func (t *Table) Decide(k wire.Tuple, meta Meta) *Verdict {
	from, to := k.Src.Netip(), k.Dst.Netip()
	last := len(t.matches) - 1
	for i, m := range t.matches[:last] {
		if m.matches(from, to, k.DstPort, meta) {
			return t.verdicts[i]
		}
	}
	return t.verdicts[last]
}

// Verdicts gives those of the enabled rules, in order. The caller does not
// change the slice.
func (t *Table) Verdicts() []*Verdict { return t.verdicts }

// Clause is one rule as steering matches it. Empty lists match everything.
type Clause struct {
	Rule           string
	Accelerate     bool
	From, To       []netip.Prefix // source and destination of the SYN
	NotFrom, NotTo []netip.Prefix // excluded from them
	Ports          []PortRange    // destination, ascending and disjoint
	In             []string       // interfaces the SYN arrives by
	DSCP           []uint8
}

// Steering gives what the kernel has to match: the first clause that matches a
// SYN says whether the connection is steered to accd. The last clause matches
// everything.
func (t *Table) Steering() []Clause {
	out := make([]Clause, len(t.matches))
	for i, m := range t.matches {
		out[i] = Clause{
			Rule:       t.verdicts[i].Rule,
			Accelerate: t.verdicts[i].Action == Accelerate,
			From:       m.from.only, NotFrom: m.from.not,
			To: m.to.only, NotTo: m.to.not,
			Ports: m.ports, In: m.in, DSCP: m.dscp.list(),
		}
	}
	return out
}

// Network gives the side of an endpoint: the one its packets arrive from, if
// that is known by interface, or the one its address belongs to.
func (t *Table) Network(a wire.Addr, arrived Network) Network {
	if arrived != Unknown {
		return arrived
	}
	n, _ := t.sides.byAddress.Lookup(a.Netip())
	return n
}
