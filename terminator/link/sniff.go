package link

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Sniffer sees the IP packets that arrive at the host from outside, beside the
// kernel, for a short while.
type Sniffer struct {
	fd    int
	until time.Time
}

// OpenSniffer starts to look, for that long. It needs CAP_NET_RAW and sees the
// network namespace of the calling thread.
func OpenSniffer(long time.Duration) (*Sniffer, error) {
	all := uint16(unix.ETH_P_ALL)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(all<<8|all>>8))
	if err != nil {
		return nil, fmt.Errorf("link: packet socket (needs CAP_NET_RAW): %w", err)
	}
	return &Sniffer{fd, time.Now().Add(long)}, nil
}

// Next waits for a packet and gives its length; b gets its beginning, from the
// IP header on. ok is false when the time is over.
func (s *Sniffer) Next(b []byte) (n int, ok bool, err error) {
	for {
		left := time.Until(s.until)
		if left <= 0 {
			return 0, false, nil
		}
		wait := unix.NsecToTimespec(left.Nanoseconds())
		ready, err := unix.Ppoll([]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}, &wait, nil)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return 0, false, fmt.Errorf("link: packet socket: %w", err)
		}
		if ready <= 0 {
			continue
		}
		n, from, err := unix.Recvfrom(s.fd, b, 0)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR), errors.Is(err, unix.ENETDOWN):
			continue
		case err != nil:
			return 0, false, fmt.Errorf("link: packet socket: %w", err)
		}
		// What the host sends is seen too.
		if from, ok := from.(*unix.SockaddrLinklayer); ok && from.Pkttype != unix.PACKET_OUTGOING {
			return n, true, nil
		}
	}
}

// Prolong lets it look for that long from now on.
func (s *Sniffer) Prolong(long time.Duration) { s.until = time.Now().Add(long) }

// Close stops looking.
func (s *Sniffer) Close() error { return unix.Close(s.fd) }
