package wire

import "strconv"

// Seq is a TCP sequence number (RFC 9293, 3.4). It is a struct so that it
// cannot be compared with <, which would be wrong at the wrap.
type Seq struct{ n uint32 }

// SeqOf makes a Seq of the 32 bits found in a header.
func SeqOf(n uint32) Seq { return Seq{n} }

// Uint32 gives the 32 bits to put into a header.
func (s Seq) Uint32() uint32 { return s.n }

// Add gives the sequence number n bytes after s; n may be negative.
func (s Seq) Add(n int) Seq { return Seq{s.n + uint32(n)} }

// Sub gives the signed distance in bytes from t to s, in [-2^31, 2^31).
func (s Seq) Sub(t Seq) int { return int(int32(s.n - t.n)) }

// Less reports whether s comes before t.
func (s Seq) Less(t Seq) bool { return int32(s.n-t.n) < 0 }

// LessEq reports whether s comes before t or is t.
func (s Seq) LessEq(t Seq) bool { return int32(s.n-t.n) <= 0 }

// In reports whether s is in [lo, hi).
func (s Seq) In(lo, hi Seq) bool { return s.n-lo.n < hi.n-lo.n }

// MaxSeq gives the later of s and t.
func MaxSeq(s, t Seq) Seq {
	if s.Less(t) {
		return t
	}
	return s
}

// MinSeq gives the earlier of s and t.
func MinSeq(s, t Seq) Seq {
	if s.Less(t) {
		return s
	}
	return t
}

// String gives the number as an unsigned decimal.
func (s Seq) String() string { return strconv.FormatUint(uint64(s.n), 10) }
