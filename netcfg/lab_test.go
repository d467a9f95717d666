package netcfg

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"accd/netcfg/netlab"

	"github.com/google/nftables"
	"go.uber.org/zap/zaptest"
	"golang.org/x/sys/unix"
)

// A router lab: client — box — server, IPv4 and IPv6.
type routerLab struct {
	t                   testing.TB
	client, box, server *netlab.Namespace
	dir                 string // of the journal
}

const (
	client4, client6 = "10.0.1.2", "fd00:1::2"
	boxLAN4, boxLAN6 = "10.0.1.1", "fd00:1::1"
	boxWAN4, boxWAN6 = "10.0.2.1", "fd00:2::1"
	server4, server6 = "10.0.2.2", "fd00:2::2"
)

// newPlainLab makes a lab whose box does nothing but forward.
func newPlainLab(t testing.TB) *routerLab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes network namespaces")
	}
	l, err := netlab.New("netcfg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &routerLab{t: t, dir: t.TempDir()}
	for _, n := range []struct {
		into **netlab.Namespace
		role string
	}{{&r.client, "client"}, {&r.box, "box"}, {&r.server, "server"}} {
		if *n.into, err = l.Add(n.role); err != nil {
			t.Fatal(err)
		}
	}
	r.ok(l.Connect(
		netlab.End{NS: r.client, Dev: "eth0", Addrs: prefixes(client4+"/24", client6+"/64")},
		netlab.End{NS: r.box, Dev: "lan", Addrs: prefixes(boxLAN4+"/24", boxLAN6+"/64")}))
	r.ok(l.Connect(
		netlab.End{NS: r.box, Dev: "wan", Addrs: prefixes(boxWAN4+"/24", boxWAN6+"/64")},
		netlab.End{NS: r.server, Dev: "eth0", Addrs: prefixes(server4+"/24", server6+"/64")}))
	for _, d := range []struct {
		from *netlab.Namespace
		to   string
		via  string
	}{
		{r.client, "0.0.0.0/0", boxLAN4}, {r.client, "::/0", boxLAN6},
		{r.server, "10.0.1.0/24", boxWAN4}, {r.server, "fd00:1::/64", boxWAN6},
	} {
		r.ok(d.from.Route(netip.MustParsePrefix(d.to), netip.MustParseAddr(d.via)))
	}
	r.ok(r.box.Forward())
	return r
}

// newRouterLab makes a lab whose box masquerades towards the server.
func newRouterLab(t testing.TB) *routerLab {
	t.Helper()
	r := newPlainLab(t)
	r.ok(r.box.Masquerade("wan"))
	return r
}

