package tcpstack

import "accd/tcpstack/buf"

// slabs is a pool that outlives the run of a fuzz target, for slabs are large.
type slabs struct{ pool buf.Pool }

// next gives the pool for a run. What a run that failed has left in it is none of
// the next one's.
func (s *slabs) next() *buf.Pool {
	if s.pool.InUse() != 0 {
		s.pool = buf.Pool{}
	}
	return &s.pool
}

// script hands out a fuzzer's bytes, zeros behind their end.
type script struct{ b []byte }

func (s *script) more() bool { return len(s.b) > 0 }

func (s *script) u8() byte {
	if len(s.b) == 0 {
		return 0
	}
	v := s.b[0]
	s.b = s.b[1:]
	return v
}

func (s *script) u16() int { return int(s.u8())<<8 | int(s.u8()) }

// streamByte is the byte at an offset of what the fuzz targets send.
func streamByte(off uint64) byte { return byte(off*7 + off>>8) }

// streamBytes fills b with the bytes from off on.
func streamBytes(b []byte, off uint64) []byte {
	for i := range b {
		b[i] = streamByte(off + uint64(i))
	}
	return b
}

// wrongByte gives the offset of the first byte of b, which begins at off, that
// is not the stream's.
func wrongByte(b []byte, off uint64) (at uint64, found bool) {
	for i := range b {
		if b[i] != streamByte(off+uint64(i)) {
			return off + uint64(i), true
		}
	}
	return 0, false
}

// seeds are scripts of several lengths that visit all values.
func seeds() (all [][]byte) {
	for i := range 6 {
		b := []byte{byte(i)}
		for j := range 40 << i {
			b = append(b, byte(j*(2*i+3)+j/7))
		}
		all = append(all, b)
	}
	return all
}
