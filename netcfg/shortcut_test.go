package netcfg

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// hurried starts a box where nobody looks and whose relay has flows take the shortcut.
func (r *routerLab) hurried(p Plan) *accd {
	a := r.start(p)
	a.relay.hurry.Store(true)
	return a
}

// Where nobody looks, packets of a known flow come to the taps directly, from both
// sides and in both families, and conntrack does not run. With the last frame the
// shortcut is over.
func TestShortcut(t *testing.T) {
	r := newPlainLab(t)
	r.echo(r.server, ":80")
	a := r.hurried(r.plan())
	for set, address := range map[string]string{"ways4": server4 + ":80", "ways6": "[" + server6 + "]:80"} {
		before := [roles]int64{a.relay.direct[client].Load(), a.relay.direct[server].Load()}
		c := r.dial(r.client, address)
		r.ok(c.exchange(1<<20, 5*time.Second))
		for x := range roles {
			if n := a.relay.direct[x].Load() - before[x]; n < 10 {
				t.Errorf("%s: %d frames took the shortcut to the %v tap, want nearly all of a megabyte", address, n, x)
			}
		}
		if n := r.flowsOf(a, set); n != 1 {
			t.Errorf("%d elements in %s, want 1", n, set)
		}
		a.relay.last[server].Store(true)
		r.ok(c.Conn.(*net.TCPConn).CloseWrite())
		r.ok(c.SetReadDeadline(time.Now().Add(5 * time.Second)))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the connection ends with %v", err)
		}
		eventually(t, 5*time.Second, "the last frame ends the shortcut", func() bool { return r.flowsOf(a, set) == 0 })
	}
	if n := a.relay.largest[server].Load(); n < 20000 {
		t.Errorf("the largest frame has %d bytes, want superpackets", n)
	}
	if n, err := r.box.SysctlValue("net/netfilter/nf_conntrack_count"); err == nil && n != "0" {
		t.Errorf("conntrack has %s entries, and nobody asks it", n)
	}

	c := r.dial(r.client, server4+":80")
	r.ok(c.exchange(10, 5*time.Second))
	if n := r.flowsOf(a, "ways4"); n != 1 {
		t.Errorf("%d ways, want 1", n)
	}
	fd, frame := r.wire(r.client, "lan")(checked(c.syn()))
	if _, err := unix.Write(fd, frame); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "a SYN ends the shortcut", func() bool { return r.flowsOf(a, "ways4") == 0 })
	a.relay.hurry.Store(true)
	r.ok(c.exchange(10, 5*time.Second))
	eventually(t, 5*time.Second, "it begins again", func() bool { return r.flowsOf(a, "ways4") == 1 })
	a.Forget(c.local(), c.remote())
	eventually(t, 5*time.Second, "Forget ends the shortcut", func() bool { return r.flowsOf(a, "ways4") == 0 })
}

// Nobody refreshes a way: when it is over, the next packet goes the long way and begins
// it anew.
func TestShortcutEnds(t *testing.T) {
	r := newPlainLab(t)
	r.echo(r.server, ":80")
	a := r.hurried(r.plan())
	c := r.dial(r.client, server4+":80")
	r.ok(c.exchange(10, 5*time.Second))
	for range 2 {
		a.ways.nft.mu.Lock()
		a.ways.nft.conn.FlushSet(a.ways.nft.sets["ways4"])
		r.ok(a.ways.nft.conn.Flush())
		a.ways.nft.mu.Unlock()
		far, direct := a.relay.sides[client][LAN].Load(), a.relay.direct[client].Load()
		r.ok(c.exchange(100<<10, 5*time.Second))
		if n := a.relay.sides[client][LAN].Load() - far; n == 0 {
			t.Error("nothing went the long way")
		}
		if n := a.relay.direct[client].Load() - direct; n == 0 {
			t.Error("nothing took the shortcut again")
		}
	}
}

