package wire

import (
	"encoding/binary"
	"math/bits"
)

// Sum adds the bytes of b to the running one's-complement sum acc (RFC 1071).
// Sums of pieces may be chained as long as every piece but the last has even
// length. Fold ends the chain.
func Sum(b []byte, acc uint64) uint64 {
	var carry uint64
	// The sum is computed in native order of big-endian words: swapping
	// bytes commutes with one's-complement addition, so 8 bytes at a time
	// are added as one big-endian word.
	for len(b) >= 32 {
		acc, carry = bits.Add64(acc, binary.BigEndian.Uint64(b), 0)
		acc, carry = bits.Add64(acc, binary.BigEndian.Uint64(b[8:]), carry)
		acc, carry = bits.Add64(acc, binary.BigEndian.Uint64(b[16:]), carry)
		acc, carry = bits.Add64(acc, binary.BigEndian.Uint64(b[24:]), carry)
		acc, carry = bits.Add64(acc, carry, 0)
		acc += carry
		b = b[32:]
	}
	for len(b) >= 8 {
		acc, carry = bits.Add64(acc, binary.BigEndian.Uint64(b), 0)
		acc += carry
		b = b[8:]
	}
	var tail [8]byte
	if len(b) > 0 {
		copy(tail[:], b)
		acc, carry = bits.Add64(acc, binary.BigEndian.Uint64(tail[:]), 0)
		acc += carry
	}
	return acc
}

// Fold reduces a running sum to 16 bits, not complemented.
func Fold(acc uint64) uint16 {
	acc = acc>>32 + acc&0xffffffff
	acc = acc>>32 + acc&0xffffffff
	acc = acc>>16 + acc&0xffff
	acc = acc>>16 + acc&0xffff
	return uint16(acc)
}

// PseudoSum starts the sum of a TCP segment with the pseudo header (RFC 9293,
// 3.1; RFC 8200, 8.1): addresses as they stand in the IP header (4 or 16 bytes
// each), the protocol number, and the length in bytes of TCP header and payload.
func PseudoSum(src, dst []byte, proto uint8, length int) uint64 {
	acc := Sum(dst, Sum(src, 0))
	acc, carry := bits.Add64(acc, uint64(proto)+uint64(length), 0)
	return acc + carry
}
