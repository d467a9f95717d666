package netcfg

import (
	"errors"
	"fmt"
	"os"

	"github.com/songgao/water"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Limits of a tap device.
const (
	// MaxTapMTU is the largest MTU in bytes that the kernel gives a tap: an
	// IP packet of 65,535 bytes less the Ethernet header.
	MaxTapMTU = 65521
	// MaxQueues is how many queues a tap can have: the kernel's limit
	// (MAX_TAP_QUEUES) less the one that it begins with.
	MaxQueues = 255
	// vnetHeaderLen is the length in bytes of the virtio-net header before
	// each frame: without the field for merged buffers.
	vnetHeaderLen = 10
	// tapBacklog is the number of frames a queue holds for its reader. At
	// 1,500 bytes each it is 4 ms of 10 Gbit/s; the frames are usually larger.
	tapBacklog = 4096
)

// Offloads of a tap: TUN_F_ of linux/if_tun.h.
const (
	offloadCsum   = 0x01
	offloadTSO4   = 0x02
	offloadTSO6   = 0x04
	offloadTSOECN = 0x08
)

// Tap is a tap device that lives as long as one of its files is open.
type Tap struct {
	Name    string
	Index   int // interface index in its namespace
	MAC     [6]byte
	Offload bool // frames carry a virtio-net header of 10 bytes, checksums may be partial and segments merged
	MTU     int  // bytes
	// Files are the queues, in the kernel's order. They do not block, close
	// on exec and are not watched by Go's poller: read and write their
	// descriptors, and wait on them, with system calls.
	Files []*os.File
}

// TapOptions says what tap to open.
type TapOptions struct {
	Name   string // up to 15 bytes
	Queues int    // number of files; 0: 1
	MTU    int    // bytes; 0: MaxTapMTU
	// Plain asks for a device without virtio-net headers: each frame is at
	// most one MTU and has its checksum.
	Plain bool
}

// OpenTap makes a tap in the network namespace of the calling thread. The
// device is down and has no address. Where the kernel refuses the virtio-net
// header the tap comes without it, and Offload says so. That the name is taken
// is an error.
func OpenTap(o TapOptions) (t *Tap, err error) {
	if o.Queues == 0 {
		o.Queues = 1
	}
	if o.MTU == 0 {
		o.MTU = MaxTapMTU
	}
	if len(o.Name) == 0 || len(o.Name) >= unix.IFNAMSIZ {
		return nil, fmt.Errorf("netcfg: tap name %q: want 1 to %d bytes", o.Name, unix.IFNAMSIZ-1)
	}
	if o.Queues < 0 || o.Queues > MaxQueues {
		return nil, fmt.Errorf("netcfg: tap %s: %d queues: want 1 to %d", o.Name, o.Queues, MaxQueues)
	}
	if _, err := netlink.LinkByName(o.Name); err == nil {
		return nil, fmt.Errorf("netcfg: tap %s: a device of this name exists; is another accd running? Remove it with ip link del %s, or choose another name", o.Name, o.Name)
	}
	t = &Tap{Name: o.Name, MTU: o.MTU}
	defer func() {
		if err != nil {
			t.Close()
			t = nil
		}
	}()

	// water cannot ask for the virtio-net header, but a queue inherits it
	// from those already there: netlink makes the first one, and it is
	// dropped when the others are attached.
	var first *os.File
	if !o.Plain {
		// Its error is text only. If the header is not the reason, making the
		// plain device fails as well and says why.
		first, err = firstQueue(o.Name)
		t.Offload = err == nil
	}
	for range o.Queues {
		f, err := workerQueue(o.Name)
		if err != nil {
			if first != nil {
				first.Close()
			}
			return t, tapError(o.Name, err)
		}
		t.Files = append(t.Files, f)
	}
	if first != nil {
		first.Close()
		// The last queue has taken the number of the one that left.
		t.Files = append(t.Files[o.Queues-1:], t.Files[:o.Queues-1]...)
	}
	for _, f := range t.Files {
		if err := t.setHeader(f); err != nil {
			return t, fmt.Errorf("netcfg: tap %s: %w", t.Name, err)
		}
	}
	return t, t.setLink(o.MTU)
}

// Close closes the queues, and with them the device disappears.
func (t *Tap) Close() error {
	var errs []error
	for _, f := range t.Files {
		errs = append(errs, f.Close())
	}
	t.Files = nil
	return errors.Join(errs...)
}

// firstQueue makes the device with a virtio-net header, many queues, and a life
// that ends with its files.
func firstQueue(name string) (*os.File, error) {
	link := &netlink.Tuntap{
		LinkAttrs:  netlink.LinkAttrs{Name: name},
		Mode:       netlink.TUNTAP_MODE_TAP,
		Flags:      netlink.TUNTAP_MULTI_QUEUE_DEFAULTS | netlink.TUNTAP_VNET_HDR,
		Queues:     1,
		NonPersist: true,
	}
	if err := netlink.LinkAdd(link); err != nil {
		return nil, err
	}
	return link.Fds[0], nil
}

// workerQueue attaches a queue to the device, and makes the device where there
// is none.
func workerQueue(name string) (*os.File, error) {
	q, err := water.New(water.Config{
		DeviceType:             water.TAP,
		PlatformSpecificParams: water.PlatformSpecificParams{Name: name, MultiQueue: true},
	})
	if err != nil {
		return nil, err
	}
	defer q.Close()
	watched, ok := q.ReadWriteCloser.(*os.File)
	if !ok {
		return nil, fmt.Errorf("water gave a %T, want *os.File", q.ReadWriteCloser)
	}
	return duplicate(watched)
}

// Duplicate gives other descriptors of the queues, for a user who closes them
// himself. They are like Files; the device lives until both are closed. It is
// called before anybody reads from the queues.
func (t *Tap) Duplicate() ([]*os.File, error) {
	var all []*os.File
	for _, f := range t.Files {
		d, err := duplicate(f)
		if err != nil {
			for _, f := range all {
				f.Close()
			}
			return nil, fmt.Errorf("netcfg: tap %s: duplicate a queue: %w", t.Name, err)
		}
		all = append(all, d)
	}
	return all, nil
}

// duplicate gives another descriptor of a file, which closes on exec, does not
// block and is not watched by Go's poller: that one would wake up for every
// frame. os.NewFile leaves a descriptor alone only while it blocks.
func duplicate(f *os.File) (d *os.File, err error) {
	err = control(f, func(old int) error {
		fd, err := unix.FcntlInt(uintptr(old), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err := unix.SetNonblock(fd, false); err != nil {
			unix.Close(fd)
			return err
		}
		d = os.NewFile(uintptr(fd), f.Name())
		return unix.SetNonblock(fd, true)
	})
	return d, err
}

// setHeader fixes length and meaning of the virtio-net header and verifies that
// the queue really has it.
func (t *Tap) setHeader(f *os.File) error {
	return control(f, func(fd int) error {
		req, err := unix.NewIfreq(t.Name)
		if err != nil {
			return err
		}
		if err := unix.IoctlIfreq(fd, unix.TUNGETIFF, req); err != nil {
			return fmt.Errorf("TUNGETIFF: %w", err)
		}
		if has := req.Uint16()&unix.IFF_VNET_HDR != 0; has != t.Offload {
			return fmt.Errorf("a queue has virtio-net header %t, want %t", has, t.Offload)
		}
		if !t.Offload {
			return nil
		}
		if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, vnetHeaderLen); err != nil {
			return fmt.Errorf("TUNSETVNETHDRSZ: %w", err)
		}
		if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, offloadCsum|offloadTSO4|offloadTSO6|offloadTSOECN); err != nil {
			return fmt.Errorf("TUNSETOFFLOAD: %w", err)
		}
		return nil
	})
}