func (r *routerLab) ok(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// run runs a program in a namespace and gives its output.
func (r *routerLab) run(n *netlab.Namespace, name string, args ...string) string {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := n.Run(ctx, name, args...)
	r.ok(err)
	return out
}

// plan steers everything between the lab's client and server.
func (r *routerLab) plan() Plan {
	return Plan{
		Names:   Names{StateDir: r.dir},
		LAN:     Network{Interfaces: []string{"lan"}},
		WAN:     Network{Interfaces: []string{"wan"}},
		Clauses: []Clause{{Accelerate: true}},
	}
}

// accd is a steering with a relay between its taps in place of an accelerator.
type accd struct {
	*Steering
	r       *routerLab
	stopped chan struct{} // stops the heart
	heart   sync.WaitGroup
	relay   *relay
}

// start brings the box up, lets the heart beat and relays.
func (r *routerLab) start(p Plan) *accd {
	r.t.Helper()
	a := &accd{r: r, stopped: make(chan struct{})}
	r.ok(r.box.Do(func() (err error) {
		a.Steering, err = Up(context.Background(), p, zaptest.NewLogger(r.t))
		return err
	}))
	a.relay = startRelay(a.Steering, nil)
	r.ok(r.box.Do(a.Beat))
	a.heart.Go(func() {
		err := r.box.Do(func() error {
			for {
				select {
				case <-a.stopped:
					return nil
				case <-time.After(50 * time.Millisecond):
					if err := a.Beat(); err != nil {
						return err
					}
				}
			}
		})
		if err != nil {
			r.t.Error(err)
		}
	})
	r.t.Cleanup(a.stop)
	return a
}

// hang stops heart and relay but leaves everything open, as SIGSTOP does.
func (a *accd) hang() {
	select {
	case <-a.stopped:
	default:
		close(a.stopped)
		a.heart.Wait()
		a.relay.stop()
	}
}

// kill closes everything as the death of the process does, in its order, and
// undoes nothing.
func (a *accd) kill() {
	a.hang()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.down {
		return
	}
	a.down = true
	a.flows.stop()
	a.nft.conn.CloseLasting()
	if a.ways != nil {
		a.ways.nft.conn.CloseLasting()
		a.ways.others.close()
	}
	for _, t := range a.taps {
		t.Close()
	}
	a.journal.file.Close()
}

func (a *accd) stop() {
	a.hang()
	if err := a.r.box.Do(a.Down); err != nil {
		a.r.t.Error(err)
	}
}

// relay passes frames from either tap to the other and counts what it sees.
type relay struct {
	quit    atomic.Bool
	threads sync.WaitGroup
	frames  [roles]atomic.Int64 // from each tap, with TCP in them
	direct  [roles]atomic.Int64 // of these, what took the shortcut
	icmp    [roles]atomic.Int64
	syns    [roles]atomic.Int64
	largest [roles]atomic.Int64              // bytes of a frame
	sides   [roles][sides]atomic.Int64       // by the destination MAC
	seen    func(from, queue int, ip []byte) // of every packet; nil: nobody wants to know
	last    [roles]atomic.Bool               // FINs from that tap pass as the last frames of their flows
	hurry   atomic.Bool                      // flows are to take the shortcut
}

func startRelay(s *Steering, seen func(from, queue int, ip []byte)) *relay {
	y := &relay{seen: seen}
	for from, t := range s.taps {
		for q, f := range t.Files {
			to := s.taps[1-from]
			y.threads.Go(func() { y.pump(role(from), q, f, to.Files[q], to.MAC, t.Offload) })
		}
	}
	return y
}

func (y *relay) stop() {
	y.quit.Store(true)
	y.threads.Wait()
}

func (y *relay) pump(from role, queue int, in, out *os.File, mac [6]byte, header bool) {
	skip := 0
	if header {
		skip = vnetHeaderLen
	}
	buf := make([]byte, 1<<17)
	src, dst := int(in.Fd()), int(out.Fd())
	for !y.quit.Load() {
		n, err := unix.Read(src, buf)
		if err == unix.EAGAIN {
			unix.Poll([]unix.PollFd{{Fd: int32(src), Events: unix.POLLIN}}, 20)
			continue
		}
		if err != nil {
			return
		}
		frame := buf[skip:n]
		far := [5]byte(frame[:5]) == [5]byte{0x02, 0xac, 0xcd, 0, 0}
		if frame[0]&1 != 0 {
			continue // the host's own chatter
		}
		flags := y.count(from, queue, frame, far)
		copy(frame, mac[:])
		switch {
		case flags&fin != 0 && y.last[from].Load():
			source := FarewellMAC()
			copy(frame[6:], source[:])
		case flags&(fin|syn|rst) == 0 && far && from == client && y.hurry.Load():
			source := ShortcutMAC()
			copy(frame[6:], source[:])
		}
		unix.Write(dst, buf[:n])
	}
}

// count counts a frame, which came from far through the host or direct, and gives its
// TCP flags.
func (y *relay) count(from role, queue int, frame []byte, far bool) (flags byte) {
	if far {
		y.sides[from][min(Side(frame[5]), sides-1)].Add(1)
	} else {
		y.direct[from].Add(1)
	}
	y.largest[from].Store(max(y.largest[from].Load(), int64(len(frame))))
	ip := frame[14:]
	proto, l4 := ip[9], 20
	if ip[0]>>4 == 6 {
		proto, l4 = ip[6], 40
	}
	switch proto {
	case unix.IPPROTO_TCP:
		y.frames[from].Add(1)
		if ip[l4+13]&syn != 0 {
			y.syns[from].Add(1)
		}
		flags = ip[l4+13]
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		y.icmp[from].Add(1)
	}
	if y.seen != nil {
		y.seen(int(from), queue, ip)
	}
	return flags
}

// echo serves in a namespace: it sends back what it gets, and first the address
// it sees.
func (r *routerLab) echo(n *netlab.Namespace, address string) {
	r.t.Helper()
	l, err := n.Listen("tcp", address)
	r.ok(err)
	r.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				fmt.Fprintln(c, c.RemoteAddr())
				io.Copy(c, c)
			}()
		}
	}()
}

