package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stream is a connection on which one end sends the pattern until it is told to
// finish, and the other wants it.
type stream struct {
	from, to  *net.TCPConn
	sent, got atomic.Int64
	stop      atomic.Bool

	sending, receiving chan struct{} // closed when that end is done
	sendErr, recvErr   error         // why, once done; nil: all went well
}

// startStream opens a connection and begins. It runs against the direction of
// the connection if upwards is unset.
func (n *network) startStream(f family, upwards bool) *stream {
	n.t.Helper()
	client, server := n.connect(f)
	return newStream(client, server, upwards)
}

// paced bounds what a socket sends, in bits per second.
func paced(rate int) func(fd int) error {
	return func(fd int) error {
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, rate/8)
	}
}

// startStreams opens connections of both families, half of them upwards, and
// waits until all have begun.
func (n *network) startStreams(count int, with sockets) []*stream {
	n.t.Helper()
	all := make([]*stream, count)
	opens := make([]func() error, count)
	for i := range all {
		opens[i] = func() error {
			client, server, err := n.tryConnect(families[i%2], with)
			if err != nil {
				return err
			}
			n.t.Cleanup(func() { client.Close(); server.Close() })
			all[i] = newStream(client, server, i/2%2 == 0)
			return nil
		}
	}
	must(n.t, together(opens...))
	if stuck := progressed(all, make([]int64, count), patience); stuck > 0 {
		n.t.Fatalf("%d of %d streams do not start", stuck, count)
	}
	return all
}

func newStream(client, server *net.TCPConn, upwards bool) *stream {
	if upwards {
		client, server = server, client
	}
	s := newSender(client, server)
	go s.receive()
	return s
}

// newSender begins to send, to an end that does not yet receive.
func newSender(to, from *net.TCPConn) *stream {
	s := &stream{from: from, to: to, sending: make(chan struct{}), receiving: make(chan struct{})}
	go s.send()
	return s
}

func (s *stream) send() {
	defer close(s.sending)
	const chunk = 32 << 10
	for !s.stop.Load() {
		k, err := s.from.Write(window(s.sent.Load(), chunk))
		s.sent.Add(int64(k))
		if err != nil {
			s.sendErr = err
			return
		}
	}
	s.sendErr = s.from.CloseWrite()
}

func (s *stream) receive() {
	defer close(s.receiving)
	var c checker
	buf := make([]byte, 64<<10)
	for {
		k, err := s.to.Read(buf)
		if _, bad := c.Write(buf[:k]); bad != nil {
			s.recvErr = bad
			return
		}
		s.got.Add(int64(k))
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			s.recvErr = err
			return
		}
	}
}

// finish ends the stream and wants everything that was sent to have arrived, within
// limit and its grace.
func (s *stream) finish(limit time.Duration) error {
	s.stop.Store(true)
	limit = grace(limit, s.from)
	deadline := time.After(limit)
	for _, done := range []chan struct{}{s.sending, s.receiving} {
		select {
		case <-done:
		case <-deadline:
			return fmt.Errorf("%s: %d of %d bytes arrived %v after the end of sending", s, s.got.Load(), s.sent.Load(), limit)
		}
	}
	err := errors.Join(say("sender", s.sendErr), say("receiver", s.recvErr))
	if err == nil && s.got.Load() != s.sent.Load() {
		err = fmt.Errorf("%d of %d bytes arrived", s.got.Load(), s.sent.Load())
	}
	return errors.Join(say(s.String(), err), s.from.Close(), s.to.Close())
}

// String names the connection.
func (s *stream) String() string {
	return fmt.Sprintf("%v → %v", s.from.LocalAddr(), s.to.LocalAddr())
}

