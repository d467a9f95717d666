package netcfg

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// FarewellMAC gives the Ethernet source address of a TCP segment with FIN or RST out of
// either tap that is the last of its flow. The nft table has rules that delete the flow's element for
// it, and let it go on: no packet more, and no transaction of netlink, which costs a
// hundred times as much.
func FarewellMAC() [6]byte { return farewellWord }

// goesOn matches TCP segments that are the last of no flow, whatever their source:
// most come through one comparison more than without farewells.
func goesOn() part {
	none := tcpFlags("tcp flags ! fin,rst", fin|rst, 0)
	none.exprs = slices.Concat(tcp().exprs, none.exprs)
	return none
}

// lastFrames ends the steering of flows for their last frames, which hold the
// client's and the server's addresses as key says.
func lastFrames(of func(*family) key, parts ...part) (rules []rule) {
	source := says(farewellWord)
	for _, f := range families {
		k := of(f)
		rules = append(rules,
			// Of a connection that began while its addresses and ports were still among
			// the flows the handshake is, too: the last ACK would make it a flow again.
			rule{source, silent(f.is()), silent(tcp()), tcpFlags("tcp flags & fin == fin", fin, fin), k.remove(f.openings())},
			slices.Concat(rule{source, silent(f.is()), silent(tcp()), k.remove(f.flows())}, parts))
	}
	return rules
}

// farewellProtocol is the IP protocol of packets that end the steering of a flow:
// UDP-Lite, which has its ports where TCP has them (RFC 3828, 3.1), which nft can
// name, and which is never steered. They go no further than our table.
const farewellProtocol = unix.IPPROTO_UDPLITE

// forgotten ends the steering of a flow for the packet of Forget.
func (f *family) forgotten() rule {
	return rule{silent(f.is()), silent(l4("udplite", farewellProtocol)), f.farewell().remove(f.flows()), drop()}
}

// Forget stops steering a flow that is over, and had no last frame to say so with: its
// place in the set is free at once. It sends one small packet into the client tap, with the addresses of the
// client's packets and their ports behind the IP header, for which the nft table has
// a rule that deletes the element. It does not block. A Steer that was asked for just
// before may be done after it.
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
	b = append(append(b, t.MAC[:]...), aside[:]...)
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
