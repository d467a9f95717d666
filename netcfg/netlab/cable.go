package netlab

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// End is one end of a cable.
type End struct {
	NS    *Namespace
	Dev   string         // name of the device, up to 15 bytes
	Addrs []netip.Prefix // its addresses, with the length of their network
	MTU   int            // bytes; 0: 1500
	// NoOffload makes the end send and receive frames no larger than the
	// MTU with complete checksums, as over a real wire.
	NoOffload bool
}

// Connect joins two namespaces by a pair of veth devices, sets both up and waits
// until they work.
func (l *Lab) Connect(a, b End) error {
	veth := &netlink.Veth{
		LinkAttrs:     netlink.NewLinkAttrs(),
		PeerName:      b.Dev,
		PeerNamespace: netlink.NsFd(b.NS.handle),
	}
	veth.Name = a.Dev
	if err := a.NS.links.LinkAdd(veth); err != nil {
		return fmt.Errorf("netlab: cable %s in %s to %s in %s: %w", a.Dev, a.NS.Name, b.Dev, b.NS.Name, err)
	}
	for _, e := range []End{a, b} {
		if e.MTU != 0 {
			link, err := e.NS.links.LinkByName(e.Dev)
			if err == nil {
				err = e.NS.links.LinkSetMTU(link, e.MTU)
			}
			if err != nil {
				return fmt.Errorf("netlab: MTU %d of %s in %s: %w", e.MTU, e.Dev, e.NS.Name, err)
			}
		}
		if e.NoOffload {
			if err := e.NS.offload(e.Dev, false); err != nil {
				return err
			}
		}
		if err := e.NS.Up(e.Dev, e.Addrs...); err != nil {
			return err
		}
	}
	return errors.Join(a.NS.await(a.Dev), b.NS.await(b.Dev))
}

// await waits until a device has a carrier, its IPv6 link-local address, and the
// local routes of its addresses: all come a little after it was set up.
func (n *Namespace) await(dev string) error {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		link, err := n.links.LinkByName(dev)
		if err != nil {
			return fmt.Errorf("netlab: %s in %s: %w", dev, n.Name, err)
		}
		ready, err := n.ready(link)
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
			return fmt.Errorf("netlab: addresses and routes of %s in %s: %w", dev, n.Name, err)
		}
		if ready {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("netlab: %s in %s does not come up: it is %s", dev, n.Name, link.Attrs().OperState)
		}
	}
}

func (n *Namespace) ready(link netlink.Link) (bool, error) {
	if link.Attrs().OperState != netlink.OperUp {
		return false, nil
	}
	if link.Attrs().MTU < 1280 {
		return true, nil // too small for IPv6 (RFC 8200, 5)
	}
	addrs, err := n.links.AddrList(link, netlink.FAMILY_V6)
	if err != nil {
		return false, err
	}
	routes, err := n.links.RouteListFiltered(netlink.FAMILY_V6,
		&netlink.Route{Table: unix.RT_TABLE_LOCAL, LinkIndex: link.Attrs().Index, Type: unix.RTN_LOCAL},
		netlink.RT_FILTER_TABLE|netlink.RT_FILTER_OIF|netlink.RT_FILTER_TYPE)
	if err != nil {
		return false, err
	}
	local := slices.ContainsFunc(addrs, func(a netlink.Addr) bool { return a.IP.IsLinkLocalUnicast() })
	return local && len(routes) >= len(addrs), nil
}

// Commands of the ethtool interface (linux/ethtool.h).
const (
	ethtoolSetRxCsum = 0x15
	ethtoolSetTxCsum = 0x17
	ethtoolSetTSO    = 0x1f
	ethtoolSetGSO    = 0x24
	ethtoolSetGRO    = 0x2c
)

// offload switches checksum and segmentation offloads of a device.
func (n *Namespace) offload(dev string, on bool) error {
	var value uint32
	if on {
		value = 1
	}
	return n.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("netlab: offloads of %s: %w", dev, err)
		}
		defer unix.Close(fd)
		for _, cmd := range []uint32{ethtoolSetTSO, ethtoolSetGSO, ethtoolSetGRO, ethtoolSetTxCsum, ethtoolSetRxCsum} {
			request := [2]uint32{cmd, value}
			ifreq := struct {
				name [unix.IFNAMSIZ]byte
				data unsafe.Pointer
				_    [16]byte
			}{data: unsafe.Pointer(&request)}
			copy(ifreq.name[:unix.IFNAMSIZ-1], dev)
			_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&ifreq)))
			// A device that cannot switch one of them (receive checksums of
			// a veth) does not use it across the wire either.
			if errno != 0 && errno != unix.EOPNOTSUPP {
				return fmt.Errorf("netlab: offload %#x of %s in %s: %w", cmd, dev, n.Name, errno)
			}
		}
		return nil
	})
}
