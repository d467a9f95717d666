package simnet

import "encoding/binary"

// fill writes to dst the bytes of the stream named key, from offset off on. Any
// byte can be had without those before it, so both ends and the observer agree
// on what a stream says without keeping it.
func fill(dst []byte, key, off uint64) {
	for len(dst) > 0 {
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], mix(key+off/8))
		n := copy(dst, word[off%8:])
		dst = dst[n:]
		off += uint64(n)
	}
}

// differs gives the index of the first byte of b that is not the stream's, -1
// if there is none.
func differs(b []byte, key, off uint64) int {
	for i := 0; i < len(b); {
		word := mix(key + off/8)
		if off%8 == 0 && len(b)-i >= 8 && binary.LittleEndian.Uint64(b[i:]) == word {
			i += 8
			off += 8
			continue
		}
		if b[i] != byte(word>>(off%8*8)) {
			return i
		}
		i++
		off++
	}
	return -1
}

// mix is the finalizer of splitmix64 (Steele, Lea, Flood, 2014) over a counter.
func mix(n uint64) uint64 {
	n *= 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}
