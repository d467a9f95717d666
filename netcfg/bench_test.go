package netcfg

import (
	"encoding/binary"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"accd/netcfg/netlab"

	"golang.org/x/sys/unix"
)

// BenchmarkFrame measures what the kernel does for a frame of a steered flow, by
// each of the four ways, and for one of a connection that nobody steers: from a
// write of the frame to where the next namespace, or the full ring of a tap, drops
// it. All of it runs in the writer's thread. The box masquerades.
func BenchmarkFrame(b *testing.B) {
	r := newRouterLab(b)
	r.echo(r.server, ":80")
	r.echo(r.server, ":81")
	p := r.plan()
	p.Queues = 2
	p.BeatTimeout = time.Hour
	p.Clauses = []Clause{{Ports: []PortRange{{81, 81}}}, {Accelerate: true}}
	a := r.start(p)

	// The last packet of each leg, as it comes out of its tap.
	var mu sync.Mutex
	var last [roles][]byte
	a.relay.stop()
	a.relay = startRelay(a.Steering, func(from, _ int, ip []byte) {
		if ip[0] == 0x45 && ip[9] == unix.IPPROTO_TCP {
			mu.Lock()
			last[from] = slices.Clone(ip)
			mu.Unlock()
		}
	})
	steered, native := r.dial(r.client, server4+":80"), r.dial(r.client, server4+":81")
	r.ok(steered.exchange(1000, 5*time.Second))
	r.ok(native.exchange(1000, 5*time.Second))
	a.hang()
	fromClient, fromServer := last[client], last[server]
	answer := slices.Clone(fromServer) // as the server sends it, to the box
	copy(answer[16:20], steered.seen.Addr().AsSlice())
	binary.BigEndian.PutUint16(answer[22:], steered.seen.Port())
	unsteered := slices.Clone(fromClient)
	binary.BigEndian.PutUint16(unsteered[20:], native.local().Port())
	binary.BigEndian.PutUint16(unsteered[22:], 81)
	for _, n := range []*netlab.Namespace{r.client, r.server} {
		r.run(n, "nft", "add table inet deaf; add chain inet deaf in { type filter hook prerouting priority -500; policy drop; }")
	}

	for _, way := range []struct {
		name string
		ip   []byte
		by   func(ip []byte) (fd int, frame []byte)
	}{
		{"client-to-tap", fromClient, r.wire(r.client, "lan")},
		{"server-to-tap", answer, r.wire(r.server, "wan")},
		{"tap-to-client", fromServer, a.into(client)},
		{"tap-to-server", fromClient, a.into(server)},
		{"unsteered", unsteered, r.wire(r.client, "lan")},
	} {
		b.Run(way.name, func(b *testing.B) {
			fd, frame := way.by(checked(way.ip))
			for b.Loop() {
				if _, err := unix.Write(fd, frame); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// wire writes to the cable that leads to a device of the box.
func (r *routerLab) wire(from *netlab.Namespace, dev string) func([]byte) (int, []byte) {
	return func(ip []byte) (fd int, frame []byte) {
		r.t.Helper()
		var to *net.Interface
		r.ok(r.box.Do(func() (err error) { to, err = net.InterfaceByName(dev); return err }))
		r.ok(from.Do(func() error {
			eth0, err := net.InterfaceByName("eth0")
			if err != nil {
				return err
			}
			if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
				return err
			}
			frame = slices.Concat(to.HardwareAddr, eth0.HardwareAddr, []byte{8, 0}, ip)
			return unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: eth0.Index})
		}))
		r.t.Cleanup(func() { unix.Close(fd) })
		return fd, frame
	}
}

// into writes to a tap.
func (a *accd) into(r role) func([]byte) (int, []byte) {
	t := a.Steering.taps[r]
	return func(ip []byte) (int, []byte) {
		from := NeighbourMAC(Unknown)
		return int(t.Files[0].Fd()), slices.Concat(make([]byte, vnetHeaderLen), t.MAC[:], from[:], []byte{8, 0}, ip)
	}
}

// checked gives a TCP packet with its checksums (RFC 9293, 3.1).
func checked(ip []byte) []byte {
	ip = slices.Clone(ip[:binary.BigEndian.Uint16(ip[2:])])
	ip[10], ip[11] = 0, 0
	binary.BigEndian.PutUint16(ip[10:], headerChecksum(ip[:20]))
	tcp := ip[20:]
	tcp[16], tcp[17] = 0, 0
	sum := slices.Concat(ip[12:20], []byte{0, unix.IPPROTO_TCP}, binary.BigEndian.AppendUint16(nil, uint16(len(tcp))), tcp)
	if len(sum)%2 == 1 {
		sum = append(sum, 0)
	}
	binary.BigEndian.PutUint16(tcp[16:], headerChecksum(sum))
	return ip
}
