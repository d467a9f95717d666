package tcpnet

import (
	"accd/tcpstack"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// mostTimeWaits is how many connections in TIME-WAIT are remembered; beyond that the
// oldest is forgotten, as if its time were over. Ours.
const mostTimeWaits = 1 << 16

// waiting are the connections in TIME-WAIT, of which nothing else is left. The zero
// waiting is empty.
type waiting struct {
	by    map[wire.Tuple]waiter
	queue []wait // by when they are looked at; those before head are done with
	head  int
}

type waiter struct {
	tcpstack.TimeWaiter
	at mono.Time // of its place in the queue
}

// wait is a place in the queue; it stands for nothing if the waiter has another.
type wait struct {
	at  mono.Time
	key wire.Tuple
}

// get gives the connection of a tuple, whose Src is ours.
func (w *waiting) get(key wire.Tuple) (tcpstack.TimeWaiter, bool) {
	x, ok := w.by[key]
	return x.TimeWaiter, ok
}

// add remembers a connection.
func (w *waiting) add(key wire.Tuple, t tcpstack.TimeWaiter) {
	if w.by == nil {
		w.by = make(map[wire.Tuple]waiter)
	}
	if len(w.queue)-w.head >= mostTimeWaits {
		if old := w.pop(); w.by[old.key].at == old.at {
			w.drop(old.key)
		}
	}
	w.enqueue(key, t)
}

// set changes what is remembered of one that is there.
func (w *waiting) set(key wire.Tuple, t tcpstack.TimeWaiter) { w.by[key] = waiter{t, w.by[key].at} }

// drop forgets one.
func (w *waiting) drop(key wire.Tuple) { delete(w.by, key) }

// expire forgets those whose time is over, and gives when to look again.
func (w *waiting) expire(now mono.Time) (again mono.Time) {
	for w.head < len(w.queue) {
		if at := w.queue[w.head].at; at > now {
			return at
		}
		p := w.pop()
		switch x, ok := w.by[p.key]; {
		case !ok || x.at != p.at: // it was opened anew
		case x.Until > now: // a late FIN
			w.enqueue(p.key, x.TimeWaiter)
		default:
			w.drop(p.key)
		}
	}
	return mono.Never
}

// enqueue puts one at the end, where it belongs: all wait for the same time.
func (w *waiting) enqueue(key wire.Tuple, t tcpstack.TimeWaiter) {
	w.by[key] = waiter{t, t.Until}
	w.queue = append(w.queue, wait{t.Until, key})
}

// pop takes the first.
func (w *waiting) pop() wait {
	p := w.queue[w.head]
	if w.head++; w.head > len(w.queue)/2 {
		w.queue = append(w.queue[:0], w.queue[w.head:]...)
		w.head = 0
	}
	return p
}
