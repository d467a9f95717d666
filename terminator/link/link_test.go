package link

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"accd/tcpstack/buf"
	"accd/tcpstack/wire"
)

// frame builds a TCP frame with a complete checksum.
func frame(payload []byte) []byte {
	h := wire.Header{
		Tuple:  wire.TupleOf(netip.MustParseAddrPort("127.0.0.1:4711"), netip.MustParseAddrPort("127.0.0.1:80")),
		DstMAC: [6]byte{2, 0, 0, 0, 0, 1}, SrcMAC: [6]byte{2, 0, 0, 0, 0, 2},
		TTL: 64, Flags: wire.RST | wire.ACK, PayloadLen: len(payload),
	}
	b := make([]byte, wire.MaxHeader)
	n, l4 := h.Put(b)
	wire.FinishChecksum(b[:n], l4, [][]byte{payload})
	return append(b[:n], payload...)
}

// ---- Mem ----

func TestMemCarriesFrames(t *testing.T) {
	a, b := NewMem(Caps{Offload: true, MTU: 1500})
	defer a.Close()
	defer b.Close()
	var p buf.Pool
	var f Frame
	if ok, err := b.Recv(&p, &f); ok || err != nil {
		t.Fatal(ok, err)
	}
	vh := wire.VirtioHeader{Flags: 1, GSOSize: 1448}
	if err := a.Send(&vh, []byte("head"), [][]byte{[]byte("bo"), nil, []byte("dy")}); err != nil {
		t.Fatal(err)
	}
	fds := []unix.PollFd{{Fd: int32(b.FD()), Events: unix.POLLIN}}
	if n, _ := unix.Poll(fds, 0); n != 1 || b.Waiting() != 1 {
		t.Error("nothing to read announced")
	}
	ok, err := b.Recv(&p, &f)
	if !ok || err != nil || string(f.Bytes) != "headbody" || f.Virtio != vh {
		t.Fatalf("%v %v %q %+v", ok, err, f.Bytes, f.Virtio)
	}
	r := f.Ref(4, 8)
	if ok, _ := b.Recv(&p, &f); ok {
		t.Error("a frame from nowhere")
	}
	if n, _ := unix.Poll(fds, 0); n != 0 {
		t.Error("reading announced, nothing there")
	}
	if string(r.Bytes()) != "body" {
		t.Errorf("%q", r.Bytes())
	}
	_ = b.Close()
	if err := a.Send(&vh, nil, nil); err == nil {
		t.Error("sent to a closed queue")
	}
}

// ---- Faulty ----

func TestFaulty(t *testing.T) {
	send := func(faults Faults) (got []string) {
		a, b := NewMem(Caps{MTU: 1500})
		defer a.Close()
		defer b.Close()
		q := NewFaulty(a, faults)
		for i := range 200 {
			if err := q.Send(&wire.VirtioHeader{}, fmt.Appendf(nil, "%04d", i), nil); err != nil {
				t.Fatal(err)
			}
		}
		var p buf.Pool
		var f Frame
		for {
			ok, _ := b.Recv(&p, &f)
			if !ok {
				return got
			}
			got = append(got, string(f.Bytes))
		}
	}
	plain := send(Faults{})
	if len(plain) != 200 || plain[7] != "0007" {
		t.Fatalf("no faults: %v", plain)
	}
	if n := len(send(Faults{Drop: .5, Seed: 1})); n < 50 || n > 150 {
		t.Errorf("half dropped: %d left", n)
	}
	if n := len(send(Faults{Duplicate: .5, Seed: 1})); n < 250 || n > 350 {
		t.Errorf("half sent twice: %d", n)
	}
	order := func(got []string) (wrong, unknown int) {
		known := map[string]bool{}
		for _, s := range plain {
			known[s] = true
		}
		for i, s := range got {
			if i > 0 && s < got[i-1] {
				wrong++
			}
			if !known[s] {
				unknown++
			}
		}
		return wrong, unknown
	}
	got := send(Faults{Reorder: .2, Seed: 1})
	if wrong, unknown := order(got); wrong < 10 || unknown != 0 || len(got) < 199 {
		t.Errorf("reordered: %d wrong, %d unknown, %d in all", wrong, unknown, len(got))
	}
	if _, unknown := order(send(Faults{Corrupt: .5, Seed: 1})); unknown < 50 {
		t.Errorf("half corrupted: %d differ", unknown)
	}
	once, again := send(Faults{Drop: .3, Seed: 9}), send(Faults{Drop: .3, Seed: 9})
	if strings.Join(once, "") != strings.Join(again, "") {
		t.Error("the same seed gives something else")
	}
}

