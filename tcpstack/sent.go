package tcpstack

// fate is what is known of a sent packet.
type fate uint8

const (
	flying fate = iota // in the network, for all we know
	lost               // to be sent again
	sacked             // the peer has it, but not all before it
)

// sent is one packet in flight: a superpacket is one, until a SACK or a loss
// splits it; neighbours that are SACKed are one, for nothing tells them apart any
// more. FIN counts one byte.
type sent struct {
	off, end   uint64 // bytes [off, end) of the stream
	id         int32  // its number in sentQueue.records
	prev, next int32  // in the list of its fate; 0: none
	fate       fate
	again      bool // sent more than once
	ect        bool // sent as ECT the first time
	probe      bool // of the path's MTU, sent once: one packet larger than a full segment
	forgiven   bool // lost, but not to congestion
	departure
}

func (s *sent) len() int { return int(s.end - s.off) }

// sentQueue holds the packets in flight in the order of the stream, without gaps,
// and two lists of them: what is flying in the order in which it was sent, so that
// RACK looks at the oldest only (RFC 8985, 6.2), and what is lost. So no ACK costs
// more than finding its blocks and what it newly tells, whatever was SACKed before
// (CVE-2019-11478).
//
// A record keeps its place in memory until the next push or split.
type sentQueue struct {
	records []sent // [0] is unused, so that 0 can be none
	free    int32  // the first of the unused ones, by next
	order
	list [2]list // by fate: flying, lost
	hint int32   // what was lost last; 0: none
}

// list is a chain of records by number; 0: empty.
type list struct{ first, last int32 }

func (q *sentQueue) reset() {
	q.order.reset()
	q.records, q.free = q.records[:0], 0
	q.list, q.hint = [2]list{}, 0
}

func (q *sentQueue) at(i int) *sent { return &q.records[q.order.at(i)] }

func (q *sentQueue) last() *sent { return q.at(q.n - 1) }

// oldest gives the flying packet that was sent first; nil: none is flying.
func (q *sentQueue) oldest() *sent { return q.record(q.list[flying].first) }

// lost gives the packet to send again first; nil: none is lost.
func (q *sentQueue) lost() *sent { return q.record(q.list[lost].first) }

// after gives the next in r's list; nil: r is the last.
func (q *sentQueue) after(r *sent) *sent { return q.record(r.next) }

func (q *sentQueue) record(id int32) *sent {
	if id == 0 {
		return nil
	}
	return &q.records[id]
}

// push appends a flying record and gives it, to be filled.
func (q *sentQueue) push() *sent {
	r := q.make()
	q.open(q.n, 1)[0] = r.id
	q.link(r, q.list[flying].last)
	return r
}

// make gives a zero record that is in no list and has no place in the stream.
func (q *sentQueue) make() *sent {
	id := q.free
	if id != 0 {
		q.free = q.records[id].next
	} else {
		if len(q.records) == 0 {
			q.records = append(q.records, sent{})
		}
		id = int32(len(q.records))
		q.records = append(q.records, sent{})
	}
	r := &q.records[id]
	*r = sent{id: id}
	return r
}

// pop removes the first record.
func (q *sentQueue) pop() {
	q.drop(q.at(0))
	q.remove(0, 1)
}

// drop frees a record that is about to leave the order.
func (q *sentQueue) drop(r *sent) {
	q.unlink(r)
	r.next, q.free = q.free, r.id
}

// link puts r behind before in the list of its fate; 0: at the front.
func (q *sentQueue) link(r *sent, before int32) {
	if r.fate == sacked {
		return
	}
	l := &q.list[r.fate]
	r.prev = before
	if before == 0 {
		r.next, l.first = l.first, r.id
	} else {
		b := &q.records[before]
		r.next, b.next = b.next, r.id
	}
	if r.next == 0 {
		l.last = r.id
	} else {
		q.records[r.next].prev = r.id
	}
}