// setLink sets what netlink.LinkAdd ignores, and reads back what the kernel
// chose.
func (t *Tap) setLink(mtu int) error {
	link, err := netlink.LinkByName(t.Name)
	if err != nil {
		return fmt.Errorf("netcfg: tap %s: %w", t.Name, err)
	}
	t.Index = link.Attrs().Index
	copy(t.MAC[:], link.Attrs().HardwareAddr)
	if err := netlink.LinkSetMTU(link, mtu); err != nil {
		return fmt.Errorf("netcfg: tap %s: MTU %d: %w; the largest is %d", t.Name, mtu, err, MaxTapMTU)
	}
	if err := netlink.LinkSetTxQLen(link, tapBacklog); err != nil {
		return fmt.Errorf("netcfg: tap %s: backlog of %d frames: %w", t.Name, tapBacklog, err)
	}
	return nil
}

// control runs f with the descriptor of a file, which stays open meanwhile.
func control(file *os.File, f func(fd int) error) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// tapError explains the usual reasons why no tap can be made.
func tapError(name string, err error) error {
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return fmt.Errorf("netcfg: tap %s: %w; load the tun module (modprobe tun), and in a container pass the device (--device /dev/net/tun)", name, err)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("netcfg: tap %s: %w; run as root or with CAP_NET_ADMIN and access to /dev/net/tun", name, err)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("netcfg: tap %s: %w; another process holds the device: is another accd running?", name, err)
	}
	return fmt.Errorf("netcfg: tap %s: %w", name, err)
}
