package netcfg

import (
	"encoding/binary"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Beat keeps steering alive for another BeatTimeout. It sends one small packet
// of each family into the client tap, for which each nft table has a rule that
// refreshes the element of its set alive; then it is dropped. So a heartbeat changes no
// rule set, and it proves that the tap takes packets. It does not block.
//
// It fails, and steering lapses, when what is marked does not lead to the taps
// any more: somebody has taken a tap down or removed a rule or a route. Only Down
// and Up repair that.
//
// It also sees who looks at packets, and closes the shortcut for them. It works in the
// namespace of the calling thread, which is that of Up.
func (s *Steering) Beat() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return errDown
	}
	if err := s.mind(); err != nil {
		return err
	}
	for _, f := range s.on {
		for r := range s.taps {
			for side := Unknown; side < sides; side++ {
				if err := s.leads(f, role(r), side); err != nil {
					return err
				}
			}
		}
	}
	t := s.taps[client]
	return control(t.Files[0], func(fd int) error {
		for _, frame := range s.beats {
			if _, err := unix.Write(fd, frame); err != nil {
				return fmt.Errorf("netcfg: heartbeat by %s: %w", t.Name, err)
			}
		}
		return nil
	})
}

// leads asks the kernel where it would send a marked packet: anywhere must be the
// tap.
func (s *Steering) leads(f *family, r role, side Side) error {
	t := s.taps[r]
	anywhere := f.neighbour(side)
	routes, err := s.host.RouteGetWithOptions(anywhere.AsSlice(), &netlink.RouteGetOptions{Mark: s.plan.mark(r, side)})
	if err == nil && len(routes) > 0 && routes[0].LinkIndex == t.Index {
		return nil
	}
	return fmt.Errorf("netcfg: what is steered does not reach tap %s (%s, mark %#x): somebody took the device down, or removed ip rule %d or a route of table %d: start accd again",
		t.Name, f.name, s.plan.mark(r, side), s.plan.preference(r, side), s.plan.table(r, side))
}

// beatFrames gives the heartbeat's frames for a tap: IP headers with nothing
// behind them.
func beatFrames(t *Tap) [][]byte {
	frame := func(etherType uint16, ip []byte) []byte {
		var f []byte
		if t.Offload {
			f = make([]byte, vnetHeaderLen)
		}
		f = append(append(f, t.MAC[:]...), aside[:]...)
		f = binary.BigEndian.AppendUint16(f, etherType)
		return append(f, ip...)
	}
	src, dst := v4.neighbour(Unknown).As4(), tapAddress(client).As4()
	ip4 := []byte{0x45, 0, 0, 20, 0, 0, 0, 0, 1, beatProtocol, 0, 0}
	ip4 = append(append(ip4, src[:]...), dst[:]...)
	binary.BigEndian.PutUint16(ip4[10:], headerChecksum(ip4))

	src6, dst6 := v6.neighbour(Unknown).As16(), v6.neighbour(LAN).As16()
	ip6 := []byte{0x60, 0, 0, 0, 0, 0, beatProtocol, 1}
	ip6 = append(append(ip6, src6[:]...), dst6[:]...)
	return [][]byte{frame(unix.ETH_P_IP, ip4), frame(unix.ETH_P_IPV6, ip6)}
}

// headerChecksum is that of an IPv4 header whose checksum field is zero
// (RFC 791, 3.1).
func headerChecksum(h []byte) uint16 {
	var sum uint32
	for i := 0; i < len(h); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(h[i:]))
	}
	sum = sum>>16 + sum&0xffff
	return ^uint16(sum>>16 + sum)
}
