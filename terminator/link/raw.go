package link

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Raw sends whole IP packets, IPv4 and IPv6, past all taps: the kernel routes
// them as its own. Start and clean-up reset with it what a crash left behind.
type Raw struct{ fd4, fd6 int }

// OpenRaw opens the sockets. mark is put on every packet, for the steering
// rules to know it by; 0: none. It needs CAP_NET_RAW, and CAP_NET_ADMIN for a
// mark. A host without IPv6 gets a Raw without it.
func OpenRaw(mark uint32) (*Raw, error) {
	r := &Raw{-1, -1}
	var err error
	if r.fd4, err = openRaw(unix.AF_INET, mark); err != nil {
		return nil, fmt.Errorf("link: raw IPv4 socket (needs CAP_NET_RAW): %w", err)
	}
	if r.fd6, err = openRaw(unix.AF_INET6, mark); err != nil && !errors.Is(err, unix.EAFNOSUPPORT) {
		_ = r.Close()
		return nil, fmt.Errorf("link: raw IPv6 socket (needs CAP_NET_RAW): %w", err)
	}
	return r, nil
}

// openRaw opens a socket of IPPROTO_RAW, which implies that packets come with
// their IP header, in both families.
func openRaw(family int, mark uint32) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_RAW)
	if err != nil {
		return -1, err
	}
	if mark != 0 {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(mark))
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// Send sends one packet, which starts with its IP header.
func (r *Raw) Send(packet []byte) error {
	var err error
	switch {
	case len(packet) >= 20 && packet[0]>>4 == 4:
		err = unix.Sendto(r.fd4, packet, 0, &unix.SockaddrInet4{Addr: [4]byte(packet[16:20])})
	case len(packet) >= 40 && packet[0]>>4 == 6:
		if r.fd6 < 0 {
			return errors.New("link: raw IPv6 packet: the host has no IPv6")
		}
		err = unix.Sendto(r.fd6, packet, 0, &unix.SockaddrInet6{Addr: [16]byte(packet[24:40])})
	default:
		return errors.New("link: raw packet: not an IP packet")
	}
	if err != nil {
		return fmt.Errorf("link: raw packet: %w", err)
	}
	return nil
}

// Close closes the sockets.
func (r *Raw) Close() error {
	var err error
	for _, fd := range []int{r.fd4, r.fd6} {
		if fd >= 0 {
			err = errors.Join(err, unix.Close(fd))
		}
	}
	return err
}
