package tcpnet

import (
	"sync"
	"testing"

	"accd/tcpstack/wire"
	"accd/terminator/link"
)

// watched is a Queue that notes the TTL and the DSCP of the TCP segments sent.
type watched struct {
	link.Queue
	mu   sync.Mutex
	seen map[[2]uint8]int
}

func (w *watched) Send(vh *wire.VirtioHeader, head []byte, body [][]byte) error {
	var v wire.View
	frame := append([]byte(nil), head...)
	for _, b := range body {
		frame = append(frame, b...)
	}
	if v.Parse(frame) == wire.KindTCP {
		w.mu.Lock()
		w.seen[[2]uint8{v.TTL(), v.TOS() >> 2}]++
		w.mu.Unlock()
	}
	return w.Queue.Send(vh, head, body)
}

// What the Config says of the IP header is in every segment, handshake included.
//
// proves: MUST-48 MUST-49 SHLD-22
func TestHeaderFields(t *testing.T) {
	qa, qb := link.NewMem(link.Caps{Offload: true, MTU: 1500})
	w := &watched{Queue: qa, seen: map[[2]uint8]int{}}
	a, b := joined(t, w, qb, func(a, _ *Config) { a.TTL, a.DSCP = 9, 46 })
	client, server := connected(t, a, b, "10.9.0.2:80")
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.seen) != 1 || w.seen[[2]uint8{9, 46}] < 3 {
		t.Errorf("TTL and DSCP of segments: %v, want only 9 and 46", w.seen)
	}
	if _, err := New(Config{Queue: qa, Addrs: addrsA, DSCP: 64}); err == nil {
		t.Error("a DSCP of 64 is accepted")
	}
}
