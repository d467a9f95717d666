package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// An end that resets its connection in the middle of a transfer resets the
// other end too, whoever sends.
func TestReset(t *testing.T) {
	n := newNetwork(t, shape{})
	d := n.startAccd(config{})
	// accd first delivers what it has acknowledged, for at most 5 s.
	const limit = 6 * time.Second
	for _, f := range families {
		for _, c := range []struct{ resets, sends string }{
			{"client", "client"}, {"client", "server"}, {"server", "client"}, {"server", "server"},
		} {
			t.Run(fmt.Sprintf("%s/%s-resets-%s-sends", f.name, c.resets, c.sends), func(t *testing.T) {
				client, server := n.connect(f)
				resets, other := client, server
				if c.resets == "server" {
					resets, other = server, client
				}
				sender, receiver := resets, other
				if c.sends != c.resets {
					sender, receiver = other, resets
				}
				moved := make(chan error, 2)
				go func() {
					for off := int64(0); ; off += mib {
						if err := send(sender, off, mib); err != nil {
							moved <- err
							return
						}
					}
				}()
				if receiver == resets {
					must(t, receive(receiver, 0, 64*mib))
				} else {
					go func() {
						_, err := io.Copy(&checker{}, receiver)
						moved <- err
					}()
					if d != nil && !await(patience, func() bool { return d.status().Terminator.Taken.Up+d.status().Terminator.Taken.Down > 0 }) {
						t.Fatal("nothing was in custody")
					}
					time.Sleep(100 * time.Millisecond) // well into the transfer
				}
				must(t, resets.SetLinger(0))
				must(t, resets.Close())
				deadline := time.After(limit)
				for want := 1; want > 0; {
					select {
					case err := <-moved:
						if errors.Is(err, net.ErrClosed) {
							continue // the end that was closed here
						}
						want--
						if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
							t.Errorf("the other end got %v, want a reset", err)
						}
					case <-deadline:
						t.Fatalf("the other end heard nothing of the reset for %v", limit)
					}
				}
			})
		}
	}
	if d != nil && !await(limit, func() bool { return len(d.flows()) == 0 }) {
		t.Errorf("accd still follows connections that were reset: %v", d.flows())
	}
}
