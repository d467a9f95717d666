package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"accd/lab"
)

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

// Real programs move a lot over a clean network.
func TestTransfer(t *testing.T) {
	n := newNetwork(t, shape{})
	n.startNginx(gib, 256*mib)
	n.startUploads()
	d := n.startAccd(config{})
	for _, f := range families {
		t.Run(f.name+"/download", func(t *testing.T) {
			d.inCustody(t, 0, gib, func() error { return n.download(f, gib) })
		})
		t.Run(f.name+"/upload", func(t *testing.T) {
			d.inCustody(t, 256*mib, 0, func() error { return n.upload(f, 256*mib) })
		})
		t.Run(f.name+"/both", func(t *testing.T) {
			client, server := n.connect(f)
			d.inCustody(t, 256*mib, gib, func() error { return exchange(client, server, 256*mib, gib) })
		})
	}
}

// bbr makes a socket use BBR.
func bbr(fd int) error {
	return unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, "bbr")
}

// The same with less over a network that loses a lot.
func TestLossyTransfer(t *testing.T) {
	n := newNetwork(t, shape{emulated: true})
	n.impair(lab.Path{Rate: 200e6, Delay: 2 * time.Millisecond, Loss: 0.02, Seed: 1})
	d := n.startAccd(config{})
	for _, f := range families {
		for _, c := range []struct {
			name     string
			up, down int64
		}{{"download", 0, 16 * mib}, {"upload", 16 * mib, 0}, {"both", 16 * mib, 16 * mib}} {
			t.Run(f.name+"/"+c.name, func(t *testing.T) {
				client, server := n.connect(f, sockets{client: bbr, server: bbr})
				begin := time.Now()
				d.inCustody(t, c.up, c.down, func() error { return exchange(client, server, c.up, c.down) })
				t.Logf("%.1f Mbit/s", float64(c.up+c.down)*8/1e6/time.Since(begin).Seconds())
			})
		}
	}
}

// 200 clients fetch at once.
func TestParallelDownloads(t *testing.T) {
	const clients, size = 200, 2 * mib
	n := newNetwork(t, shape{})
	n.startNginx(size)
	d := n.startAccd(config{})
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			web := http.Client{Transport: &http.Transport{
				DisableKeepAlives: true,
				DialContext: func(_ context.Context, _, to string) (net.Conn, error) {
					return n.dial(netip.MustParseAddrPort(to), sockets{}, patience)
				},
			}}
			d.inCustody(t, 0, clients*size, func() error {
				fetches := make([]func() error, clients)
				for i := range fetches {
					fetches[i] = func() error {
						r, err := web.Get(url(f, webPort, size))
						if err != nil {
							return err
						}
						defer r.Body.Close()
						if err := receive(r.Body, 0, size); err != nil {
							return fmt.Errorf("download %d: %w", i, err)
						}
						return nil
					}
				}
				return together(fetches...)
			})
		})
	}
}

// A server that speaks first, and then a conversation of short turns.
func TestServerSpeaksFirst(t *testing.T) {
	n := newNetwork(t, shape{})
	d := n.startAccd(config{})
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			const greeting, turns, turn = mib, 200, 3000
			client, server := n.connect(f)
			d.inCustody(t, turns*turn, greeting+turns*turn, func() error {
				if err := together(
					func() error { return send(server, 0, greeting) },
					func() error { return receive(client, 0, greeting) },
				); err != nil {
					return err
				}
				for i := range int64(turns) {
					if err := send(client, i*turn, turn); err != nil {
						return err
					}
					if err := receive(server, i*turn, turn); err != nil {
						return err
					}
					if err := send(server, greeting+i*turn, turn); err != nil {
						return err
					}
					if err := receive(client, greeting+i*turn, turn); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
}

// One end has said all, and the other has yet to begin.
func TestHalfClose(t *testing.T) {
	n := newNetwork(t, shape{})
	d := n.startAccd(config{})
	const question, answer = 100 * kib, 32 * mib
	for _, f := range families {
		for _, first := range []string{"client", "server"} {
			t.Run(f.name+"/"+first, func(t *testing.T) {
				asks, answers := n.connect(f)
				up, down := int64(question), int64(answer)
				if first == "server" {
					asks, answers = answers, asks
					up, down = down, up
				}
				d.inCustody(t, up, down, func() error {
					return together(func() error {
						if err := send(asks, 0, question); err != nil {
							return err
						}
						if err := asks.CloseWrite(); err != nil {
							return err
						}
						if err := receive(asks, 0, answer); err != nil {
							return fmt.Errorf("answer: %w", err)
						}
						return wantEOF(asks)
					}, func() error {
						if err := receive(answers, 0, question); err != nil {
							return fmt.Errorf("question: %w", err)
						}
						if err := wantEOF(answers); err != nil {
							return err
						}
						if err := send(answers, 0, answer); err != nil {
							return err
						}
						return answers.CloseWrite()
					})
				})
			})
		}
	}
}

// A receiver that reads nothing for a while stops the sender, not for ever.
func TestZeroWindow(t *testing.T) {
	t.Parallel()
	const pause, size = 10 * time.Second, 128 * mib
	n := newNetwork(t, shape{})
	d := n.startAccd(config{})
	var up, down int64
	var all []func() error
	for _, f := range families {
		for _, upwards := range []bool{false, true} {
			reader, writer := n.connect(f)
			if upwards {
				reader, writer = writer, reader
				up += size
			} else {
				down += size
			}
			written := &counting{Writer: writer}
			var early, late int64
			all = append(all,
				func() error { return send(written, 0, size) },
				func() error {
					time.Sleep(pause / 2)
					early = written.bytes()
					time.Sleep(pause / 2)
					late = written.bytes()
					if err := receive(reader, 0, size); err != nil {
						return err
					}
					// The pause has to have been one: what fits in
					// the buffers is far less than everything.
					if late-early > 2*mib || late > size*3/4 {
						return fmt.Errorf("%s: while nothing was read, %d of %d bytes were sent, %d of them in the second half", f.name, late, int64(size), late-early)
					}
					return nil
				})
		}
	}
	d.inCustody(t, up, down, func() error { return together(all...) })
}

// counting counts what is written.
type counting struct {
	io.Writer
	mu sync.Mutex
	n  int64
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.mu.Lock()
	c.n += int64(n)
	c.mu.Unlock()
	return n, err
}

func (c *counting) bytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}
