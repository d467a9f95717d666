package netcfg

import (
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var seed = flag.Uint64("seed", uint64(time.Now().UnixNano()), "of random packets")

// segment is a frame with a TCP header of four bytes.
func segment(src, dst netip.AddrPort, options int) []byte {
	b := make([]byte, 12, 128)
	ip := len(b) + 2
	if src.Addr().Is4() {
		b = binary.BigEndian.AppendUint16(b, unix.ETH_P_IP)
		b = append(b, 0x45+byte(options), 0, 0, byte(24+4*options), 0, 0, 0, 0, 64, unix.IPPROTO_TCP, 0, 0)
		b = append(append(b, src.Addr().AsSlice()...), dst.Addr().AsSlice()...)
		for range 4 * options {
			b = append(b, 1) // RFC 791, 3.1: no operation
		}
		binary.BigEndian.PutUint16(b[ip+10:], headerChecksum(b[ip:]))
	} else {
		b = binary.BigEndian.AppendUint16(b, unix.ETH_P_IPV6)
		b = append(b, 0x60, 0, 0, 0, 0, 4, unix.IPPROTO_TCP, 64)
		b = append(append(b, src.Addr().AsSlice()...), dst.Addr().AsSlice()...)
	}
	b = binary.BigEndian.AppendUint16(b, src.Port())
	return binary.BigEndian.AppendUint16(b, dst.Port())
}

// Both directions of a connection come by the same queue of both taps, and
// connections by all of them.
func TestSpread(t *testing.T) {
	t.Logf("-seed=%d", *seed)
	rnd := rand.New(rand.NewPCG(*seed, 0))
	addr := func(six bool) netip.Addr {
		if six {
			var a [16]byte
			for i := range a {
				a[i] = byte(rnd.Uint32())
			}
			a[0] = 0x20
			return netip.AddrFrom16(a)
		}
		return netip.AddrFrom4([4]byte{10, 0, 0, byte(rnd.Uint32())})
	}
	const queues, flows = 4, 400
	r := newRouterLab(t)
	var taps [2]*Tap
	keys := newSpreadKeys()
	r.ok(r.box.Do(func() (err error) {
		for i, name := range []string{"left", "right"} {
			if taps[i], err = OpenTap(TapOptions{Name: name, Queues: queues}); err != nil {
				return err
			}
			t.Cleanup(func() { taps[i].Close() })
			if err = taps[i].spread(keys); err != nil {
				return err
			}
		}
		return nil
	}))
	for _, name := range []string{"left", "right"} {
		r.run(r.box, "sysctl", "-qw", "net.ipv6.conf."+name+".disable_ipv6=1")
		r.run(r.box, "ip", "link", "set", name, "arp", "off", "up")
	}
	var socket int
	r.ok(r.box.Do(func() (err error) {
		socket, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	}))
	defer unix.Close(socket)
	// queue gives the queue that a frame comes out of when the kernel sends it by a tap.
	queue := func(tap *Tap, frame []byte) int {
		t.Helper()
		r.ok(unix.Sendto(socket, frame, 0, &unix.SockaddrLinklayer{Ifindex: tap.Index}))
		var fds [queues]unix.PollFd
		for i, f := range tap.Files {
			r.ok(control(f, func(fd int) error { fds[i] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}; return nil }))
		}
		if n, err := unix.Poll(fds[:], 5000); n != 1 {
			t.Fatalf("%d queues have a frame, want one (%v)", n, err)
		}
		for i := range fds {
			if fds[i].Revents != 0 {
				_, err := unix.Read(int(fds[i].Fd), make([]byte, 256))
				r.ok(err)
				return i
			}
		}
		return -1
	}
	var count [queues]int
	for i := range flows {
		six, options := i%2 == 1, i/2%3
		client := netip.AddrPortFrom(addr(six), uint16(rnd.Uint32()))
		server := netip.AddrPortFrom(addr(six), 80)
		there := queue(taps[0], segment(client, server, options))
		back := queue(taps[1], segment(server, client, 0))
		if there != back {
			t.Fatalf("%v to %v with %d words of options: queue %d there, %d back", client, server, options, there, back)
		}
		count[there]++
	}
	for q, n := range count {
		if n < flows/queues/2 || n > flows/queues*2 {
			t.Errorf("queue %d has %d of %d connections (all: %v)", q, n, flows, count)
		}
	}
}
