package tcpnet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"accd/terminator/link"
)

// patience bounds everything a test waits for.
const patience = 20 * time.Second

var (
	addrsA = []netip.Prefix{netip.MustParsePrefix("10.9.0.1/24"), netip.MustParsePrefix("fd00:9::1/64")}
	addrsB = []netip.Prefix{netip.MustParsePrefix("10.9.0.2/24"), netip.MustParsePrefix("fd00:9::2/64")}
)

// wired makes two Stacks that are joined by a wire in memory.
func wired(t *testing.T, edit ...func(a, b *Config)) (a, b *Stack) {
	t.Helper()
	qa, qb := link.NewMem(link.Caps{Offload: true, MTU: 1500})
	return joined(t, qa, qb, edit...)
}

func joined(t *testing.T, qa, qb link.Queue, edit ...func(a, b *Config)) (a, b *Stack) {
	t.Helper()
	ca, cb := Config{Queue: qa, Addrs: addrsA}, Config{Queue: qb, Addrs: addrsB}
	for _, e := range edit {
		e(&ca, &cb)
	}
	var err error
	if a, err = New(ca); err != nil {
		t.Fatal(err)
	}
	if b, err = New(cb); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.Close()
		b.Close()
		for _, s := range []*Stack{a, b} {
			if n := s.pool.InUse(); n != 0 && !t.Failed() {
				t.Errorf("%d bytes of slabs leaked", n)
			}
			if n := s.memory.Used(); n != 0 {
				t.Errorf("buffers keep %d bytes of the budget", n)
			}
		}
	})
	return a, b
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// connected gives both ends of a connection from a to b.
func connected(t *testing.T, a, b *Stack, address string) (client, server net.Conn) {
	t.Helper()
	l := must[net.Listener](t)(b.Listen("tcp", address))
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client = must[net.Conn](t)(a.DialContext(ctx, "tcp", l.Addr().String()))
	server = <-accepted
	for _, c := range []net.Conn{client, server} {
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
	}
	return client, server
}

// Two Stacks find each other by ARP or neighbour discovery and carry data both
// ways, byte for byte, in both families and with or without offload.
func TestTransfer(t *testing.T) {
	for _, offload := range []bool{true, false} {
		for _, address := range []string{"10.9.0.2:80", "[fd00:9::2]:80"} {
			t.Run(fmt.Sprintf("%s offload %v", address, offload), func(t *testing.T) {
				qa, qb := link.NewMem(link.Caps{Offload: offload, MTU: 1500})
				a, b := joined(t, qa, qb)
				client, server := connected(t, a, b, address)
				exchange(t, client, server, 8<<20)
			})
		}
	}
}

