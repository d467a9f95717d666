package tcpnet

import (
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"accd/tcpstack"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// Ten thousand connections, one after the other, between the same two hosts and to
// the same port, closed by either end: none fails, though ports come up again that
// are in TIME-WAIT, and what is left of each is little (RFC 6191, 2).
func TestPortsAreUsedAgainAtSpeed(t *testing.T) {
	const n = 10_000
	a, b := wired(t)
	l := must[net.Listener](t)(b.Listen("tcp", ":80"))
	defer l.Close()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	byClient := func(i int) bool { return i%4 == 0 } // else the ports are free at the client
	failed := make(chan error, 1)
	go func() {
		failed <- func() error {
			for i := range n {
				c, err := l.Accept()
				if err != nil {
					return err
				}
				if byClient(i) {
					if _, err := c.Read(make([]byte, 1)); err != io.EOF {
						return errors.Join(errors.New("no FIN of the client's"), err)
					}
				}
				if err := c.Close(); err != nil {
					return err
				}
			}
			return nil
		}()
	}()
	begin := time.Now()
	for i := range n {
		c, err := a.Dial("tcp", "10.9.0.2:80")
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		if !byClient(i) {
			if _, err := c.Read(make([]byte, 1)); err != io.EOF {
				t.Fatalf("connection %d: %v, want the server's FIN", i, err)
			}
		}
		if err := c.Close(); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
	took := time.Since(begin)
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Stack{a, b} {
		await(t, s, func() bool { return len(s.conns) == 0 })
	}
	if took < 60*time.Second && (len(a.waiting.by) != n/4 || len(b.waiting.by) == n-n/4) {
		t.Errorf("%d wait at the client, %d at the server: no port was used again", len(a.waiting.by), len(b.waiting.by))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (int(after.HeapAlloc) - int(before.HeapAlloc)) / n
	t.Logf("%v, %d and %d in TIME-WAIT, %d bytes of memory each; a Conn has %d, a TimeWaiter %d", took,
		len(a.waiting.by), len(b.waiting.by), each, unsafe.Sizeof(tcpstack.Conn{}), unsafe.Sizeof(tcpstack.TimeWaiter{}))
	if each > 512 {
		t.Errorf("%d bytes of each connection are left, want 512 at most", each)
	}
}

// Those in TIME-WAIT are forgotten when their time is over, those whose FIN came
// again later than others, and the oldest when there are too many.
func TestWaitingIsBounded(t *testing.T) {
	var w waiting
	key := func(i int) wire.Tuple { return wire.Tuple{SrcPort: uint16(i), DstPort: uint16(i >> 16)} }
	at := func(s int) tcpstack.TimeWaiter {
		return tcpstack.TimeWaiter{Until: mono.Time(s) * mono.Time(time.Second)}
	}
	for i := range 3 {
		w.add(key(i), at(10+i))
	}
	w.set(key(0), at(20))
	if next := w.expire(at(11).Until); next != at(12).Until || len(w.by) != 2 {
		t.Errorf("%d wait, the next until %v", len(w.by), next)
	}
	if next := w.expire(at(20).Until - 1); next != at(20).Until || len(w.by) != 1 {
		t.Errorf("%d wait, the next until %v", len(w.by), next)
	}
	for i := range 3 * mostTimeWaits {
		w.add(key(i%(2*mostTimeWaits)), at(30+i))
		if i%3 == 0 {
			w.drop(key(i % (2 * mostTimeWaits)))
		}
		if len(w.by) > mostTimeWaits || len(w.queue) > 2*mostTimeWaits+1 {
			t.Fatalf("%d wait in %d places", len(w.by), len(w.queue))
		}
	}
	if next := w.expire(mono.Never - 1); next != mono.Never || len(w.by) != 0 || len(w.queue) != w.head {
		t.Errorf("%d wait for ever", len(w.by))
	}
}
