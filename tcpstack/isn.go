package tcpstack

// What a connection begins to count from. Read RFC 6528, 3 and RFC 7323, 5.4 and
// 7.1 first.

import (
	"encoding/binary"
	"math/bits"
	"time"

	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// Secret is a key nobody else knows: random, and the same for as long as
// connections begun with it may be remembered. The zero Secret is no secret.
type Secret struct{ k0, k1 uint64 }

// SecretOf makes a Secret of 16 random bytes.
func SecretOf(b [16]byte) Secret {
	return Secret{binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])}
}

// Start gives the initial sequence number of a connection that begins now, and
// what its timestamp clock shows then (see Conn.SetTimestamp). Both count on a
// clock, so that a connection is ahead of an earlier one between the same sockets:
// the first every 4 µs (RFC 6528, 3; RFC 9293, MUST-8, SHLD-1), the second every
// millisecond. Where they begin depends on the sockets and the secret: nobody can
// tell one flow's from another's.
func (k Secret) Start(now mono.Time, key *wire.Tuple) (iss wire.Seq, stamp uint32) {
	h := k.tuple(key, 0)
	return wire.SeqOf(uint32(h) + uint32(now/mono.Time(4*time.Microsecond))),
		uint32(h>>32) + uint32(now/mono.Time(time.Millisecond))
}

// tuple hashes the sockets of a connection and a number.
func (k Secret) tuple(key *wire.Tuple, n uint32) uint64 {
	var b [40]byte
	copy(b[:], key.Src[:])
	copy(b[16:], key.Dst[:])
	binary.LittleEndian.PutUint16(b[32:], key.SrcPort)
	binary.LittleEndian.PutUint16(b[34:], key.DstPort)
	binary.LittleEndian.PutUint32(b[36:], n)
	return k.sum(b[:])
}

// sum is SipHash-2-4 (Aumasson and Bernstein, 2012): short messages, a secret key,
// and no way from what is seen to the key.
func (k Secret) sum(b []byte) uint64 {
	v0, v1 := k.k0^0x736f6d6570736575, k.k1^0x646f72616e646f6d
	v2, v3 := k.k0^0x6c7967656e657261, k.k1^0x7465646279746573
	round := func(n int) {
		for range n {
			v0 += v1
			v2 += v3
			v1 = bits.RotateLeft64(v1, 13) ^ v0
			v3 = bits.RotateLeft64(v3, 16) ^ v2
			v0 = bits.RotateLeft64(v0, 32)
			v2 += v1
			v0 += v3
			v1 = bits.RotateLeft64(v1, 17) ^ v2
			v3 = bits.RotateLeft64(v3, 21) ^ v0
			v2 = bits.RotateLeft64(v2, 32)
		}
	}
	last := uint64(len(b)) << 56
	for ; len(b) >= 8; b = b[8:] {
		m := binary.LittleEndian.Uint64(b)
		v3 ^= m
		round(2)
		v0 ^= m
	}
	for i, x := range b {
		last |= uint64(x) << (8 * i)
	}
	v3 ^= last
	round(2)
	v0 ^= last
	v2 ^= 0xff
	round(4)
	return v0 ^ v1 ^ v2 ^ v3
}