// A hang ends the shortcut together with steering, and death does so at once.
func TestShortcutFails(t *testing.T) {
	r := newPlainLab(t)
	r.echo(r.server, ":80")
	before := r.snapshot()
	for _, end := range []struct {
		name string
		of   func(*accd)
	}{{"hang", (*accd).hang}, {"death", (*accd).kill}} {
		t.Run(end.name, func(t *testing.T) {
			p := r.plan()
			p.BeatTimeout = 300 * time.Millisecond
			a := r.hurried(p)
			var all []*peer
			done := make(chan error)
			for _, address := range []string{server4 + ":80", "[" + server6 + "]:80"} {
				for range 2 {
					all = append(all, r.dial(r.client, address))
				}
			}
			for _, c := range all {
				go func() { done <- c.exchange(32<<20, 20*time.Second) }()
			}
			eventually(t, 5*time.Second, "the transfers take the shortcut", func() bool {
				return a.relay.direct[client].Load() > 100 && a.relay.direct[server].Load() > 100
			})
			end.of(a)
			all = append(all, r.dial(r.client, server4+":80"))
			go func() { done <- all[len(all)-1].exchange(1000, 5*time.Second) }()
			for range all {
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
			if end.name == "hang" {
				a.stop()
			} else {
				r.ok(r.box.Do(func() error { return Cleanup(Names{StateDir: r.dir}) }))
			}
			if after := r.snapshot(); after != before {
				t.Errorf("the host is not as it was:\n%s\nnow:\n%s", before, after)
			}
		})
	}
}

// Whoever begins to look at packets sees all of them from then on, and flows go on
// through the taps, though conntrack has not seen their beginning: whichever end speaks
// first.
func TestOnlookerClosesTheShortcut(t *testing.T) {
	for _, first := range []string{"client", "server"} {
		t.Run(first+" speaks first", func(t *testing.T) {
			r := newPlainLab(t)
			r.echo(r.server, ":80")
			l, err := r.server.Listen("tcp", ":81")
			r.ok(err)
			defer l.Close()
			a := r.hurried(r.plan())
			old := r.dial(r.client, server4+":80")
			r.ok(old.exchange(1000, 5*time.Second))
			quiet, err := r.client.Dial(t.Context(), "tcp", server4+":81")
			r.ok(err)
			defer quiet.Close()
			far, err := l.Accept()
			r.ok(err)
			defer far.Close()

			r.run(r.box, "nft", "add table inet fw; add chain inet fw f { type filter hook forward priority 0; };"+
				"add rule inet fw f ct state established,related,new,untracked counter accept; add rule inet fw f counter drop")
			eventually(t, 5*time.Second, "the shortcut is closed", func() bool {
				return !strings.Contains(r.run(r.box, "nft", "list", "tables"), "netdev")
			})
			ends := []net.Conn{quiet, far}
			if first == "server" {
				ends = []net.Conn{far, quiet}
			}
			direct := [roles]int64{a.relay.direct[client].Load(), a.relay.direct[server].Load()}
			frames := [roles]int64{a.relay.frames[client].Load(), a.relay.frames[server].Load()}
			for range 3 {
				for i, from := range ends {
					to := ends[1-i]
					r.ok(to.SetReadDeadline(time.Now().Add(5 * time.Second)))
					if _, err := from.Write(make([]byte, 1000)); err != nil {
						t.Fatal(err)
					}
					if _, err := io.ReadFull(to, make([]byte, 1000)); err != nil {
						t.Fatal(err)
					}
				}
			}
			for x := range roles {
				if n := a.relay.frames[x].Load() - frames[x]; n < 3 {
					t.Errorf("%d segments from the %v tap, want all", n, x)
				}
			}
			r.ok(old.exchange(1<<20, 5*time.Second))
			for x := range roles {
				if n := a.relay.direct[x].Load() - direct[x]; n > 0 {
					t.Errorf("%d frames took the shortcut to the %v tap", n, x)
				}
			}
			fresh := r.dial(r.client, server4+":80")
			r.ok(fresh.exchange(1000, 5*time.Second))
			if n := a.relay.syns[server].Load(); n == 0 {
				t.Error("a new connection is not steered")
			}
		})
	}
}

// Interfaces come and go; strict reverse path filters keep theirs out.
func TestWhereTheShortcutBegins(t *testing.T) {
	r := newPlainLab(t)
	r.echo(r.server, ":80")
	p := r.plan()
	p.LAN.Interfaces = append(p.LAN.Interfaces, "late0", "lo") // lo is no Ethernet
	a := r.hurried(p)
	begins := func(want ...string) {
		t.Helper()
		eventually(t, 5*time.Second, fmt.Sprintf("the shortcut begins at %v", want), func() bool {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.ways.checked = time.Time{}
			return a.ways.String() == strings.Join(want, ", ")
		})
		if len(want) == 0 {
			return
		}
		out := r.run(r.box, "nft", "list", "table", "netdev", "accd")
		for _, dev := range want {
			if !strings.Contains(out, fmt.Sprintf("device %q", dev)) {
				t.Errorf("there is no chain for %s:\n%s", dev, out)
			}
		}
	}
	begins("lan", "wan")
	c := r.dial(r.client, server4+":80")
	r.ok(c.exchange(1000, 5*time.Second))
	r.run(r.box, "ip", "link", "add", "late0", "type", "veth", "peer", "name", "late1")
	begins("lan", "late0", "wan")
	r.ok(c.exchange(1000, 5*time.Second))
	r.run(r.box, "ip", "link", "del", "late0")
	begins("lan", "wan")
	direct := a.relay.direct[server].Load()
	r.ok(c.exchange(100<<10, 5*time.Second))
	if a.relay.direct[server].Load() == direct {
		t.Error("a known flow does not take the shortcut any more")
	}
	r.run(r.box, "ip", "link", "add", "br0", "type", "bridge")
	r.run(r.box, "ip", "link", "set", "lan", "master", "br0")
	begins("wan") // it is a part of another one
	r.run(r.box, "ip", "link", "set", "lan", "nomaster")
	begins("lan", "wan")

	// Strict filters of a device and of all, and a loose one, which is larger.
	r.ok(r.box.Sysctl("net.ipv4.conf.wan.rp_filter", "1"))
	begins("lan")
	r.ok(r.box.Sysctl("net.ipv4.conf.lan.rp_filter", "2"))
	r.ok(r.box.Sysctl("net.ipv4.conf.wan.rp_filter", "0"))
	r.ok(r.box.Sysctl("net.ipv4.conf.all.rp_filter", "1"))
	begins("lan")
	r.ok(r.box.Sysctl("net.ipv4.conf.lan.rp_filter", "0"))
	begins()
	r.ok(r.box.Sysctl("net.ipv4.conf.all.rp_filter", "0"))
	begins("lan", "wan")
}

// A reload that makes flows be forgotten earlier makes their ways end earlier, too: what
// takes the shortcut does not keep a flow among those that are steered.
func TestShortcutEndsBeforeSteering(t *testing.T) {
	r := newPlainLab(t)
	r.echo(r.server, ":80")
	p := r.plan()
	a := r.hurried(p)
	ends := func(want string) {
		t.Helper()
		eventually(t, 5*time.Second, "ways end after "+want, func() bool {
			out := r.run(r.box, "nft", "list", "chain", "netdev", "accd", "from_server_tap")
			return strings.Count(out, "timeout "+want+" }") == len(families)
		})
	}
	ends("30s")
	p.FlowTimeout = time.Second
	r.ok(a.Reload(p))
	ends("500ms")
	c := r.dial(r.client, server4+":80")
	direct := a.relay.direct[server].Load()
	for end := time.Now().Add(2 * p.FlowTimeout); time.Now().Before(end); {
		r.ok(c.exchange(1000, 5*time.Second))
		if r.flowsOf(a, "flows4") != 1 {
			t.Fatal("a flow that is busy is forgotten")
		}
	}
	if n := a.relay.direct[server].Load() - direct; n < 100 {
		t.Errorf("%d frames took the shortcut, want nearly all", n)
	}
}

// Where the shortcut cannot be closed for somebody who looks at packets, the heart stands
// still until it can.
func TestClosingIsTriedAgain(t *testing.T) {
	r := newPlainLab(t)
	a := r.start(r.plan())
	a.hang()
	r.run(r.box, "nft", "add table inet fw; add chain inet fw f { type filter hook forward priority 0; }")
	a.nft.table.Name = "gone"
	for range 2 {
		if err := r.box.Do(a.Beat); err == nil {
			t.Error("a beat, though the table is not as it should be")
		}
	}
	a.nft.table.Name = "accd"
	r.ok(r.box.Do(a.Beat))
	if a.track != joined {
		t.Error("it is closed again with every beat")
	}
	out := r.run(r.box, "nft", "list", "tables") + r.run(r.box, "nft", "list", "table", "inet", "accd")
	if strings.Contains(out, "netdev") || !strings.Contains(out, "chain tracked") {
		t.Errorf("somebody looks, and there is\n%s", out)
	}
}

// Where others can flush our tables, the shortcut is made anew.
func TestShortcutIsRestored(t *testing.T) {
	r := newPlainLab(t)
	p := r.plan()
	p.NoOwner = true
	a := r.start(p)
	whole := func() bool {
		whole, err := a.ways.nft.whole()
		r.ok(err)
		return whole
	}
	for _, harm := range []string{"delete table netdev accd", "flush table netdev accd"} {
		if !whole() {
			t.Fatal("the table is not whole")
		}
		a.mu.Lock() // so that no beat comes in between
		r.run(r.box, "nft", strings.Fields(harm)...)
		if whole() {
			t.Errorf("%s: the table is whole", harm)
		}
		a.mu.Unlock()
		eventually(t, 5*time.Second, harm+": the shortcut is made anew", whole)
	}
}

// When the process dies, what steers ends before the taps do: the kernel closes
// descriptors from the last to the first.
func TestSteeringEndsBeforeTheTaps(t *testing.T) {
	r := newPlainLab(t)
	a := r.start(r.plan())
	raw, err := a.ways.nft.socket.SyscallConn()
	r.ok(err)
	var table uintptr
	r.ok(raw.Control(func(fd uintptr) { table = fd }))
	for _, tap := range a.taps {
		for _, f := range tap.Files {
			r.ok(control(f, func(fd int) error {
				if fd > int(table) {
					t.Errorf("tap %s has descriptor %d, the table that leads to it %d", tap.Name, fd, table)
				}
				return nil
			}))
		}
	}
}

// Doctor says how packets come to accd.
func TestDoctorKnowsTheShortcut(t *testing.T) {
	for _, x := range []struct {
		name  string
		lab   func(testing.TB) *routerLab
		plan  func(*Plan)
		found string
	}{
		{"plain", newPlainLab, func(*Plan) {}, "from lan, wan"},
		{"NAT", newRouterLab, func(*Plan) {}, "somebody looks"},
		{"off", newPlainLab, func(p *Plan) { p.NoShortcut = true }, "off"},
		{"no interface", newPlainLab, func(p *Plan) { p.LAN.Interfaces, p.WAN.Interfaces = nil, nil }, "no interface"},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := x.lab(t)
			p := r.plan()
			x.plan(&p)
			before := r.snapshot()
			r.ok(r.box.Do(func() error {
				checks := Doctor(p)
				i := slices.IndexFunc(checks, func(c Check) bool { return c.Name == "shortcut" })
				if c := checks[i]; c.Status != OK || !strings.Contains(c.Found, x.found) {
					t.Errorf("%+v, want %q", c, x.found)
				}
				return nil
			}))
			if after := r.snapshot(); after != before {
				t.Errorf("doctor has changed the host:\n%s\nnow:\n%s", before, after)
			}
		})
	}
}

