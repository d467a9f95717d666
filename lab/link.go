package lab

import (
	"math/rand/v2"
	"slices"
	"time"

	"accd/tcpstack/buf"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// maxPiece is the time on the line of what a Link delivers at once. A
// superpacket that takes longer arrives in pieces, so that its receiver's ACKs
// come at the pace of the line.
const maxPiece = time.Millisecond

// Stats counts what went through a Link, in segments unless said otherwise.
type Stats struct {
	Segments      int64 `json:"segments"`      // came to the queue
	Bytes         int64 `json:"bytes"`         // of them, with Ethernet header
	Retransmitted int64 `json:"retransmitted"` // of them, TCP data that had come before
	Delivered     int64 `json:"delivered"`
	Payload       int64 `json:"payload"`    // bytes of TCP payload delivered
	QueueFull     int64 `json:"queue_full"` // dropped: no room in the queue
	Lost          int64 `json:"lost"`       // dropped: by Loss and Lose
	Corrupted     int64 `json:"corrupted"`
	Duplicated    int64 `json:"duplicated"`
	Reordered     int64 `json:"reordered"`
	Marked        int64 `json:"marked"` // with CE
}

// Frame is what leaves a Link: Head and then the bytes of Body.
type Frame struct {
	Virtio wire.VirtioHeader
	Body   buf.Ref

	head          [wire.MaxHeader]byte
	headLen       int
	segs, payload int // to be counted
	due           mono.Time
}

// Head gives the bytes before Body: the headers of what was cut from a
// superpacket, else none.
func (f *Frame) Head() []byte { return f.head[:f.headLen] }

// Link is one direction of an emulated link in virtual time. Enqueue puts
// frames in; Dequeue gives them back when their time has come; Deadline is when
// to ask.
//
// What waits for the line is not kept apart from what is on it: the line's
// next free moment says how long the queue is, and with that all that happens
// to a segment is known when it comes.
type Link struct {
	path Path
	pool *buf.Pool
	room int // of the queue, bytes

	free mono.Time // the line has sent everything
	rest int64     // of the division that gave free
	last mono.Time // due time of the newest frame in order
	n    int64     // segments that were on the line

	losses losses
	rng    *rand.Rand
	seen   seen
	stats  Stats

	line fifo    // in order of due
	late []Frame // reordered segments, in order of due
	out  Frame   // what Dequeue gave last
}

// NewLink makes a Link of path. Its frames and the copies it makes of them lie
// in pool.
func NewLink(path Path, pool *buf.Pool) (*Link, error) {
	if err := path.check(); err != nil {
		return nil, err
	}
	l := &Link{path: path, pool: pool, room: path.queue(), rng: rand.New(rand.NewPCG(path.Seed, 2))}
	l.losses.init(&path)
	l.seen.init()
	return l, nil
}

// Stats gives the counters so far.
func (l *Link) Stats() Stats { return l.stats }

// fate is what happens to a segment.
type fate uint8

const (
	fine fate = iota
	dropped
	duplicated
	corrupted
	reordered
	marked
)

// Enqueue puts a frame at the end of the queue. It takes frame, the bytes from
// the Ethernet header on, and borrows vh. Time does not run backwards.
func (l *Link) Enqueue(now mono.Time, vh *wire.VirtioHeader, frame buf.Ref) {
	var p packet
	p.init(vh, frame)
	if p.impaired {
		l.stats.Segments += int64(p.segs)
		l.stats.Bytes += int64(frame.Len() + (p.segs-1)*p.view.Data)
		l.stats.Retransmitted += int64(l.seen.again(&p))
	}
	// The segments [from, i) go well and leave in one piece; the first of
	// them came onto the line at since, the last was sent at sent.
	from, since, sent := 0, max(now, l.free), mono.Time(0)
	for i := range p.segs {
		begin := max(now, l.free)
		what := l.transmit(now, p.wireLen(i), p.impaired, p.capable)
		if what != fine || l.free.Sub(since) > maxPiece {
			l.deliver(&p, from, i, sent, fine)
			from, since = i, begin
		}
		if what != fine {
			l.deliver(&p, i, i+1, l.free, what)
			from, since = i+1, l.free
		}
		sent = l.free
	}
	l.deliver(&p, from, p.segs, sent, fine)
	frame.Release()
}

// transmit puts one segment of size bytes through the queue and onto the line,
// and says what happens to it.
func (l *Link) transmit(now mono.Time, size int, impaired, capable bool) fate {
	mark := false
	if l.path.Rate > 0 {
		waiting := l.waiting(now)
		mark = capable && l.path.MarkAbove > 0 && waiting > l.path.MarkAbove
		if waiting > 0 && waiting+size > l.room {
			if impaired {
				l.stats.QueueFull++
			}
			return dropped
		}
		ns := int64(size)*8*int64(time.Second) + l.rest
		l.free = max(now, l.free).Add(time.Duration(ns / l.path.Rate))
		l.rest = ns % l.path.Rate
	} else {
		l.free = now
	}
	if !impaired {
		return fine
	}
	l.n++
	switch {
	case l.losses.lost(l.n):
		l.stats.Lost++
		return dropped
	case l.chance(l.path.Corrupt):
		l.stats.Corrupted++
		return corrupted
	case l.chance(l.path.Duplicate):
		l.stats.Duplicated++
		return duplicated
	case l.chance(l.path.Reorder):
		l.stats.Reordered++
		return reordered
	case mark:
		l.stats.Marked++
		return marked
	}
	return fine
}

// waiting gives the bytes in the queue, what is being sent included.
func (l *Link) waiting(now mono.Time) int {
	return int(float64(max(0, l.free.Sub(now))) * float64(l.path.Rate) / 8e9)
}

func (l *Link) chance(p float64) bool { return p > 0 && l.rng.Float64() < p }

// deliver sends the segments [from, to) of p, which the line has sent at sent,
// on their way.
func (l *Link) deliver(p *packet, from, to int, sent mono.Time, what fate) {
	if from == to || what == dropped {
		return
	}
	due := sent.Add(l.path.Delay)
	if l.path.Jitter > 0 {
		due = due.Add(time.Duration(l.rng.Int64N(int64(l.path.Jitter) + 1)))
	}
	if what == reordered {
		due = max(due, l.last).Add(l.path.ReorderBy)
		if n := len(l.late); n > 0 {
			due = max(due, l.late[n-1].due)
		}
		l.late = append(l.late, Frame{due: due})
		p.cut(from, to, &l.late[len(l.late)-1])
		return
	}
	l.last = max(due, l.last)
	f := l.line.push(l.last)
	p.cut(from, to, f)
	switch what {
	case corrupted:
		p.corrupt(f, l.pool, l.rng.Uint32())
	case marked:
		p.mark(f)
	case duplicated:
		p.cut(from, to, l.line.push(l.last))
	}
}

// Dequeue gives the next frame that is due, nil if there is none. It is valid
// until the next Dequeue.
func (l *Link) Dequeue(now mono.Time) *Frame {
	l.out.Body.Release()
	l.out.Body = buf.Ref{}
	if now < l.Deadline() {
		return nil
	}
	if len(l.late) > 0 && l.late[0].due <= l.line.due() {
		l.out = l.late[0]
		l.late = slices.Delete(l.late, 0, 1)
	} else {
		l.out = *l.line.pop()
	}
	l.stats.Delivered += int64(l.out.segs)
	l.stats.Payload += int64(l.out.payload)
	return &l.out
}

// Deadline gives the time at which Dequeue has a frame, Never if none waits.
func (l *Link) Deadline() mono.Time {
	if len(l.late) > 0 {
		return min(l.late[0].due, l.line.due())
	}
	return l.line.due()
}

// fifo is a queue of frames in order of their due times, without allocation but
// for its growth.
type fifo struct {
	ring      []Frame // length a power of two
	head, len int
}

// push adds a frame at the end, to be filled in.
func (q *fifo) push(due mono.Time) *Frame {
	if q.len == len(q.ring) {
		ring := make([]Frame, max(64, 2*len(q.ring)))
		n := copy(ring, q.ring[q.head:])
		copy(ring[n:], q.ring[:q.head])
		q.ring, q.head = ring, 0
	}
	f := &q.ring[(q.head+q.len)&(len(q.ring)-1)]
	q.len++
	f.due = due
	return f
}

// pop takes the first frame away; it is valid until the next push.
func (q *fifo) pop() *Frame {
	f := &q.ring[q.head]
	q.head = (q.head + 1) & (len(q.ring) - 1)
	q.len--
	return f
}

// due gives the time of the first frame, Never if there is none.
func (q *fifo) due() mono.Time {
	if q.len == 0 {
		return mono.Never
	}
	return q.ring[q.head].due
}
