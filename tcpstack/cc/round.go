package cc

// round counts packet-timed round trips: one ends when a packet is delivered
// that was sent after it began (draft-ietf-ccwg-bbr, 5.5.1). Wall-clock time
// would count idleness and timer delays as round trips.
type round struct {
	count  int64 // round trips so far
	begins bool  // the latest ACK ended one and began the next
	next   int64 // total delivered when the current one began
}

// acked takes an ACK that delivered something.
func (r *round) acked(a *Ack) {
	r.begins = a.PriorDelivered >= r.next
	if r.begins {
		r.next = a.Delivered
		r.count++
	}
}

// restart begins a new round trip now, without counting the current one.
func (r *round) restart(delivered int64) { r.next = delivered }