// What is not the interface's own, has a tag, is a fragment, or opens a connection does not take the shortcut, though its addresses and ports are those of a flow.
func TestShortcutIsNarrow(t *testing.T) {
	r := newPlainLab(t)
	r.echo(r.server, ":80")
	a := r.hurried(r.plan())
	last := a.last()
	a.relay.hurry.Store(true)
	c := r.dial(r.client, server4+":80")
	r.ok(c.exchange(1000, 5*time.Second))
	fd, frame := r.wire(r.client, "lan")(checked(last(client)))
	frame[14+8] = 64
	const odd, even = 0xbad1, 0x600e // identifications
	var direct [2]atomic.Int64       // of each, with hops that no router has counted
	a.relay.stop()
	a.relay = startRelay(a.Steering, func(from, _ int, ip []byte) {
		if ip[0] == 0 {
			ip = ip[4:] // behind a tag
		}
		if id := int(binary.BigEndian.Uint16(ip[4:])); ip[0]>>4 == 4 && ip[8] != 63 && (id == odd || id == even) {
			direct[id&1].Add(1)
		}
	})
	a.relay.hurry.Store(true)
	write := func(frame []byte, id uint16) {
		t.Helper()
		// Of a frame with a tag the header is further on; nobody looks at its checksum.
		if frame[12] == 8 {
			binary.BigEndian.PutUint16(frame[14+4:], id)
			frame[14+10], frame[14+11] = 0, 0
			binary.BigEndian.PutUint16(frame[14+10:], headerChecksum(frame[14:14+4*int(frame[14]&15)]))
		}
		if _, err := unix.Write(fd, frame); err != nil {
			t.Fatal(err)
		}
	}
	edit := func(at int, value byte) []byte {
		f := append([]byte(nil), frame...)
		f[at] = value
		return append(f[:14], checked(f[14:])...)
	}
	tagged := append(append(append([]byte(nil), frame[:12]...), 0x81, 0, 0, 7), edit(14+4, odd>>8)[12:]...)
	tagged[18+5] = odd & 0xff
	options := append(append([]byte(nil), frame[:14+20]...), 1, 1, 1, 0)
	options = append(options, frame[14+20:]...)
	options[14], options[14+3] = 0x46, options[14+3]+4
	for _, x := range []struct {
		name  string
		frame []byte
	}{
		{"IP options", options},
		{"with its last hop", edit(14+8, 1)},
		{"of another address", edit(5, frame[5]^1)},
		{"a fragment", edit(14+6, 0x20)},
		{"SYN", edit(14+20+13, syn)},
		{"SYN, ACK", edit(14+20+13, syn|ack)},
		{"of another port", edit(14+20, frame[14+20]^1)},
		{"tagged", tagged},
		{"a runt", append([]byte(nil), frame[:14+20]...)},
	} {
		direct[even&1].Store(0)
		write(x.frame, odd)
		// One behind it shows that it has been looked at.
		eventually(t, 5*time.Second, x.name+": a frame behind it takes the shortcut", func() bool {
			write(frame, even)
			return direct[even&1].Load() > 0
		})
		if direct[odd&1].Load() > 0 {
			t.Errorf("%s took the shortcut", x.name)
			direct[odd&1].Store(0)
		}
	}
}

