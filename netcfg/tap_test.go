package netcfg

import (
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestOpenTap(t *testing.T) {
	r := newRouterLab(t)
	for _, plain := range []bool{false, true} {
		err := r.box.Do(func() error {
			tap, err := OpenTap(TapOptions{Name: "tap7", Queues: 3, MTU: 9000, Plain: plain})
			if err != nil {
				return err
			}
			defer tap.Close()
			if len(tap.Files) != 3 || tap.Offload == plain || tap.MTU != 9000 || tap.MAC == [6]byte{} {
				t.Errorf("plain %t: got %+v", plain, tap)
			}
			own, err := tap.Duplicate()
			if err != nil {
				return err
			}
			for _, f := range own {
				defer f.Close()
			}
			for _, f := range slices.Concat(tap.Files, own) {
				if f.SetDeadline(time.Now()) == nil {
					t.Error("a file is watched by Go's poller")
				}
				if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
					t.Errorf("descriptor flags %#x, %v: want close-on-exec", flags, err)
				}
				if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
					t.Errorf("file flags %#x, %v: want non-blocking", flags, err)
				}
				if _, err := unix.Read(int(f.Fd()), make([]byte, 100)); err != unix.EAGAIN && err != unix.EIO {
					t.Errorf("read of a tap that is down: %v", err)
				}
			}
			link, err := netlink.LinkByName("tap7")
			if err != nil {
				return err
			}
			dev := link.(*netlink.Tuntap)
			if dev.Queues != 3 || dev.DisabledQueues != 0 || !dev.NonPersist || dev.MTU != 9000 {
				t.Errorf("plain %t: the kernel has %d queues (%d off), non-persistent %t, MTU %d", plain, dev.Queues, dev.DisabledQueues, dev.NonPersist, dev.MTU)
			}
			if _, err := OpenTap(TapOptions{Name: "tap7"}); err == nil {
				t.Error("a name that is taken was taken again")
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		// Closed, it is gone.
		r.ok(r.box.Do(func() error {
			if _, err := netlink.LinkByName("tap7"); err == nil {
				t.Error("a closed tap is still there")
			}
			return nil
		}))
	}
	if _, err := OpenTap(TapOptions{Name: "a-name-too-long-for-linux"}); err == nil {
		t.Error("a name of 25 bytes was accepted")
	}
	if _, err := OpenTap(TapOptions{Name: "x", Queues: 256}); err == nil {
		t.Error("256 queues were accepted")
	}
}

// Without virtio-net headers all works the same, one MTU at a time.
func TestPlainTaps(t *testing.T) {
	r := newRouterLab(t)
	r.echo(r.server, ":80")
	p := r.plan()
	p.Plain = true
	a := r.start(p)
	for _, addr := range []string{server4 + ":80", "[" + server6 + "]:80"} {
		if err := r.dial(r.client, addr).exchange(1<<20, 5*time.Second); err != nil {
			t.Error(err)
		}
	}
	if n := a.relay.largest[client].Load(); n == 0 || n > MaxTapMTU+14 {
		t.Errorf("the largest frame has %d bytes", n)
	}
}

// What is put into the kernel is what the text says: nft lists the same tables when it
// reads the text.
func TestTextIsTheTable(t *testing.T) {
	r := newRouterLab(t)
	two := prefixes("10.0.0.1/32", "10.2.0.0/15", "fd00::/16", "fd02::/32")
	two4, two6 := two[:2], two[2:]
	// nft writes a set of one range without its braces, so each has two.
	ports := []PortRange{{22, 22}, {1000, 2000}}
	// Two devices that are there stand for the taps.
	var devices []arrival
	r.ok(r.box.Do(func() error {
		for i, name := range []string{"lan", "wan"} {
			dev, err := net.InterfaceByName(name)
			if err != nil {
				return err
			}
			devices = append(devices, arrival{name, dev.Index, LAN + Side(i)})
		}
		return nil
	}))
	taps := [roles]int{devices[0].index, devices[1].index}
	for _, block := range []bool{false, true} {
		p := Plan{
			Names: Names{ClientTap: "lan", ServerTap: "wan"},
			LAN:   Network{Interfaces: []string{"eth0"}}, WAN: Network{Interfaces: []string{"eth1"}}, Block: block,
			Clauses: []Clause{
				{Accelerate: true, From: two4, NotTo: two4, Ports: ports, In: []string{"eth0", "eth1"}, DSCP: []uint8{10, 46}},
				{From: two, To: two, NotFrom: two, NotTo: two},
				{Accelerate: true, From: two6},
			},
		}.withDefaults()
		for name, rs := range map[string]*ruleset{
			"tracked":   steering(&p, taps, families, tracked),
			"untracked": steering(&p, taps, families, untracked),
			"joined":    steering(&p, taps, families, joined),
			"shortcut":  shortcut(&p, devices, taps, families),
		} {
			rs.withoutRawKeys()
			rs.withImplied()
			r.run(r.box, "nft", "flush", "ruleset")
			r.ok(r.box.Do(func() error {
				n, err := openTable(rs.family, rs.table, false)
				if err != nil {
					return err
				}
				defer n.conn.CloseLasting()
				return n.install(rs)
			}))
			ours := r.run(r.box, "nft", "list", "ruleset")
			r.run(r.box, "nft", "flush", "ruleset")
			file := t.TempDir() + "/table.nft"
			r.ok(os.WriteFile(file, []byte(rs.String()), 0o644))
			r.run(r.box, "nft", "-f", file)
			if d := cmp.Diff(strings.Split(r.run(r.box, "nft", "list", "ruleset"), "\n"), strings.Split(ours, "\n")); d != "" {
				t.Errorf("%s, block %t (- text, + installed):\n%s", name, block, d)
			}
		}
	}
}

// withoutRawKeys takes out what nft cannot read: keys made of raw bytes are the one
// thing that its language has no type for. Nobody owns the table then.
func (r *ruleset) withoutRawKeys() {
	r.owner, r.filled = false, nil
	r.chains = slices.DeleteFunc(r.chains, func(c chain) bool { return strings.Contains(c.name, "quoted") })
	for _, c := range r.chains {
		for i, x := range c.rules {
			if strings.Contains(x[len(x)-1].text, "quoted") {
				c.rules[i] = rule{accept()}
			}
		}
	}
}

// withImplied says what nft implies with a part of a rule and ours, at a hook of family
// netdev, does not ask again.
func (r *ruleset) withImplied() {
	if r.family != nftables.TableFamilyNetdev {
		return
	}
	for _, c := range r.chains {
		for i, x := range c.rules {
			var all rule
			for _, p := range x {
				implies := func(what ...part) {
					for _, w := range what {
						if !slices.ContainsFunc(all, func(p part) bool { return reflect.DeepEqual(p.exprs, w.exprs) }) {
							all = append(all, silent(w))
						}
					}
				}
				for _, f := range families {
					if strings.Contains(p.text, f.ip+" saddr") {
						implies(f.here())
					}
				}
				if strings.Contains(p.text, "tcp ") {
					implies(tcp())
				}
				all = append(all, p)
			}
			c.rules[i] = all
		}
	}
}
