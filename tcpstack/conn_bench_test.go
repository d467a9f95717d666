package tcpstack

import (
	"testing"
	"time"

	"accd/tcpstack/buf"
)

// loop moves data from one Conn to another without a network: each call one
// superpacket there and its ACK back.
type loop struct {
	*pair
	pkt  Packet
	seg  Segment
	body []byte
}

func newLoop() *loop {
	cfg := config("cubic")
	l := &loop{pair: newPair([2]*Config{cfg, cfg}, nil), body: make([]byte, 1448*40)}
	for range 200 {
		l.turn() // past slow start's first growth of tables
	}
	return l
}

func (l *loop) turn() {
	l.now = l.now.Add(50 * time.Microsecond)
	l.out[0].Append(l.pool.Copy(l.body))
	l.move(0)
	l.in[1].Discard(l.in[1].End())
	l.now = l.now.Add(50 * time.Microsecond)
	l.move(1)
}

func (l *loop) move(i int) {
	l.conn[i].Expire(l.now)
	for l.conn[i].Transmit(l.now, &l.pkt) {
		p, s := &l.pkt, &l.seg
		s.Seq, s.Ack, s.Flags, s.Window, s.Options = p.Seq, p.Ack, p.Flags, p.Window, p.Options
		room := l.pool.Room(p.Len)
		n := 0
		for _, b := range p.Payload {
			n += copy(room[n:], b)
		}
		s.Payload = l.pool.Keep(0, n)
		l.conn[1-i].Receive(l.now, s)
	}
}

// Tables of a burst that are kept are not made again for the next one.
func TestTrim(t *testing.T) {
	const packets, size = 384, 8 << 10
	for keep, kept := range map[int]bool{512: true, KeptRecords: false} {
		var c Conn
		var s Stream
		pool := new(buf.Pool)
		burst := func() {
			for range packets {
				c.sent.push()
				pool.Room(size)
				s.Append(pool.Keep(0, size))
			}
			for range packets {
				c.sent.pop()
			}
			s.Discard(s.End())
			c.Trim(keep)
			s.Trim(keep)
		}
		burst() // and a second time before it is counted, for the pool
		if n := testing.AllocsPerRun(10, burst); (n == 0) != kept {
			t.Errorf("%v allocations per burst with %d entries kept", n, keep)
		}
	}
}

// A Conn in steady state allocates nothing.
func TestConnAllocs(t *testing.T) {
	l := newLoop()
	if n := testing.AllocsPerRun(1000, l.turn); n != 0 {
		t.Errorf("%.2f allocations per superpacket and ACK, want 0", n)
	}
	if got := l.conn[1].Stats().BytesReceived; got < 1000*uint64(len(l.body)) {
		t.Errorf("only %d bytes moved", got)
	}
}

// BenchmarkConn is the cost of one superpacket of 40 segments through two Conns,
// two copies of the payload included, and of its ACK.
func BenchmarkConn(b *testing.B) {
	l := newLoop()
	b.SetBytes(int64(len(l.body)))
	b.ReportAllocs()
	for b.Loop() {
		l.turn()
	}
}
