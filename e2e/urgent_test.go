package e2e

import (
	"fmt"
	"io"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// Urgent data arrives at its offset (RFC 6093), whether the connection is relayed,
// which it then drains, or split, where each leg has a pointer of its own.
func TestUrgent(t *testing.T) {
	n := newNetwork(t, shape{})
	for name, c := range map[string]config{"relay": {}, "split": splitting} {
		d := n.startAccd(c)
		for _, f := range families {
			t.Run(name+"/"+f.name, func(t *testing.T) {
				client, server := n.connect(f, sockets{server: func(fd int) error {
					return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_OOBINLINE, 1)
				}})
				for way, ends := range map[string][2]*net.TCPConn{"up": {client, server}, "down": {server, client}} {
					must(t, onFD(ends[1], func(fd int) error {
						return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_OOBINLINE, 1)
					}))
					// Ordinary data first, so that the connection is in custody.
					must(t, together(
						func() error { return send(ends[0], 0, mib) },
						func() error { return receive(ends[1], 0, mib) }))
					must(t, urgent(ends[0], "before", "!", "behind"))
					if got, at, err := marked(ends[1], len("before!behind")); err != nil || got != "before!behind" || at != len("before") {
						t.Errorf("%s: %q with the mark at %d, %v", way, got, at, err)
					}
				}
			})
		}
		d.stop()
	}
}

func onFD(c *net.TCPConn, do func(fd int) error) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return control(do)("", "", raw)
}

// urgent sends words of which the second is urgent.
func urgent(c *net.TCPConn, before, now, behind string) error {
	return onFD(c, func(fd int) error {
		for _, w := range []struct {
			data  string
			flags int
		}{{before, 0}, {now, unix.MSG_OOB}, {behind, 0}} {
			if err := unix.Sendto(fd, []byte(w.data), w.flags, nil); err != nil {
				return fmt.Errorf("send %q: %w", w.data, err)
			}
		}
		return nil
	})
}

// marked reads n bytes, and gives them and how many came before the urgent mark.
func marked(c *net.TCPConn, n int) (got string, at int, err error) {
	at = -1
	for len(got) < n {
		var b [1]byte
		var is int
		if err := readable(c); err != nil {
			return got, at, err
		}
		if err := onFD(c, func(fd int) (err error) {
			is, err = unix.IoctlGetInt(fd, unix.SIOCATMARK)
			return err
		}); err != nil {
			return got, at, err
		}
		if is != 0 && at < 0 {
			at = len(got)
		}
		if _, err := io.ReadFull(c, b[:]); err != nil {
			return got, at, err
		}
		got += string(b[:])
	}
	return got, at, nil
}

// readable waits until there is something to read.
func readable(c *net.TCPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(func(fd uintptr) bool {
		_, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return err != unix.EAGAIN
	})
}
