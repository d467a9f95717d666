package tcpstack

// SYN cookies: half-open connections that nobody has to remember. Read RFC 4987,
// 3.6 and appendix A first.

import (
	"slices"
	"time"

	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// Ours.
const (
	cookieTick = 64 * time.Second // what a cookie counts its age in
	cookieAge  = 2                // ticks: an older one is rejected
	// cookieStep is between what a cookie says of one MSS and of the next: more
	// than a peer may send before it is answered, so that a segment behind the
	// first is not taken for it.
	cookieStep = 1 << 17
)

// What a cookie can say about the peer's MSS: usual paths, tunnels, jumbo frames.
// The largest that is not above the option is taken.
var (
	cookieMSS4 = []int{536, 1300, 1400, 1440, 1452, 1460, 4312, 8960}
	cookieMSS6 = []int{1220, 1420, 1440, 8940}
)

func cookieMSS(key *wire.Tuple) []int {
	if key.Is4() {
		return cookieMSS4
	}
	return cookieMSS6
}

// cookie makes the initial sequence number that answers the SYN of sequence number
// irs: a hash of the sockets, the tick in the upper 8 bits, and in the lower 24 a
// hash of sockets and tick plus what is to be known of the MSS, in large steps. As
// the peer's own number is part of it, it runs as ISNs do (RFC 4987, appendix A).
func (k Secret) cookie(now mono.Time, key *wire.Tuple, irs wire.Seq, o *wire.Options) wire.Seq {
	table := cookieMSS(key)
	mss := table[0]
	if o.Has(wire.HasMSS) {
		mss = int(o.MSS)
	}
	i, found := slices.BinarySearch(table, mss)
	if !found {
		i = max(0, i-1)
	}
	tick := cookieTicks(now)
	return wire.SeqOf(uint32(k.tuple(key, 0)) + irs.Uint32() + tick<<24 + k.cookieEnd(key, tick, i))
}

// cookieEnd gives the lower 24 bits of a cookie for entry i of the table.
func (k Secret) cookieEnd(key *wire.Tuple, tick uint32, i int) uint32 {
	return (uint32(k.tuple(key, ^tick)) + uint32(i)*cookieStep) & 0xffffff
}

// follows reports whether an ACK of a cookie is for the data behind the ACK that
// should have come first, or a keepalive before it: the first of them will come
// again, and opens.
func (k Secret) follows(now mono.Time, key *wire.Tuple, seq, ack wire.Seq) bool {
	n := ack.Uint32() - seq.Uint32() - uint32(k.tuple(key, 0))
	tick := cookieTicks(now)
	for age := range uint32(cookieAge) {
		for i := range cookieMSS(key) {
			if d := (tick-age)<<24 + k.cookieEnd(key, tick-age, i) - n; int32(d) >= -1 && int32(d) <= maxWindow16 {
				return true
			}
		}
	}
	return false
}

// opens reports whether iss is a cookie that answered a SYN of irs not long ago,
// and gives the MSS it knows.
func (k Secret) opens(now mono.Time, key *wire.Tuple, irs, iss wire.Seq) (mss int, ok bool) {
	table := cookieMSS(key)
	n := iss.Uint32() - irs.Uint32() - uint32(k.tuple(key, 0))
	tick := cookieTicks(now)
	age := (tick - n>>24) & 0xff
	if age >= cookieAge {
		return 0, false
	}
	i := (n - k.cookieEnd(key, tick-age, 0)) & 0xffffff
	if i%cookieStep != 0 || int(i/cookieStep) >= len(table) {
		return 0, false
	}
	return table[i/cookieStep], true
}

func cookieTicks(now mono.Time) uint32 { return uint32(now / mono.Time(cookieTick)) }

// The last bits of the SYN-ACK's timestamp, which comes back with the ACK, hold the
// rest of the options.
const (
	stampBits   = 6
	stampScale  = 15 // the peer's shift; 15: no window scaling
	stampSACK   = 1 << 4
	stampECN    = 1 << 5
	stampCookie = 1<<stampBits - 1
)

// stampWith gives a TSval not later than stamp that remembers what a SYN says.
func stampWith(stamp uint32, o *wire.Options, ecn bool) uint32 {
	v := uint32(stampScale)
	if o.Has(wire.HasWScale) {
		v = uint32(min(o.WScale, wire.MaxWScale))
	}
	if o.Has(wire.HasSACKPermitted) {
		v |= stampSACK
	}
	if ecn {
		v |= stampECN
	}
	v |= stamp &^ stampCookie
	if int32(v-stamp) > 0 {
		v -= 1 << stampBits // a TSval never goes back (RFC 7323, 5.4)
	}
	return v
}

// synOf rebuilds from the ACK s of a cookie the SYN that it answered. Without
// timestamps the MSS is all that is left of its options.
func synOf(s *Segment, mss int) (syn Segment) {
	syn.Seq, syn.Flags, syn.Window = s.Seq.Add(-1), wire.SYN, s.Window
	o := &syn.Options
	o.Set, o.MSS = wire.HasMSS, uint16(mss)
	if !s.Options.Has(wire.HasTS) {
		return syn // it granted nothing else
	}
	o.Set |= wire.HasTS
	o.TSVal = s.Options.TSVal
	v := s.Options.TSEcr
	if scale := v & stampScale; scale <= wire.MaxWScale {
		o.Set |= wire.HasWScale
		o.WScale = uint8(scale)
	}
	if v&stampSACK != 0 {
		o.Set |= wire.HasSACKPermitted
	}
	if v&stampECN != 0 {
		syn.Flags |= wire.ECE | wire.CWR
	}
	return syn
}
