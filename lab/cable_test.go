package lab

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes network namespaces and taps")
	}
}

func newTestTopology(t *testing.T, tag string) *Topology {
	t.Helper()
	needRoot(t)
	top, err := NewTopology(tag)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := top.Close(); err != nil {
			t.Error(err)
		}
	})
	return top
}

// download sends n bytes from the server to the client over kernel TCP, checks
// them, and gives the time from connecting to the last byte.
func download(t *testing.T, top *Topology, addr netip.Addr, n int64) time.Duration {
	t.Helper()
	l, err := top.Server.Listen("tcp", netip.AddrPortFrom(addr, 9000).String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	chunk := pattern(0, 256<<10)
	go func() {
		s, err := l.Accept()
		if err != nil {
			return
		}
		defer s.Close()
		for left := n; left > 0; {
			k, err := s.Write(chunk[:min(left, int64(len(chunk)))])
			if err != nil {
				return
			}
			left -= int64(k)
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	begin := time.Now()
	c, err := top.Client.Dial(ctx, "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(begin.Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(chunk))
	for left := n; left > 0; {
		part := got[:min(left, int64(len(got)))]
		if _, err := io.ReadFull(c, part); err != nil {
			t.Fatalf("%d bytes before the end: %v", left, err)
		}
		if !bytes.Equal(part, chunk[:len(part)]) {
			t.Fatalf("wrong bytes, %d before the end", left)
		}
		left -= int64(len(part))
	}
	return time.Since(begin)
}

func TestPing(t *testing.T) {
	top := newTestTopology(t, "ping")
	path := Path{Rate: 100e6, Delay: 20 * time.Millisecond}
	if err := top.WAN.Set(path, path); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, a := range []netip.Addr{ServerAddr4, ServerAddr6} {
		// The first may wait for neighbour discovery.
		out, err := top.Client.Run(ctx, "ping", "-n", "-c", "4", "-i", "0.1", a.String())
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(out, "rtt min/avg/max/mdev = ")
		low, _, _ := strings.Cut(rest, "/")
		if ms, err := strconv.ParseFloat(low, 64); err != nil || ms < 40 || ms > 43 {
			t.Errorf("%s: minimum %q ms, want 40 to 43\n%s", a, low, out)
		}
	}
}

// Kernel TCP fills an emulated link without loss, over both families.
func TestGoodputAtRate(t *testing.T) {
	top := newTestTopology(t, "rate")
	path := Path{Rate: 200e6, Delay: 5 * time.Millisecond}
	for _, a := range []netip.Addr{ServerAddr4, ServerAddr6} {
		if err := top.WAN.Set(path, path); err != nil {
			t.Fatal(err)
		}
		const n = 16 << 20
		took := download(t, top, a, n)
		share := float64(n) * 8 / took.Seconds() / (200e6 * 1448 / 1514)
		_, s := top.WAN.Stats()
		t.Logf("%s: %.3f of the goodput limit in %v: %+v", a, share, took, s)
		if share > 1.01 || share < 0.6 {
			t.Errorf("%s: %.3f of the goodput limit", a, share)
		}
	}
}

// Datagrams come through at the rate, and those beyond it are dropped by the queue.
func TestDatagrams(t *testing.T) {
	top := newTestTopology(t, "udp")
	if err := top.WAN.Set(Path{Rate: 20e6, Queue: 30_000, Loss: 0.1, Seed: *seed}, Path{}); err != nil {
		t.Fatal(err)
	}
	t.Logf("seed %d", *seed)
	var sink *net.UDPConn
	err := top.Server.Do(func() (err error) {
		sink, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(ServerAddr4, 9000)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	received := make(chan int64)
	go func() {
		n := int64(0)
		for b := make([]byte, 2000); ; n++ {
			if _, err := sink.Read(b); err != nil {
				break
			}
		}
		received <- n
	}()
	c, err := top.Client.Dial(context.Background(), "udp", fmt.Sprintf("%s:9000", ServerAddr4))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const size = 1000 // 1042 on the wire: 20 Mbit/s are 2400 a second
	begin, sent := time.Now(), int64(0)
	for ; time.Since(begin) < 500*time.Millisecond; sent++ {
		if _, err := c.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		if sent%20 == 19 {
			time.Sleep(2 * time.Millisecond) // about 10,000 a second
		}
	}
	took := time.Since(begin)
	if err := sink.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	got := <-received
	s, _ := top.WAN.Stats()
	if s.Segments != sent || s.Delivered != s.Segments-s.QueueFull-s.Lost {
		t.Errorf("sent %d, %+v", sent, s)
	}
	line := float64(s.Delivered+s.Lost) * 1042 * 8
	if rate := line / took.Seconds(); rate > 20e6*1.05+8*30_000/took.Seconds() || rate < 20e6*0.8 {
		t.Errorf("the line carried %.1f Mbit/s", rate/1e6)
	}
	if share := float64(s.Lost) / float64(s.Lost+s.Delivered); share < 0.05 || share > 0.16 {
		t.Errorf("%.3f lost on the line, want 0.1", share)
	}
	if got > s.Delivered || got < s.Delivered*9/10 { // the socket's buffer may be full now and then
		t.Errorf("%d of %d delivered datagrams arrived", got, s.Delivered)
	}
}

// Whatever the link does, the kernel's TCP on both ends carries the right bytes
// across it: what it is given is what a real link would give it.
func TestKernelSurvivesEverything(t *testing.T) {
	t.Logf("seed %d", *seed)
	top := newTestTopology(t, "worst")
	path := Path{
		Rate: 200e6, Delay: 2 * time.Millisecond, Jitter: time.Millisecond, Loss: 0.005, Burst: 2,
		Reorder: 0.01, ReorderBy: 2 * time.Millisecond, Duplicate: 0.01, Corrupt: 0.005, Seed: *seed,
	}
	for _, a := range []netip.Addr{ServerAddr4, ServerAddr6} {
		if err := top.WAN.Set(path, path); err != nil {
			t.Fatal(err)
		}
		took := download(t, top, a, 4<<20)
		_, s := top.WAN.Stats()
		t.Logf("%s: %v %+v", a, took, s)
		if s.Lost == 0 || s.Reordered == 0 || s.Duplicated == 0 || s.Corrupted == 0 {
			t.Errorf("%s: an impairment did not happen: %+v", a, s)
		}
	}
}