// ---- Capture ----

func TestCaptureCanBeReadBack(t *testing.T) {
	var file bytes.Buffer
	c, err := NewCapture(&file, func() time.Time { return time.Unix(1700000000, 123456789) })
	if err != nil {
		t.Fatal(err)
	}
	a, b := NewMem(Caps{MTU: 1500})
	defer a.Close()
	defer b.Close()
	qa, qb := c.Wrap(a, "accd0"), c.Wrap(b, "accd1")
	want := frame([]byte("odd"))
	if err := qa.Send(&wire.VirtioHeader{}, want[:20], [][]byte{want[20:]}); err != nil {
		t.Fatal(err)
	}
	var p buf.Pool
	var f Frame
	if ok, err := qb.Recv(&p, &f); !ok || err != nil {
		t.Fatal(ok, err)
	}
	// Walk the blocks.
	var kinds []uint32
	for d := file.Bytes(); len(d) > 0; {
		n := binary.NativeEndian.Uint32(d[4:])
		if n%4 != 0 || binary.NativeEndian.Uint32(d[n-4:]) != n {
			t.Fatalf("block of length %d", n)
		}
		kinds = append(kinds, binary.NativeEndian.Uint32(d))
		if binary.NativeEndian.Uint32(d) == pcapngPacket && !bytes.Equal(d[28:28+len(want)], want) {
			t.Error("the frame differs")
		}
		d = d[n:]
	}
	if fmt.Sprint(kinds) != fmt.Sprint([]uint32{pcapngSection, 1, 1, pcapngPacket, pcapngPacket}) {
		t.Errorf("blocks %x", kinds)
	}
	if path, err := exec.LookPath("tcpdump"); err == nil {
		cmd := exec.Command(path, "-n", "-vv", "-r", "-")
		cmd.Stdin = &file
		out, err := cmd.CombinedOutput()
		if err != nil || strings.Count(string(out), "correct") != 2 {
			t.Errorf("tcpdump: %v\n%s", err, out)
		}
	}
}

func TestCaptureKeepsTheFirstError(t *testing.T) {
	c, err := NewCapture(failing{}, time.Now)
	if err == nil || c.Err() == nil {
		t.Error("a failing writer is not noticed")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("full") }

// ---- Tap and Raw: in a network namespace of the test's own thread ----

// namespace moves the test to a thread in a fresh network namespace with lo up.
// The thread ends with the test, and the namespace with it.
func namespace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: a network namespace and a tap")
	}
	runtime.LockOSThread() // never unlocked: the thread dies with the goroutine
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skip("no network namespaces here: ", err)
	}
	up(t, "lo")
}

func up(t *testing.T, name string) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	ifr, _ := unix.NewIfreq(name)
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr); err != nil {
		t.Fatal(err)
	}
}