// isReset reports whether both ends know that the connection is reset.
func (s *stream) isReset() bool {
	for _, e := range []struct {
		done chan struct{}
		err  *error
	}{{s.sending, &s.sendErr}, {s.receiving, &s.recvErr}} {
		select {
		case <-e.done:
			if !errors.Is(*e.err, syscall.ECONNRESET) && !errors.Is(*e.err, syscall.EPIPE) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// marks remembers how far streams are.
func marks(all []*stream) []int64 {
	m := make([]int64, len(all))
	for i, s := range all {
		m[i] = s.got.Load()
	}
	return m
}

// progressed waits until every stream is past its mark, and gives how many are
// not within limit and their grace.
func progressed(all []*stream, from []int64, limit time.Duration) (stuck int) {
	await(grace(limit, senders(all)...), func() bool {
		stuck = 0
		for i, s := range all {
			if s.got.Load() <= from[i] {
				stuck++
			}
		}
		return stuck == 0
	})
	return stuck
}

// finishAll ends all streams at once.
func finishAll(all []*stream, limit time.Duration) error {
	fs := make([]func() error, len(all))
	for i, s := range all {
		s.stop.Store(true)
		fs[i] = func() error { return s.finish(limit) }
	}
	return together(fs...)
}

// pair is a connection that is mostly idle.
type pair struct {
	client, server *net.TCPConn
	off            int64
}

// talk sends a little each way.
func (p *pair) talk() error {
	const n = 5000
	deadline := time.Now().Add(grace(10*time.Second, p.client, p.server))
	for _, c := range []*net.TCPConn{p.client, p.server} {
		if err := c.SetDeadline(deadline); err != nil {
			return err
		}
	}
	defer func() { p.off += n }()
	for _, x := range []struct{ from, to *net.TCPConn }{{p.client, p.server}, {p.server, p.client}} {
		if err := together(
			func() error { return send(x.from, p.off, n) },
			func() error { return receive(x.to, p.off, n) },
		); err != nil {
			return fmt.Errorf("%v → %v: %w", x.from.LocalAddr(), x.to.LocalAddr(), err)
		}
	}
	return nil
}

// startPairs opens idle connections, in both families.
func (n *network) startPairs(count int) []*pair {
	n.t.Helper()
	all := make([]*pair, count)
	opens := make([]func() error, count)
	for i := range all {
		opens[i] = func() error {
			c, s, err := n.tryConnect(families[i%len(families)])
			if err != nil {
				return err
			}
			n.t.Cleanup(func() { c.Close(); s.Close() })
			all[i] = &pair{client: c, server: s}
			return all[i].talk()
		}
	}
	must(n.t, together(opens...))
	return all
}

// talkAll lets all of them talk at once and gives how many could, and why others
// could not.
func talkAll(all []*pair) (ok int, err error) {
	fs := make([]func() error, len(all))
	var good atomic.Int64
	for i, p := range all {
		fs[i] = func() error {
			err := p.talk()
			if err == nil {
				good.Add(1)
			}
			return err
		}
	}
	err = together(fs...)
	return int(good.Load()), err
}

// echo answers on the server until the test ends.
func (n *network) echo(f family) netip.AddrPort {
	n.t.Helper()
	l, err := n.listen(f, sockets{})
	must(n.t, err)
	var conns sync.WaitGroup
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				io.Copy(c, c) // ends with its client
			})
		}
	}()
	n.t.Cleanup(func() { l.Close() })
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// firstEcho opens connections until one has carried data both ways, and gives how
// long that took.
func (n *network) firstEcho(t *testing.T, to netip.AddrPort, limit time.Duration) time.Duration {
	t.Helper()
	begin := time.Now()
	answered := make(chan struct{}, 1)
	var tries sync.WaitGroup
	defer tries.Wait()
	for deadline := begin.Add(limit); time.Now().Before(deadline); {
		tries.Go(func() {
			c, err := n.dial(to, sockets{}, time.Until(deadline))
			if err != nil {
				return
			}
			defer c.Close()
			c.SetDeadline(deadline)
			if send(c, 0, 1000) == nil && receive(c, 0, 1000) == nil {
				select {
				case answered <- struct{}{}:
				default:
				}
			}
		})
		select {
		case <-answered:
			return time.Since(begin)
		case <-time.After(5 * time.Millisecond):
		}
	}
	select {
	case <-answered:
	default:
		t.Errorf("no new connection carried data within %v", limit)
	}
	return time.Since(begin)
}
