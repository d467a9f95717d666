package tcpstack

// Budget is the memory that the buffers of several Conns may grow into. Each has
// what its Config gives it in the beginning whatever the Budget says, so that no
// Conn starves; what it wants beyond that it takes from here and gives back when it
// is idle, and with Release. A Budget belongs to one shard, as a buf.Pool does.
type Budget struct {
	Limit int // bytes; 0: nothing grows
	used  int
}

// Used gives the bytes that are taken.
func (b *Budget) Used() int { return b.used }

// take gives what there is of n bytes.
func (b *Budget) take(n int) int {
	if b == nil {
		return n
	}
	n = max(0, min(n, b.Limit-b.used))
	b.used += n
	return n
}

// give returns n bytes.
func (b *Budget) give(n int) {
	if b != nil {
		b.used -= n
	}
}
