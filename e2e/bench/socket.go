package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"accd/netcfg/netlab"
)

// patience is how long a socket waits for anything before the run is given up.
const patience = 10 * time.Second

// socket is a blocking TCP socket. Go's poller, which would take part in every
// round trip, knows nothing of it: each is used by a thread of its own.
type socket int

// newSocket makes a socket in the namespace of the calling thread.
func newSocket() (socket, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	s := socket(fd)
	limit := unix.NsecToTimeval(patience.Nanoseconds())
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
	if err != nil {
		s.close()
		return -1, fmt.Errorf("socket options: %w", err)
	}
	return s, nil
}

// dial connects from an address of the namespace of the calling thread.
func dial(from netip.Addr, to netip.AddrPort) (socket, error) {
	s, err := newSocket()
	if err != nil {
		return -1, err
	}
	// The port is chosen with the destination in view, or one server would
	// exhaust them.
	err = errors.Join(
		unix.SetsockoptInt(int(s), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1),
		unix.Bind(int(s), &unix.SockaddrInet4{Addr: from.As4()}))
	if err == nil {
		err = again(func() error {
			return unix.Connect(int(s), &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())})
		})
	}
	if err != nil {
		s.close()
		return -1, fmt.Errorf("connect %v to %v: %w", from, to, err)
	}
	return s, nil
}

// listen listens in the namespace of the calling thread, on any port.
func listen(at netip.Addr) (socket, netip.AddrPort, error) {
	s, err := newSocket()
	if err != nil {
		return -1, netip.AddrPort{}, err
	}
	err = errors.Join(unix.Bind(int(s), &unix.SockaddrInet4{Addr: at.As4()}), unix.Listen(int(s), 4096))
	var name unix.Sockaddr
	if err == nil {
		name, err = unix.Getsockname(int(s))
	}
	if err != nil {
		s.close()
		return -1, netip.AddrPort{}, fmt.Errorf("listen on %v: %w", at, err)
	}
	return s, netip.AddrPortFrom(at, uint16(name.(*unix.SockaddrInet4).Port)), nil
}

// errQuiet: nothing came within patience.
var errQuiet = fmt.Errorf("nothing within %v: %w", patience, os.ErrDeadlineExceeded)

// accept gives the next connection; io.EOF after shutdown.
func (s socket) accept() (socket, error) {
	c := socket(-1)
	err := again(func() error {
		fd, _, err := unix.Accept4(int(s), unix.SOCK_CLOEXEC)
		c = socket(fd)
		return err
	})
	switch {
	case errors.Is(err, unix.EINVAL):
		return -1, io.EOF
	case errors.Is(err, unix.EAGAIN):
		return -1, fmt.Errorf("accept: %w", errQuiet)
	case err != nil:
		return -1, fmt.Errorf("accept: %w", err)
	}
	// Timeouts are not inherited.
	limit := unix.NsecToTimeval(patience.Nanoseconds())
	return c, errors.Join(
		unix.SetsockoptTimeval(int(c), unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit),
		unix.SetsockoptTimeval(int(c), unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit))
}

// read waits for bytes; io.EOF at the end of the stream.
func (s socket) read(p []byte) (n int, err error) {
	err = again(func() (err error) {
		n, _, err = unix.Recvfrom(int(s), p, 0)
		return err
	})
	switch {
	case errors.Is(err, unix.EAGAIN):
		return 0, fmt.Errorf("read: %w", errQuiet)
	case err != nil:
		return 0, fmt.Errorf("read: %w", err)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// write sends all bytes.
func (s socket) write(p []byte) error {
	for len(p) > 0 {
		n := 0
		err := again(func() (err error) {
			n, err = unix.SendmsgN(int(s), p, nil, nil, unix.MSG_NOSIGNAL)
			return err
		})
		if errors.Is(err, unix.EAGAIN) {
			err = errQuiet
		}
		if err != nil {
			return fmt.Errorf("write: %w", err)
		}
		p = p[n:]
	}
	return nil
}

// shutdown wakes the thread that waits on the socket.
func (s socket) shutdown() { _ = unix.Shutdown(int(s), unix.SHUT_RDWR) }

// close ends the connection in order.
func (s socket) close() { _ = unix.Close(int(s)) }

// reset ends the connection at once, without TIME-WAIT.
func (s socket) reset() {
	_ = unix.SetsockoptLinger(int(s), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	s.close()
}

// again calls f until no signal interrupts it: Go sends them to its threads.
func again(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// pair opens a connection and gives both ends. The listener is the server's, at
// the address to.
func (n *network) pair(listener socket, from netip.Addr, to netip.AddrPort) (client, server socket, err error) {
	err = n.client.Do(func() (err error) {
		client, err = dial(from, to)
		return err
	})
	if err != nil {
		return -1, -1, err
	}
	if server, err = listener.accept(); err != nil {
		client.reset()
		return -1, -1, err
	}
	return client, server, nil
}

// listen listens on the server.
func (n *network) listen() (s socket, at netip.AddrPort, err error) {
	err = n.server.Do(func() (err error) {
		s, at, err = listen(serverAddr)
		return err
	})
	return s, at, err
}

// crew are threads at work at the same time.
type crew struct {
	errs chan error
	size int
}

func newCrew() *crew { return &crew{errs: make(chan error, 1024)} }

// start runs f on a thread of its own, in a namespace if one is given.
func (c *crew) start(ns *netlab.Namespace, f func() error) {
	c.size++
	go func() {
		if ns != nil {
			c.errs <- ns.Do(f)
			return
		}
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		c.errs <- f()
	}()
}

// wait waits for all of them.
func (c *crew) wait() (err error) {
	for range c.size {
		err = errors.Join(err, <-c.errs)
	}
	return err
}