// A host with NAT, or whatever else looks at packets, has no shortcut; nor has one that
// does not want it.
func TestNoShortcut(t *testing.T) {
	for _, x := range []struct {
		name     string
		lab      func(testing.TB) *routerLab
		unwanted bool
	}{{"NAT", newRouterLab, false}, {"unwanted", newPlainLab, true}} {
		t.Run(x.name, func(t *testing.T) {
			r := x.lab(t)
			r.echo(r.server, ":80")
			p := r.plan()
			p.NoShortcut = x.unwanted
			a := r.hurried(p)
			c := r.dial(r.client, server4+":80")
			r.ok(c.exchange(1<<20, 5*time.Second))
			if n := a.relay.direct[client].Load() + a.relay.direct[server].Load(); n > 0 {
				t.Errorf("%d frames took the shortcut", n)
			}
			if n := a.relay.frames[server].Load(); n < 15 {
				t.Errorf("%d segments from the server tap, want all of a megabyte", n)
			}
		})
	}
}

// A SYN that is forged in the server's name makes no client of it: everything goes on as it was.
func TestServersSYN(t *testing.T) {
	r := newPlainLab(t)
	r.echo(r.server, ":80")
	a := r.hurried(r.plan())
	c := r.dial(r.client, server4+":80")
	r.ok(c.exchange(1000, 5*time.Second))
	ip := c.syn()
	copy(ip[12:], slices.Concat(ip[16:20], ip[12:16], ip[22:24], ip[20:22]))
	fd, frame := r.wire(r.server, "wan")(checked(ip))
	before := a.relay.syns[server].Load()
	if _, err := unix.Write(fd, frame); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "the SYN comes from the server's side", func() bool { return a.relay.syns[server].Load() > before })
	before = a.relay.frames[server].Load()
	r.ok(c.exchange(100<<10, 5*time.Second))
	if n := r.flowsOf(a, "flows4"); n != 1 {
		t.Errorf("%d flows, want the one that there is", n)
	}
	if a.relay.frames[server].Load() == before {
		t.Error("what the server says does not come to its tap")
	}
}