// exchange sends n random bytes each way at the same time and compares.
func exchange(t *testing.T, x, y net.Conn, n int) {
	t.Helper()
	var wg sync.WaitGroup
	for i, c := range [][2]net.Conn{{x, y}, {y, x}} {
		data := make([]byte, n)
		rng := rand.NewChaCha8([32]byte{byte(i)})
		rng.Read(data)
		want := sha256.Sum256(data)
		wg.Go(func() {
			if _, err := c[0].Write(data); err != nil {
				t.Error(err)
			}
			if err := c[0].(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			h := sha256.New()
			got, err := io.Copy(h, c[1])
			if err != nil || got != int64(n) || !bytes.Equal(h.Sum(nil), want[:]) {
				t.Errorf("read %d bytes of %d: %v", got, n, err)
			}
		})
	}
	wg.Wait()
	x.Close()
	y.Close()
}

// A peer that does not read costs what the buffers begin with, not what they may
// grow to; one that reads lets the writer's grow, out of the Stack's budget, which
// has all of it back in the end.
func TestBuffersGrowWithTheReader(t *testing.T) {
	a, b := wired(t)
	client, server := connected(t, a, b, "10.9.0.2:80")
	if err := client.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	n, err := client.Write(make([]byte, 8<<20))
	if !errors.Is(err, os.ErrDeadlineExceeded) || n > 1<<20 {
		t.Errorf("%d bytes written that nobody reads: %v", n, err)
	}
	if _, err := io.CopyN(io.Discard, server, int64(n)); err != nil {
		t.Fatal(err)
	}
	if err := client.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	go func() {
		if _, err := client.Write(make([]byte, 8<<20)); err != nil {
			t.Error(err)
		}
	}()
	if _, err := io.CopyN(io.Discard, server, 8<<20); err != nil {
		t.Fatal(err)
	}
	a.mu.Lock()
	used := a.memory.Used()
	a.mu.Unlock()
	if used <= 0 || used > defaultMemory {
		t.Errorf("the writer's buffer has grown by %d bytes", used)
	}
}

// The same over a link that loses, so that time passes and timers fire.
func TestLossyTransfer(t *testing.T) {
	qa, qb := link.NewMem(link.Caps{Offload: true, MTU: 1500})
	a, b := joined(t, link.NewFaulty(qa, link.Faults{Drop: 0.02, Seed: 1}), link.NewFaulty(qb, link.Faults{Drop: 0.02, Seed: 2}))
	client, server := connected(t, a, b, "10.9.0.2:80")
	exchange(t, client, server, 1<<20)
}

// A half-closed connection goes on the other way for as long as it likes.
func TestHalfClose(t *testing.T) {
	a, b := wired(t)
	client, server := connected(t, a, b, "10.9.0.2:80")
	if err := client.(*conn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(server); len(got) != 0 || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	if _, err := client.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write after CloseWrite: %v", err)
	}
	go func() {
		server.Write(bytes.Repeat([]byte("y"), 3<<20))
		server.Close()
	}()
	if got, err := io.ReadAll(client); len(got) != 3<<20 || err != nil {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	client.Close()
}

// Closing with unread data resets (RFC 9293, 3.6.1; RFC 2525, 2.17).
func TestCloseWithUnreadData(t *testing.T) {
	a, b := wired(t)
	client, server := connected(t, a, b, "10.9.0.2:80")
	if _, err := client.Write([]byte("nobody reads this")); err != nil {
		t.Fatal(err)
	}
	await(t, b, func() bool { return server.(*conn).in.Len() > 0 })
	server.Close()
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
	if _, err := client.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
	client.Close()
}

// await waits until a condition holds in a Stack.
func await(t *testing.T, s *Stack, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		ok := holds()
		s.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(end) {
			t.Fatal("it does not come to pass")
		}
	}
}

// Deadlines, and errors that programs know.
func TestDeadlines(t *testing.T) {
	a, b := wired(t)
	client, server := connected(t, a, b, "10.9.0.2:80")
	defer server.Close()
	if err := client.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	_, err := client.Read(make([]byte, 1))
	var timeout net.Error
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() || time.Since(begin) > 5*time.Second {
		t.Errorf("Read gave %v after %v", err, time.Since(begin))
	}
	// A deadline that is lifted lets Read wait again.
	if err := client.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	go server.Write([]byte("late"))
	if n, err := client.Read(make([]byte, 10)); n != 4 || err != nil {
		t.Errorf("Read gave %d, %v", n, err)
	}
	// Write waits for a peer that does not read.
	if err := client.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := client.Write(make([]byte, 32<<20)); !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 || n == 32<<20 {
		t.Errorf("Write gave %d, %v", n, err)
	}
	client.Close()
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read after Close gave %v", err)
	}
	if err := client.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the second Close gave %v", err)
	}
}

// Dialling what is closed, absent or not an address.
//
// proves: MUST-46
func TestDialErrors(t *testing.T) {
	a, _ := wired(t, func(a, _ *Config) { a.TCP.SYNRetries = 5 })
	for address, want := range map[string]error{
		"10.9.0.2:81":      syscall.ECONNREFUSED,
		"[fd00:9::2]:81":   syscall.ECONNREFUSED,
		"10.9.0.77:80":     syscall.EHOSTUNREACH, // nobody answers ARP
		"192.0.2.1:80":     syscall.ENETUNREACH,  // and there is no gateway
		"224.0.0.1:80":     nil,
		"10.9.0.255:80":    nil,
		"10.9.0.2:0":       nil,
		"accd.example:80":  nil,
		"10.9.0.2":         nil,
		"[::ffff:1.2.3.4]": nil,
	} {
		t.Run(address, func(t *testing.T) {
			t.Parallel()
			c, err := a.Dial("tcp", address)
			if err == nil {
				c.Close()
				t.Fatal("it connected")
			}
			if want != nil && !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
		})
	}
}