func (q *sentQueue) unlink(r *sent) {
	if r.fate == sacked {
		return
	}
	l := &q.list[r.fate]
	if q.hint == r.id {
		q.hint = r.prev
	}
	if r.prev == 0 {
		l.first = r.next
	} else {
		q.records[r.prev].next = r.next
	}
	if r.next == 0 {
		l.last = r.prev
	} else {
		q.records[r.next].prev = r.prev
	}
}

// fly puts r, which is being sent, behind everything that is flying.
func (q *sentQueue) fly(r *sent) {
	q.unlink(r)
	r.fate = flying
	q.link(r, q.list[flying].last)
}

// lose moves r to what is lost, which is in the order of the stream, so that the
// peer gets what it waits for first. What is lost one after the other mostly lies
// one behind the other.
func (q *sentQueue) lose(r *sent) {
	q.unlink(r)
	r.fate = lost
	before := q.hint
	if before == 0 {
		before = q.list[lost].last
	}
	for before != 0 && q.records[before].off > r.off {
		before = q.records[before].prev
	}
	for b := q.record(before); b != nil && b.next != 0 && q.records[b.next].off < r.off; b = q.record(before) {
		before = b.next
	}
	q.link(r, before)
	q.hint = r.id
}

// refly takes back that r is lost: it takes its place in time among what is flying,
// nearly always before all of it.
func (q *sentQueue) refly(r *sent) {
	q.unlink(r)
	r.fate = flying
	before := int32(0)
	for f := q.oldest(); f != nil && f.at < r.at; f = q.after(f) {
		before = f.id
	}
	q.link(r, before)
}

// sack says that the peer has [lo, hi) of record i, and gives the index of the
// record that this is in now: a SACKed neighbour grows, or there is a new one.
func (q *sentQueue) sack(i int, lo, hi uint64) int {
	r := q.at(i)
	if lo == r.off && hi < r.end && i > 0 && q.at(i-1).fate == sacked {
		q.at(i-1).end, r.off = hi, hi
		return i - 1
	}
	if lo > r.off && hi == r.end && i+1 < q.n && q.at(i+1).fate == sacked {
		q.at(i+1).off, r.end = lo, lo
		return i + 1
	}
	switch {
	case lo > r.off && hi < r.end:
		q.split(i, lo, hi)
		i++
	case lo > r.off:
		q.split(i, lo)
		i++
	case hi < r.end:
		q.split(i, hi)
	}
	r = q.at(i)
	q.unlink(r)
	r.fate = sacked
	return i
}

// split cuts record i at offsets inside it; the parts behind are the records from
// i+1 on.
func (q *sentQueue) split(i int, offs ...uint64) {
	ids := q.open(i+1, len(offs))
	a := q.order.at(i)
	for k, off := range offs {
		b := q.make()
		id := b.id
		*b = q.records[a]
		b.id, b.off = id, off
		q.records[a].end = off
		q.link(b, a)
		ids[k], a = id, id
	}
}

// join makes one of the SACKed records [i, j], and of their neighbours if SACKed.
func (q *sentQueue) join(i, j int) {
	if i > 0 && q.at(i-1).fate == sacked {
		i--
	}
	if j+1 < q.n && q.at(j+1).fate == sacked {
		j++
	}
	if i == j {
		return
	}
	a := q.at(i)
	a.end = q.at(j).end
	for k := i + 1; k <= j; k++ {
		a.again = a.again || q.at(k).again
		q.drop(q.at(k))
	}
	q.remove(i+1, j+1)
}

// find gives the index of the record that holds off, or n.
func (q *sentQueue) find(off uint64) int {
	lo, n, ids := 0, q.n, q.room[q.head:]
	for n > 0 {
		half := n / 2
		if q.records[ids[lo+half]].end <= off {
			lo, n = lo+half+1, n-half-1
		} else {
			n = half
		}
	}
	return lo
}
