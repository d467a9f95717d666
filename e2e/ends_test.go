package e2e

import (
	"net"
	"strings"
	"testing"
	"time"

	"accd/lab"
)

// However a connection ends, the kernel forgets that it was steered: with FINs one after
// the other, with FINs that cross each other, and with a reset.
func TestEndsSteering(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, shape{emulated: true})
	n.impair(lab.Path{Rate: 50e6, Delay: 10 * time.Millisecond})
	n.startAccd(config{})
	for _, end := range []struct {
		name string
		do   func(a, b *net.TCPConn) error
	}{
		{"one after the other", func(a, b *net.TCPConn) error {
			check(t, a.CloseWrite())
			check(t, wantEOF(b))
			return b.CloseWrite()
		}},
		{"crossing", func(a, b *net.TCPConn) error {
			check(t, a.CloseWrite())
			return b.CloseWrite()
		}},
		{"reset", func(a, b *net.TCPConn) error {
			check(t, a.SetLinger(0))
			return a.Close()
		}},
	} {
		for _, f := range families {
			for _, first := range []string{"client", "server"} {
				t.Run(end.name+"/"+f.name+"/"+first, func(t *testing.T) {
					a, b := n.connect(f)
					must(t, send(a, 0, 100))
					must(t, receive(b, 0, 100))
					if first == "server" {
						a, b = b, a
					}
					must(t, end.do(a, b))
					left := ""
					if !await(patience, func() bool {
						left = sh(t, n.box, "nft list set inet accd flows4") + sh(t, n.box, "nft list set inet accd flows6")
						return !strings.Contains(left, "elements")
					}) {
						t.Errorf("still steered:\n%s", left)
					}
				})
			}
		}
	}
}