// Errors of a server's side about a connection that conntrack takes for one of the server,
// which spoke first when somebody had begun to look, go to the server tap.
func TestErrorsAboutJoinedFlows(t *testing.T) {
	r := newPlainLab(t)
	l, err := r.server.Listen("tcp", ":81")
	r.ok(err)
	defer l.Close()
	a := r.hurried(r.plan())
	c, err := r.client.Dial(t.Context(), "tcp", server4+":81")
	r.ok(err)
	defer c.Close()
	far, err := l.Accept()
	r.ok(err)
	defer far.Close()
	r.run(r.box, "nft", "add table inet fw; add chain inet fw f { type filter hook forward priority 0; }; add rule inet fw f ct state new counter")
	eventually(t, 5*time.Second, "the shortcut is closed", func() bool {
		return !strings.Contains(r.run(r.box, "nft", "list", "tables"), "netdev")
	})
	r.ok(c.SetReadDeadline(time.Now().Add(5 * time.Second)))
	if _, err := far.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	r.run(r.server, "nft", "add table ip moved; add chain ip moved in { type filter hook input priority 0; }; add rule ip moved in tcp dport 81 reject with icmp type host-unreachable")
	if _, err := c.Write([]byte("anybody there?")); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Second, "the server tap gives the error", func() bool { return a.relay.icmp[server].Load() > 0 })
}
