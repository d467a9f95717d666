package netlab

import (
	"fmt"
	"net/netip"
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

// Connect joins two namespaces by a pair of veth devices and sets both up.
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
	return nil
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
