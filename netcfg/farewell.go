package netcfg

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// farewellProtocol is the IP protocol of packets that end the steering of a flow:
// UDP-Lite, which has its ports where TCP has them (RFC 3828, 3.1), which nft can
// name, and which is never steered. They go no further than our table.
const farewellProtocol = unix.IPPROTO_UDPLITE

// Forget stops steering a flow that is over, so that its place in the set is free at
// once. It sends one small packet into the client tap, with the addresses of the
// client's packets and their ports behind the IP header, for which the nft table has
// a rule that deletes the element: a hundredth of what a transaction of netlink
// costs. It does not block. A Steer that was asked for just before may be done after it.
func (s *Steering) Forget(client, server netip.AddrPort) {
	t := s.taps[0]
	var room [vnetHeaderLen + 14 + 40 + 4]byte
	frame := farewell(room[:0], t, client, server)
	err := control(t.Files[0], func(fd int) error {
		_, err := unix.Write(fd, frame)
		return err
	})
	if err != nil {
		s.lost.Add(1)
	}
}

// farewell appends the frame by which a flow is forgotten.
func farewell(b []byte, t *Tap, client, server netip.AddrPort) []byte {
	if t.Offload {
		b = append(b, make([]byte, vnetHeaderLen)...)
	}
	from := NeighbourMAC(Unknown)
	b = append(append(b, t.MAC[:]...), from[:]...)
	src, dst := client.Addr().Unmap(), server.Addr().Unmap()
	if src.Is4() {
		b = binary.BigEndian.AppendUint16(b, unix.ETH_P_IP)
		ip := len(b)
		b = append(b, 0x45, 0, 0, 20+4, 0, 0, 0, 0, 1, farewellProtocol, 0, 0)
		b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
		binary.BigEndian.PutUint16(b[ip+10:], headerChecksum(b[ip:]))
	} else {
		b = binary.BigEndian.AppendUint16(b, unix.ETH_P_IPV6)
		b = append(b, 0x60, 0, 0, 0, 0, 4, farewellProtocol, 1)
		b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
	}
	b = binary.BigEndian.AppendUint16(b, client.Port())
	return binary.BigEndian.AppendUint16(b, server.Port())
}
