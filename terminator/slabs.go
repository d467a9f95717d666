package terminator

import (
	"golang.org/x/sys/unix"

	"accd/tcpstack/buf"
)

// slabs is the memory of a pool, outside the collector's heap: nothing in it is a
// pointer, and bulk that begins would have the collector run because the heap grows.
type slabs struct {
	mapped map[*byte][]byte
}

// Take gives memory for a slab.
func (m *slabs) Take() []byte {
	b, err := unix.Mmap(-1, 0, buf.SlabSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		// The heap may have what the system does not give, or knows how to fail.
		return make([]byte, buf.SlabSize)
	}
	if m.mapped == nil {
		m.mapped = make(map[*byte][]byte)
	}
	m.mapped[&b[0]] = b
	return b
}

// Give gives a slab back to the system.
func (m *slabs) Give(b []byte) {
	if _, mapped := m.mapped[&b[0]]; mapped {
		delete(m.mapped, &b[0])
		_ = unix.Munmap(b)
	}
}

// free gives all back, in use or not.
func (m *slabs) free() {
	for _, b := range m.mapped {
		m.Give(b)
	}
}