// A context ends an attempt that nobody answers.
func TestDialContext(t *testing.T) {
	qa, qb := link.NewMem(link.Caps{Offload: true, MTU: 1500})
	a, b := joined(t, qa, link.NewFaulty(qb, link.Faults{Drop: 1, Seed: 1}))
	_ = b
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := a.DialContext(ctx, "tcp", "10.9.0.2:80"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if len(a.conns) != 0 {
		t.Error("the attempt is still there")
	}
}

// Listening: wildcards, families, ports in use, Close.
//
// proves: MUST-41 MUST-44
func TestListen(t *testing.T) {
	a, b := wired(t)
	any := must[net.Listener](t)(b.Listen("tcp", ":0"))
	if _, err := b.Listen("tcp", any.Addr().String()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a port twice: %v", err)
	}
	if _, err := b.Listen("tcp", "10.9.0.3:80"); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("a strange address: %v", err)
	}
	_, port, _ := net.SplitHostPort(any.Addr().String())
	for _, host := range []string{"10.9.0.2", "fd00:9::2"} {
		c := must[net.Conn](t)(a.Dial("tcp", net.JoinHostPort(host, port)))
		s := must[net.Conn](t)(any.Accept())
		if c.RemoteAddr().String() != s.LocalAddr().String() || c.LocalAddr().String() != s.RemoteAddr().String() {
			t.Errorf("%v → %v and %v → %v", c.LocalAddr(), c.RemoteAddr(), s.LocalAddr(), s.RemoteAddr())
		}
		c.Close()
		s.Close()
	}
	only6 := must[net.Listener](t)(b.Listen("tcp6", ":6000"))
	defer only6.Close()
	if _, err := a.Dial("tcp", "10.9.0.2:6000"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("IPv4 reaches a listener of IPv6: %v", err)
	}
	waits := make(chan error)
	go func() {
		_, err := any.Accept()
		waits <- err
	}()
	any.Close()
	if err := <-waits; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept gave %v", err)
	}
	if _, err := a.Dial("tcp", net.JoinHostPort("10.9.0.2", port)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a closed listener: %v", err)
	}
}

// More clients than the backlog holds get through all the same: by SYN cookies.
//
// proves: MUST-42
func TestManyClients(t *testing.T) {
	a, b := wired(t, func(_, b *Config) { b.Backlog = 8 })
	l := must[net.Listener](t)(b.Listen("tcp", ":80"))
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(c, c)
				c.Close()
			}()
		}
	}()
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			c, err := a.DialContext(ctx, "tcp", "10.9.0.2:80")
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(patience))
			if _, err := c.Write([]byte("hello")); err != nil {
				t.Error(err)
			}
			got := make([]byte, 5)
			if _, err := io.ReadFull(c, got); err != nil || string(got) != "hello" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	wg.Wait()
	l.Close()
}

// net/http, client and server, keeps connections alive and closes them.
func TestHTTP(t *testing.T) {
	a, b := wired(t)
	l := must[net.Listener](t)(b.Listen("tcp", ":80"))
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, r.Body)
	})}
	go server.Serve(l)
	client := http.Client{Transport: &http.Transport{DialContext: a.DialContext}, Timeout: patience}
	body := bytes.Repeat([]byte("accd "), 100_000)
	for range 10 {
		r, err := client.Post("http://10.9.0.2/", "text/plain", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || !bytes.Equal(got, body) {
			t.Fatalf("%d bytes of %d: %v", len(got), len(body), err)
		}
	}
	client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// Close of a Stack resets what is open and ends those who wait.
func TestCloseStack(t *testing.T) {
	a, b := wired(t)
	client, server := connected(t, a, b, "10.9.0.2:80")
	waits := make(chan error)
	go func() {
		_, err := client.Read(make([]byte, 1))
		waits <- err
	}()
	a.Close()
	if err := <-waits; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the local reader got %v", err)
	}
	if _, err := server.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the peer got %v", err)
	}
	if _, err := a.Dial("tcp", "10.9.0.2:80"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Dial gave %v", err)
	}
}
