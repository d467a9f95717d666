package e2e

import (
	"net"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// inVain is how many repetitions in a row may be lost before a connection counts as
// standing still. The timeout doubles with each (RFC 6298, 5.5).
const inVain = 4

// grace gives how long connections may stand still: limit, or until the kernel at
// these ends has sent again often enough. Where the processors are too few, round
// trips take seconds, and so do timeouts.
func grace(limit time.Duration, senders ...*net.TCPConn) time.Duration {
	for _, c := range senders {
		limit = max(limit, (1<<inVain-1)*timeout(c))
	}
	return limit
}

// timeout gives the retransmission timeout of c before it doubled.
func timeout(c *net.TCPConn) time.Duration {
	info := tcpInfo(c)
	return time.Duration(info.Rto) * time.Microsecond >> info.Backoff
}

// tcpInfo gives what the kernel says of c; nothing if c is closed.
func tcpInfo(c *net.TCPConn) (info unix.TCPInfo) {
	raw, err := c.SyscallConn()
	if err != nil {
		return info
	}
	_ = raw.Control(func(fd uintptr) {
		if i, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			info = *i
		}
	})
	return info
}

// senders gives the ends of streams that send.
func senders(all []*stream) (ends []*net.TCPConn) {
	for _, s := range all {
		ends = append(ends, s.from)
	}
	return ends
}

// usualGrace gives the median of what streams may need to repeat what is lost.
func usualGrace(all []*stream) time.Duration {
	var need []time.Duration
	for _, s := range all {
		need = append(need, grace(0, s.from))
	}
	slices.Sort(need)
	return need[len(need)/2]
}
