// Package pathmem remembers paths: what connections to a destination prefix
// found out about the way there, for the next one to begin with (RFC 9040).
package pathmem

import (
	"hash/maphash"
	"time"

	"accd/tcpstack/cc"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// Lasts is how long what was learnt of a path is worth something: as long as a
// window that is not used (RFC 7661, 4.4.3 halves it after five minutes), twice.
// RFC 9959, 4.1 asks for a limit of minutes to hours.
const Lasts = 10 * time.Minute

// Ours.
const (
	ways     = 4 // places a path can be in
	prefix4  = 3 // bytes of an IPv4 address: /24
	prefix6  = 6 // of an IPv6 address: /48
	leastIWs = 4 // first windows that a capacity must exceed (RFC 9959, 4.1)
	firstIW  = 14600
)

// Table remembers a bounded number of paths; the one learnt of longest ago gives
// way. It belongs to one shard. Nil remembers nothing.
type Table struct {
	seed   maphash.Seed
	places []place
}

type place struct {
	key  key
	at   mono.Time // when it was learnt; 0: free
	path cc.Path
}

// key is a destination prefix on a network: two legs that leave by different
// interfaces do not share a path.
type key struct {
	prefix  [prefix6 + 1]byte // with the length, so that the families differ
	network uint8
}

// New makes a table of at least n paths, 32 bytes each.
func New(n int) *Table {
	size := ways
	for size < n {
		size *= 2
	}
	return &Table{seed: maphash.MakeSeed(), places: make([]place, size)}
}

func keyOf(to wire.Addr, network uint8) (k key) {
	k.network = network
	if to.Is4() {
		copy(k.prefix[:prefix4], to[12:])
		return k
	}
	copy(k.prefix[:prefix6], to[:])
	k.prefix[prefix6] = prefix6
	return k
}

// set gives the places a key can be in.
func (t *Table) set(k key) []place {
	var b [len(k.prefix) + 1]byte
	copy(b[:], k.prefix[:])
	b[len(k.prefix)] = k.network
	at := int(maphash.Bytes(t.seed, b[:])) & (len(t.places) - 1) &^ (ways - 1)
	return t.places[at : at+ways]
}

// Learn takes what a connection to an address by a network leaves behind. What
// used the path little says little of it and changes nothing; what found its
// limit replaces what was known, be it more or less.
func (t *Table) Learn(now mono.Time, to wire.Addr, network uint8, m *cc.Memory) {
	if t == nil || m.Bandwidth <= 0 || m.MinRTT <= 0 {
		return
	}
	k := keyOf(to, network)
	set := t.set(k)
	p := &set[0]
	for i := range set {
		q := &set[i]
		if q.at != 0 && q.key == k {
			p = q
			break
		}
		if q.at < p.at {
			p = q
		}
	}
	// Not the window: it may hold what only filled a queue, or was never used.
	found := cc.Path{Capacity: min(m.Window, int(float64(m.Bandwidth)*m.MinRTT.Seconds())), RTT: m.MinRTT}
	known := p.at != 0 && p.key == k
	limited := m.Ssthresh != 0
	switch {
	case found.Capacity < leastIWs*firstIW:
		if known && limited {
			*p = place{} // RFC 9959, 4.5: it is no longer so
		}
	case known && !limited && now.Sub(p.at) < Lasts && found.Capacity < p.path.Capacity:
	default:
		*p = place{k, now, found}
	}
}

// Recall gives what is known of the path to an address by a network; the zero
// Path if nothing is.
func (t *Table) Recall(now mono.Time, to wire.Addr, network uint8) cc.Path {
	if t == nil {
		return cc.Path{}
	}
	k := keyOf(to, network)
	set := t.set(k)
	for i := range set {
		if p := &set[i]; p.at != 0 && p.key == k && now.Sub(p.at) < Lasts {
			return p.path
		}
	}
	return cc.Path{}
}
