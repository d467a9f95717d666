package netcfg

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// The last frame of a flow ends its steering by itself, out of either tap, and goes on
// to where it should; a FIN that is not marked does not.
func TestLastFrameEndsSteering(t *testing.T) {
	r := newRouterLab(t)
	r.echo(r.server, ":80")
	a := r.start(r.plan())
	for _, from := range []role{client, server} {
		for set, address := range map[string]string{
			"flows4": server4 + ":80", "flows6": "[" + server6 + "]:80",
		} {
			c := r.dial(r.client, address)
			r.ok(c.exchange(10, 5*time.Second))
			if n := r.flowsOf(a, set); n != 1 {
				t.Fatalf("%d elements in %s, want 1", n, set)
			}
			// The handshake is still there, too, if that of another connection was
			// forgotten late.
			opening := strings.Replace(set, "flows", "opening", 1)
			r.copyElements(a, set, opening)
			a.relay.last[from].Store(true)
			r.ok(c.Conn.(*net.TCPConn).CloseWrite())
			r.ok(c.SetReadDeadline(time.Now().Add(5 * time.Second)))
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("%s, last frame from the %v tap: the connection ends with %v", set, from, err)
			}
			eventually(t, 5*time.Second, "the last frame removes the elements", func() bool {
				return r.flowsOf(a, set) == 0 && r.flowsOf(a, opening) == 0
			})
			a.relay.last[from].Store(false)

			c = r.dial(r.client, address)
			r.ok(c.exchange(10, 5*time.Second))
			r.ok(c.Conn.(*net.TCPConn).CloseWrite())
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("%s: the connection ends with %v", set, err)
			}
			if n := r.flowsOf(a, set); n != 1 {
				t.Errorf("%d elements in %s after FINs that are not marked, want 1", n, set)
			}
			a.Forget(c.local(), c.remote())
			eventually(t, 5*time.Second, "Forget removes the element", func() bool { return r.flowsOf(a, set) == 0 })
		}
	}
}