// peer is one connection to an echo server.
type peer struct {
	net.Conn
	seen netip.AddrPort // what the server took for our address
}

func (r *routerLab) dial(n *netlab.Namespace, address string) *peer {
	r.t.Helper()
	p, err := r.tryDial(n, address, 5*time.Second)
	r.ok(err)
	return p
}

func (r *routerLab) tryDial(n *netlab.Namespace, address string, limit time.Duration) (*peer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	c, err := n.Dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	r.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(limit))
	var line []byte
	for b := make([]byte, 1); b[0] != '\n'; line = append(line, b[0]) {
		if _, err := io.ReadFull(c, b); err != nil {
			return nil, err
		}
	}
	seen, err := netip.ParseAddrPort(strings.TrimSpace(string(line)))
	return &peer{Conn: c, seen: seen}, err
}

// exchange sends n bytes and wants them back.
func (p *peer) exchange(n int, limit time.Duration) error {
	p.SetDeadline(time.Now().Add(limit))
	go func() {
		b := make([]byte, 64<<10)
		for left := n; left > 0; {
			m, err := p.Write(b[:min(left, len(b))])
			if err != nil {
				return
			}
			left -= m
		}
	}()
	_, err := io.CopyN(io.Discard, p, int64(n))
	return err
}

func (p *peer) local() netip.AddrPort  { return p.LocalAddr().(*net.TCPAddr).AddrPort() }
func (p *peer) remote() netip.AddrPort { return p.RemoteAddr().(*net.TCPAddr).AddrPort() }

// eventually waits until a condition holds.
func eventually(t testing.TB, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// snapshot is what accd may change on the box, as text.
func (r *routerLab) snapshot() string {
	r.t.Helper()
	var b strings.Builder
	for _, cmd := range [][]string{
		{"ip", "-details", "rule"}, {"ip", "-6", "-details", "rule"},
		{"ip", "route", "show", "table", "all"}, {"ip", "-6", "route", "show", "table", "all"},
		{"ip", "-o", "link"}, {"nft", "list", "ruleset"},
		{"sh", "-c", "cd /proc/sys/net && grep -r . ipv4/tcp_early_demux ipv4/conf ipv6/conf ipv4/ip_forward 2>/dev/null | grep -v stable_secret | sort"},
	} {
		b.WriteString(r.run(r.box, cmd[0], cmd[1:]...))
	}
	// What is left of an element's time changes by itself.
	return regexp.MustCompile(`expires \w+`).ReplaceAllString(b.String(), "expires")
}

// flowsOf gives how many elements a set of the box's tables has.
func (r *routerLab) flowsOf(a *accd, set string) int {
	r.t.Helper()
	nft := a.nft
	if strings.HasPrefix(set, "ways") {
		nft = a.ways.nft
	}
	nft.mu.Lock()
	defer nft.mu.Unlock()
	e, err := nft.conn.GetSetElements(nft.sets[set])
	r.ok(err)
	return len(e)
}

// copyElements puts what is in one set into another.
func (r *routerLab) copyElements(a *accd, from, to string) {
	r.t.Helper()
	a.nft.mu.Lock()
	defer a.nft.mu.Unlock()
	all, err := a.nft.conn.GetSetElements(a.nft.sets[from])
	r.ok(err)
	for _, e := range all {
		r.ok(a.nft.conn.SetAddElements(a.nft.sets[to], []nftables.SetElement{{Key: e.Key}}))
	}
	r.ok(a.nft.conn.Flush())
}