// tap makes a tap in the namespace and a packet socket on its kernel side.
func tap(t *testing.T, offload bool) (*Tap, int) {
	flags := uint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if offload {
		flags |= unix.IFF_VNET_HDR
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Skip("no tap here: ", err)
	}
	ifr, _ := unix.NewIfreq("linktest0")
	ifr.SetUint16(flags)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		t.Fatal(err)
	}
	if offload {
		if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, unix.TUN_F_CSUM|unix.TUN_F_TSO4|unix.TUN_F_TSO6); err != nil {
			t.Fatal(err)
		}
	}
	// No IPv6 chatter of the kernel on it.
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/linktest0/disable_ipv6", []byte("1"), 0)
	up(t, "linktest0")
	q, err := NewTap(os.NewFile(uintptr(fd), "linktest0"), 1500, offload)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	s, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(s) })
	index, err := unix.NewIfreq("linktest0")
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlIfreq(s, unix.SIOCGIFINDEX, index); err != nil {
		t.Fatal(err)
	}
	const all = 0x0300 // ETH_P_ALL in network order
	if err := unix.Bind(s, &unix.SockaddrLinklayer{Protocol: all, Ifindex: int(index.Uint32())}); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptTimeval(s, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}); err != nil {
		t.Fatal(err)
	}
	return q, s
}

// fromKernel reads frames until one is ours: the kernel says things of its own.
func fromKernel(t *testing.T, s int, n int) []byte {
	t.Helper()
	b := make([]byte, 70000)
	for {
		k, _, err := unix.Recvfrom(s, b, 0)
		if err != nil {
			t.Fatalf("the kernel received nothing: %v", err)
		}
		if k == n {
			return b[:k]
		}
	}
}

func fromTap(t *testing.T, q *Tap, p *buf.Pool, f *Frame, want []byte) {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(q.FD()), Events: unix.POLLIN}}
	for {
		ok, err := q.Recv(p, f)
		if err != nil {
			t.Fatal(err)
		}
		if ok && bytes.Equal(f.Bytes, want) {
			return
		}
		if ok {
			continue
		}
		if n, err := unix.Poll(fds, 5000); n == 0 || err != nil && err != unix.EINTR {
			t.Fatalf("nothing came: %v", err)
		}
	}
}

func TestTap(t *testing.T) {
	for _, offload := range []bool{true, false} {
		t.Run(fmt.Sprint("offload=", offload), func(t *testing.T) {
			namespace(t)
			q, s := tap(t, offload)
			var p buf.Pool
			var f Frame
			want := frame([]byte("from the kernel"))
			if _, err := unix.Write(s, want); err != nil {
				t.Fatal(err)
			}
			fromTap(t, q, &p, &f, want)
			r := f.Ref(54, len(want))
			if string(r.Bytes()) != "from the kernel" {
				t.Errorf("%q", r.Bytes())
			}
			r.Release()
			if ok, err := q.Recv(&p, &f); ok && bytes.Equal(f.Bytes, want) || err != nil {
				t.Errorf("a second time: %v %v", ok, err)
			}

			// Many pieces, more than one call takes as they are.
			want = frame(bytes.Repeat([]byte("pieces"), 200))
			var body [][]byte
			for i := 54; i < len(want); i += 3 {
				body = append(body, want[i:min(i+3, len(want))])
			}
			if err := q.Send(&wire.VirtioHeader{}, want[:54], body); err != nil {
				t.Fatal(err)
			}
			if got := fromKernel(t, s, len(want)); !bytes.Equal(got, want) {
				t.Error("the kernel received something else")
			}
			if n := testing.AllocsPerRun(100, func() {
				if err := q.Send(&wire.VirtioHeader{}, want[:54], body); err != nil {
					t.Fatal(err)
				}
				if _, err := q.Recv(&p, &f); err != nil {
					t.Fatal(err)
				}
			}); n != 0 {
				t.Errorf("%v allocations per frame", n)
			}
			if !offload {
				return
			}

			// A superpacket stays whole.
			big := frame(make([]byte, 60000))
			vh := wire.VirtioHeader{Flags: wire.VirtioNeedsCsum, GSOType: wire.VirtioGSOTCPv4, HdrLen: 54, GSOSize: 1448, CsumStart: 34, CsumOffset: 16}
			if err := q.Send(&vh, big[:54], [][]byte{big[54:]}); err != nil {
				t.Fatal(err)
			}
			fromKernel(t, s, len(big))
			if q.Dropped() != 0 {
				t.Errorf("%d frames dropped", q.Dropped())
			}
			// A header the kernel refuses is a drop, not the end.
			vh.CsumStart = 60000
			if err := q.Send(&vh, want[:54], nil); err != nil || q.Dropped() != 1 {
				t.Errorf("bad header: %v, %d dropped", err, q.Dropped())
			}
		})
	}
}

