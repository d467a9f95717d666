package tcpstack

import (
	"testing"

	"accd/tcpstack/mono"
)

// check compares the queue's lists with what its records say.
func (q *sentQueue) check(t *testing.T) {
	t.Helper()
	var count [3]int
	for i := range q.n {
		r := q.at(i)
		count[r.fate]++
		if i > 0 {
			p := q.at(i - 1)
			if p.end != r.off {
				t.Fatalf("a gap between %d and %d", p.end, r.off)
			}
			if p.fate == sacked && r.fate == sacked {
				t.Fatalf("two SACKed records touch at %d", r.off)
			}
		}
		if r.end <= r.off {
			t.Fatalf("record [%d, %d)", r.off, r.end)
		}
	}
	for f := range q.list {
		n, prev := 0, int32(0)
		for id := q.list[f].first; id != 0; id = q.records[id].next {
			r := &q.records[id]
			if r.fate != fate(f) || r.prev != prev {
				t.Fatalf("record %d of list %d: fate %d, prev %d, want %d", id, f, r.fate, r.prev, prev)
			}
			if fate(f) == flying && prev != 0 && q.records[prev].at > r.at {
				t.Fatalf("record %d was sent before its predecessor", id)
			}
			if fate(f) == lost && prev != 0 && q.records[prev].off > r.off {
				t.Fatalf("lost record %d lies before its predecessor", id)
			}
			prev = id
			n++
		}
		if n != count[f] || q.list[f].last != prev {
			t.Fatalf("list %d has %d records, %d have its fate", f, n, count[f])
		}
	}
}

// Whatever happens to packets, the queue has no gaps, its lists are complete, what
// is flying is in the order of time, and SACKed neighbours are one record.
func TestSentQueue(t *testing.T) {
	r := random(t)
	for range 50 {
		var q sentQueue
		q.reset()
		var nxt uint64
		now := mono.Time(1)
		for range 500 {
			now += mono.Time(r.IntN(3))
			i := 0
			if q.n > 0 {
				i = r.IntN(q.n)
			}
			switch k := r.IntN(10); {
			case k < 3 || q.n == 0:
				s := q.push()
				s.off, s.end, s.at = nxt, nxt+1+uint64(r.IntN(5)), now
				nxt = s.end
			case k < 4:
				q.pop()
			case k < 5:
				if s := q.at(i); s.len() > 1 {
					q.split(i, s.off+1)
					if s := q.at(i); s.fate == sacked {
						q.join(i, i+1)
					}
				}
			case k < 7:
				if s := q.at(i); s.fate != sacked {
					lo := s.off + uint64(r.IntN(s.len()))
					i = q.sack(i, lo, lo+1+uint64(r.IntN(int(s.end-lo))))
				}
				q.join(i, i)
			case k < 8:
				if s := q.at(i); s.fate == flying {
					q.lose(s)
				}
			case k < 9:
				if s := q.lost(); s != nil {
					s.at = now
					q.fly(s)
				}
			default:
				if s := q.lost(); s != nil {
					q.refly(s)
				}
			}
			q.check(t)
			if q.n > 0 {
				off := q.at(0).off + uint64(r.IntN(int(nxt-q.at(0).off)))
				if s := q.at(q.find(off)); off < s.off || off >= s.end {
					t.Fatalf("find(%d) gives [%d, %d)", off, s.off, s.end)
				}
			}
		}
	}
}
