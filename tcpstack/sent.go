package tcpstack

import "accd/tcpstack/mono"

// fate is what is known of a sent packet.
type fate uint8

const (
	flying fate = iota // in the network, for all we know
	sacked             // the peer has it, but not all before it
	lost               // to be sent again
)

// sent is one packet in flight: a superpacket is one, until a SACK or a loss
// splits it. FIN counts one byte.
type sent struct {
	off, end    uint64    // bytes [off, end) of the stream
	at          mono.Time // when it was sent last
	firstSent   mono.Time // start of the rate sample's send interval (P.first_sent_time)
	deliveredAt mono.Time // P.delivered_time
	delivered   int64     // P.delivered: bytes delivered when it was sent
	lostTotal   int64     // bytes marked lost when it was sent
	inFlight    int       // bytes in flight right after it was sent
	fate        fate
	again       bool // sent more than once
	ect         bool // sent as ECT the first time
	probe       bool // of the path's MTU, sent once: one packet larger than a full segment
	forgiven    bool // lost, but not to congestion
	appLimited  bool // P.is_app_limited
}

func (s *sent) len() int { return int(s.end - s.off) }

// sentQueue holds the packets in flight in the order of the stream, without
// gaps: a ring that grows.
type sentQueue struct {
	ring    []sent
	head, n int
}

func (q *sentQueue) reset() { q.head, q.n = 0, 0 }

func (q *sentQueue) at(i int) *sent {
	i += q.head
	if i >= len(q.ring) {
		i -= len(q.ring)
	}
	return &q.ring[i]
}

func (q *sentQueue) last() *sent { return q.at(q.n - 1) }

// push appends a record and gives it, to be filled.
func (q *sentQueue) push() *sent {
	if q.n == len(q.ring) {
		ring := make([]sent, max(32, 2*q.n))
		for i := range q.n {
			ring[i] = *q.at(i)
		}
		q.ring, q.head = ring, 0
	}
	q.n++
	s := q.last()
	*s = sent{}
	return s
}

func (q *sentQueue) pop() {
	q.head++
	if q.head == len(q.ring) {
		q.head = 0
	}
	q.n--
}

// split cuts record i at offset off, which lies inside it, and moves the
// records behind it one place on.
func (q *sentQueue) split(i int, off uint64) {
	q.push()
	for j := q.n - 1; j > i+1; j-- {
		*q.at(j) = *q.at(j - 1)
	}
	a, b := q.at(i), q.at(i+1)
	*b = *a
	a.end, b.off = off, off
}

// find gives the index of the record that holds off, or n.
func (q *sentQueue) find(off uint64) int {
	lo, hi := 0, q.n
	for lo < hi {
		m := (lo + hi) / 2
		if q.at(m).end <= off {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo
}