func TestTapGone(t *testing.T) {
	namespace(t)
	q, _ := tap(t, true)
	if out, err := exec.Command("ip", "link", "del", "linktest0").CombinedOutput(); err != nil {
		t.Skipf("ip: %v %s", err, out)
	}
	var p buf.Pool
	var f Frame
	if _, err := q.Recv(&p, &f); err == nil {
		t.Error("reading from a deleted tap is no error")
	}
	if err := q.Send(&wire.VirtioHeader{}, frame(nil), nil); err == nil {
		t.Error("writing to a deleted tap is no error")
	}
}

func TestRaw(t *testing.T) {
	namespace(t)
	r, err := OpenRaw(0x77)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, tuple := range []wire.Tuple{
		wire.TupleOf(netip.MustParseAddrPort("192.0.2.1:4711"), netip.MustParseAddrPort("127.0.0.1:80")),
		wire.TupleOf(netip.MustParseAddrPort("[2001:db8::1]:4711"), netip.MustParseAddrPort("[::1]:80")),
	} {
		h := wire.Header{Tuple: tuple, TTL: 64, Flags: wire.RST | wire.ACK, Seq: wire.SeqOf(99)}
		b := make([]byte, wire.MaxHeader)
		n, l4 := h.Put(b)
		wire.FinishChecksum(b[:n], l4, nil)
		family := unix.AF_INET
		if !tuple.Is4() {
			family = unix.AF_INET6
		}
		s, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(s)
		_ = unix.SetsockoptTimeval(s, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5})
		if err := r.Send(b[wire.EthLen:n]); err != nil {
			t.Fatalf("%v: %v", tuple, err)
		}
		got := make([]byte, 100)
		k, _, err := unix.Recvfrom(s, got, 0)
		if err != nil {
			t.Fatalf("%v: %v", tuple, err)
		}
		want := b[l4:n]
		if tuple.Is4() { // these come with their IP header
			var v wire.View
			if v.ParseIP(got[:k]) != wire.KindTCP || v.Tuple() != tuple || v.Seq() != h.Seq {
				t.Errorf("%v: got % x", tuple, got[:k])
			}
		} else if !bytes.Equal(got[:k], want) {
			t.Errorf("%v: got % x", tuple, got[:k])
		}
	}
	if r.Send([]byte{0x45}) == nil {
		t.Error("a cut packet was sent")
	}
}

// A frame that is held stays as it is while others are received, and what is taken of
// it outlives it.
func TestHeldFrames(t *testing.T) {
	a, b := NewMem(Caps{})
	defer a.Close()
	defer b.Close()
	for i := range 3 {
		if err := a.Send(nil, bytes.Repeat([]byte{byte(i)}, 1000), nil); err != nil {
			t.Fatal(err)
		}
	}
	var p buf.Pool
	var f [3]Frame
	for i := range f {
		if ok, err := b.Recv(&p, &f[i]); !ok || err != nil {
			t.Fatal(ok, err)
		}
		if i < 2 {
			f[i].Hold()
		}
	}
	taken := f[0].Ref(10, 20)
	for i := range f {
		if f[i].Bytes[0] != byte(i) || f[i].Bytes[999] != byte(i) {
			t.Errorf("frame %d has become another", i)
		}
		f[i].Drop()
	}
	if p.InUse() == 0 || !bytes.Equal(taken.Bytes(), make([]byte, 10)) {
		t.Errorf("%d bytes in use, taken % x", p.InUse(), taken.Bytes())
	}
	taken.Release()
	if p.InUse() != 0 {
		t.Errorf("%d bytes are in use after all", p.InUse())
	}
}
