package e2e

import (
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"accd/lab"
)

// backShare is the share of payload of busy connections that accd has to acknowledge
// once it is back.
const backShare = 0.9

// wantBack measures for a while what of busy streams is in custody.
func (d *daemon) wantBack(t *testing.T, streams []*stream, what string) {
	t.Helper()
	const settle, measure = 2 * time.Second, 3 * time.Second
	time.Sleep(settle)
	before, from := d.status().Terminator, sum(marks(streams))
	time.Sleep(measure)
	after, moved := d.status().Terminator, sum(marks(streams))-from
	took := after.Taken.Up - before.Taken.Up + after.Taken.Down - before.Taken.Down
	passed := after.Untouched.Up - before.Untouched.Up + after.Untouched.Down - before.Untouched.Down
	share := float64(took) / float64(took+passed)
	t.Logf("%s: %d bytes were in custody and %d passed; %d arrived", what, took, passed, moved)
	// What arrived may have waited in buffers before.
	if moved == 0 || share < backShare || float64(took) < 0.7*float64(moved) {
		t.Errorf("%s: %d bytes were in custody, want %.0f %% of those that came to accd, %d, and most of those that arrived, %d",
			what, took, 100*backShare, took+passed, moved)
		for r, n := range after.Reasons {
			t.Logf("reason %s: %d", r, n-before.Reasons[r])
		}
	}
}

// The first segment with data of each connection is lost before the box.
func TestFirstSegmentLost(t *testing.T) {
	n := newNetwork(t, shape{})
	d := n.startAccd(config{})
	const rules = `table inet lose {
	set seen { type inet_service . inet_service; flags dynamic; size 1024; }
	chain c {
		type filter hook prerouting priority -500
		iifname "%s" meta l4proto tcp meta length > 500 tcp sport . tcp dport != @seen add @seen { tcp sport . tcp dport } drop
	}
}
`
	nft(t, n.box, fmt.Sprintf(rules, boxLAN))
	nft(t, n.wan, fmt.Sprintf(rules, "eth1"))
	defer nft(t, n.box, "delete table inet lose\n")
	const size = 64 * mib
	for _, f := range families {
		t.Run(f.name+"/upload", func(t *testing.T) {
			client, server := n.connect(f)
			d.inCustody(t, size, 0, func() error { return exchange(client, server, size, 0) })
		})
		t.Run(f.name+"/download", func(t *testing.T) {
			client, server := n.connect(f)
			d.inCustody(t, 0, size, func() error { return exchange(client, server, 0, size) })
		})
	}
}

// Busy connections that went past accd while it stood still are in custody again.
func TestBackAfterHang(t *testing.T) {
	needAccd(t)
	n := newNetwork(t, shape{emulated: true})
	n.impair(lab.Path{Rate: 50e6, Delay: 10 * time.Millisecond})
	d := n.startAccd(config{})
	streams := n.startStreams(4, sockets{})
	time.Sleep(500 * time.Millisecond)
	for range 2 {
		d.signal(syscall.SIGSTOP)
		time.Sleep(3 * time.Second)
		d.signal(syscall.SIGCONT)
		if stuck := progressed(streams, marks(streams), 10*time.Second); stuck > 0 {
			t.Errorf("%d of %d streams do not go on", stuck, len(streams))
		}
		d.wantBack(t, streams, "after a hang")
	}
	check(t, finishAll(streams, patience))
}

// And those that steering forgot: its sets were emptied, or its rules removed.
func TestBackAfterFlush(t *testing.T) {
	needAccd(t)
	n := newNetwork(t, shape{emulated: true})
	n.impair(lab.Path{Rate: 50e6, Delay: 5 * time.Millisecond})
	d := n.startAccd(config{steering: "fail: block"})
	streams := n.startStreams(4, sockets{})
	time.Sleep(500 * time.Millisecond)
	for _, harm := range []string{"set inet accd flows4", "table inet accd"} {
		sh(t, n.box, "nft flush "+harm)
		if stuck := progressed(streams, marks(streams), 10*time.Second); stuck > 0 {
			t.Errorf("%d of %d streams do not go on", stuck, len(streams))
		}
		d.wantBack(t, streams, "after flush "+harm)
	}
	check(t, finishAll(streams, patience))
}

// A client that has a cookie sends data with its SYN: the server gets it once, and
// the rest is accelerated.
func TestFastOpen(t *testing.T) {
	n := newNetwork(t, shape{})
	must(t, n.client.Sysctl("net.ipv4.tcp_fastopen", "1"))
	must(t, n.server.Sysctl("net.ipv4.tcp_fastopen", "2"))
	d := n.startAccd(config{})
	const early, size = 1000, 16 * mib
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			l, err := n.listen(f, sockets{server: func(fd int) error {
				return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN, 16)
			}})
			must(t, err)
			defer l.Close()
			to := l.Addr().(*net.TCPAddr)
			for i := range 4 { // the first one asks for the cookie
				must(t, l.(*net.TCPListener).SetDeadline(time.Now().Add(patience)))
				client, withSYN, err := n.fastOpen(f, to.Port, window(0, early))
				must(t, err)
				server, err := l.Accept()
				must(t, err)
				if withSYN != (i > 0) {
					t.Errorf("connection %d sent data with its SYN: %v", i, withSYN)
				}
				d.inCustody(t, size, size, func() error {
					return together(
						func() error { return send(client, early, size-early) },
						func() error { return receive(server, 0, size) },
						func() error { return send(server, 0, size) },
						func() error { return receive(client, 0, size) })
				})
				client.Close()
				server.Close()
			}
		})
	}
}

// fastOpen connects with data in the SYN, if the kernel has a cookie, and says
// whether it was acknowledged with the SYN.
func (n *network) fastOpen(f family, port int, data []byte) (c net.Conn, withSYN bool, err error) {
	err = n.client.Do(func() error {
		family, to := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: port, Addr: [4]byte(f.server.AsSlice()[:4])})
		if f.server.Is6() {
			family, to = unix.AF_INET6, &unix.SockaddrInet6{Port: port, Addr: f.server.As16()}
		}
		fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		file := os.NewFile(uintptr(fd), "fastopen")
		defer file.Close()
		if err := unix.Sendto(fd, data, unix.MSG_FASTOPEN, to); err != nil {
			return fmt.Errorf("MSG_FASTOPEN: %w", err)
		}
		// Wait for the SYN-ACK.
		const optSYNData = 0x20 // TCPI_OPT_SYN_DATA
		await(patience, func() bool {
			info, e := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
			err = e
			withSYN = e == nil && info.Options&optSYNData != 0
			return e != nil || info.State == 1 // TCP_ESTABLISHED
		})
		if err == nil {
			c, err = net.FileConn(file)
		}
		return err
	})
	return c, withSYN, err
}
