package tcpnet

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"accd/splice"
	"accd/tcpstack"
	"accd/tcpstack/buf"
	"accd/tcpstack/simnet"
)

// With nothing configured a connection fills 1 Gbit/s over 200 ms, in virtual time:
// neither the window nor what Write keeps ready is the limit (tcp.md: autotuning).
func TestDefaultBuffersFillALongFatPath(t *testing.T) {
	const (
		rate  = 125_000_000 // bytes a second
		delay = 100 * time.Millisecond
		bdp   = rate / 5
	)
	memory := tcpstack.Budget{Limit: defaultMemory}
	stack := tcpstack.Config{Memory: &memory}
	sizeBuffers(&stack)
	s := simnet.New(1)
	path := simnet.Symmetric(simnet.Impairments{Rate: rate, Delay: delay, Queue: bdp, GRO: true})
	pair := simnet.NewPairs(s, 1, path, new(buf.Pool), func(_ int, side splice.Side) (c simnet.HostConfig, script simnet.Script) {
		c = simnet.HostConfig{Stack: stack, MSS: 1460, SACK: true, Timestamps: true, SendSpace: -1}
		if side == splice.Client {
			script.Steps = []simnet.Step{{Bytes: 1 << 40}}
		}
		return c, script
	})[0]
	defer pair.Discard()
	pair.Hosts[splice.Client].Connect()
	got := func() uint64 { return pair.Hosts[splice.Server].Conn.Stats().BytesReceived }
	const startUp, measured = 5 * time.Second, time.Second
	if err := s.Run(startUp, nil); err != nil {
		t.Fatal(err)
	}
	from := got()
	if err := s.Run(measured, nil); err != nil {
		t.Fatal(err)
	}
	share := float64(got()-from) / (measured.Seconds() * rate * 1448 / 1514)
	t.Logf("%.3f of the goodput limit, %d bytes of memory of %d", share, memory.Used(), memory.Limit)
	if share < 0.95 {
		t.Errorf("%.3f of the goodput limit, want 0.95", share)
	}
}

// What waits for slow readers does not keep the slabs it came in, of which the rest
// has left: it is copied together once much memory is in use.
func TestSlowReadersAreFrugal(t *testing.T) {
	const memory = 16 << 20
	a, b := wired(t, func(_, b *Config) { b.Memory = memory })
	bulk, sink := connected(t, a, b, "10.9.0.2:80")
	go io.Copy(io.Discard, sink)
	var ends []net.Conn
	for range memory / buf.SlabSize {
		x, y := connected(t, a, b, "10.9.0.2:81")
		ends = append(ends, x, y)
		if _, err := x.Write(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		await(t, b, func() bool { return y.(*conn).in.Len() == 100 })
		if _, err := bulk.Write(make([]byte, 2*buf.SlabSize)); err != nil {
			t.Fatal(err)
		}
	}
	await(t, b, func() bool { return b.pool.InUse() <= memory/2 })
	for i := 1; i < len(ends); i += 2 {
		if n, err := io.ReadFull(ends[i], make([]byte, 100)); err != nil {
			t.Fatalf("%d bytes, %v", n, err)
		}
	}
	for _, c := range append(ends, bulk, sink) {
		c.Close()
	}
}

// Writing to a peer that does not read takes as much as the send buffer may be, and
// what it has grown by comes back with the connection.
func TestWriteKeepsToTheSendBuffer(t *testing.T) {
	const most = 300_000
	a, b := wired(t, func(a, b *Config) { a.TCP.SendBuffer, b.TCP.Buffer = most, 200_000 })
	client, _ := connected(t, a, b, "10.9.0.2:80")
	if err := client.SetWriteDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	n, err := client.Write(make([]byte, 8<<20))
	if !errors.Is(err, os.ErrDeadlineExceeded) || n > most+200_000+65536 || n < 200_000 {
		t.Errorf("%d bytes, %v", n, err)
	}
	a.mu.Lock()
	held, used := client.(*conn).out.Len(), a.memory.Used()
	a.mu.Unlock()
	if held > most || used > most || used == 0 {
		t.Errorf("%d bytes are held, %d taken of the budget", held, used)
	}
	a.Close()
	if used := a.memory.Used(); used != 0 {
		t.Errorf("%d bytes are taken in the end", used)
	}
}
