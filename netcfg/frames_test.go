package netcfg

import (
	"encoding/binary"
	"net"
	"slices"
	"sync"

	"accd/netcfg/netlab"

	"golang.org/x/sys/unix"
)

// last keeps the last TCP packet of each leg, as it comes out of its tap, over IPv4 and
// without IP options.
func (a *accd) last() func(from role) []byte {
	var mu sync.Mutex
	var packets [roles][]byte
	a.relay.stop()
	a.relay = startRelay(a.Steering, func(from, _ int, ip []byte) {
		if ip[0] == 0x45 && ip[9] == unix.IPPROTO_TCP {
			mu.Lock()
			defer mu.Unlock()
			packets[from] = slices.Clone(ip)
		}
	})
	return func(from role) []byte {
		mu.Lock()
		defer mu.Unlock()
		return packets[from]
	}
}

// answer is a packet of the server tap as the server sent it, before the box undid NAT.
func (p *peer) answer(ip []byte) []byte {
	ip = slices.Clone(ip)
	copy(ip[16:20], p.seen.Addr().AsSlice())
	binary.BigEndian.PutUint16(ip[22:], p.seen.Port())
	return checked(ip)
}

// syn is a packet that would open the connection again, over IPv4.
func (p *peer) syn() []byte {
	local, remote := p.local(), p.remote()
	ip := append([]byte{0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, unix.IPPROTO_TCP, 0, 0}, local.Addr().AsSlice()...)
	ip = append(ip, remote.Addr().AsSlice()...)
	ip = binary.BigEndian.AppendUint16(ip, local.Port())
	ip = binary.BigEndian.AppendUint16(ip, remote.Port())
	return append(ip, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, syn, 1, 0, 0, 0, 0, 0)
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
			frame = slices.Concat(to.HardwareAddr, eth0.HardwareAddr, etherType(ip), ip)
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
		return int(t.Files[0].Fd()), slices.Concat(make([]byte, vnetHeaderLen), t.MAC[:], from[:], etherType(ip), ip)
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

func etherType(ip []byte) []byte {
	if ip[0]>>4 == 6 {
		return binary.BigEndian.AppendUint16(nil, unix.ETH_P_IPV6)
	}
	return binary.BigEndian.AppendUint16(nil, unix.ETH_P_IP)
}
