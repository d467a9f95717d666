package netcfg

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"accd/netcfg/netlab"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// An empty host and who looks on there.
type watchedHost struct {
	*routerLab // only its box
	o          *onlookers
}

func newWatchedHost(t testing.TB) *watchedHost {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes a network namespace")
	}
	l, err := netlab.New("onlook")
	if err != nil {
		t.Fatal(err)
	}
	h := &watchedHost{routerLab: &routerLab{t: t}}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	h.box, err = l.Add("box")
	h.ok(err)
	h.ok(h.box.Do(func() (err error) {
		h.o, err = openOnlookers(Names{})
		return err
	}))
	t.Cleanup(func() { h.ok(h.o.close()) })
	h.want("")
	return h
}

// nft changes the tables of the host.
func (h *watchedHost) nft(command string) {
	h.t.Helper()
	h.run(h.box, "nft", command)
}

// look gives who is seen.
func (h *watchedHost) look() (who string) {
	h.t.Helper()
	h.ok(h.box.Do(func() (err error) {
		who, err = h.o.look()
		return err
	}))
	return who
}

// later lets the time pass that an onlooker may be named for who is gone.
func (h *watchedHost) later() { h.o.due = time.Time{} }

// want fails unless that is who is seen now.
func (h *watchedHost) want(who string) {
	h.t.Helper()
	if got := h.look(); got != who {
		h.t.Fatalf("seen: %q, want %q", got, who)
	}
}

// Chains at every hook of every family: some see what is forwarded, others do not.
func TestOnlookersChains(t *testing.T) {
	h := newWatchedHost(t)
	for _, c := range []struct{ table, chain, hook string }{
		{"inet filter", "forward", "forward"},
		{"inet filter", "a", "prerouting"},
		{"inet filter", "a", "postrouting"},
		{"inet filter", "a", "ingress device lo"},
		{"inet filter", "a", ""},
		{"inet filter", "a", "input"},
		{"inet filter", "a", "output"},
		{"ip nat", "a", "prerouting"},
		{"ip nat", "FORWARD", "forward"},
		{"ip nat", "a", "postrouting"},
		{"ip nat", "a", "input"},
		{"ip nat", "a", "output"},
		{"ip6 x", "a", "prerouting"},
		{"ip6 x", "a", "forward"},
		{"ip6 x", "a", "postrouting"},
		{"ip6 x", "a", "input"},
		{"netdev x", "a", "ingress device lo"},
		{"netdev x", "a", "egress device lo"},
		{"bridge x", "a", "forward"},
		{"bridge x", "a", "prerouting"},
		{"arp x", "a", "input"},
		{"inet accd", "a", "prerouting"},
		{"inet accd", "a", "ingress device lo"},
		{"netdev accd", "a", "ingress device lo"},
		{"inet accd_untrack", "a", "forward"},
		{"inet accd_doctor", "a", "prerouting"},
		{"ip accd", "a", "prerouting"},
		{"inet accd2", "a", "prerouting"},
	} {
		family, table, _ := strings.Cut(c.table, " ")
		hook, _, _ := strings.Cut(c.hook, " ")
		ours := (family == "inet" || family == "netdev") && (table == "accd" || strings.HasPrefix(table, "accd_"))
		want := fmt.Sprintf("chain %s of nft table %s %s (hook %s)", c.chain, family, table, hook)
		if ours || family == "bridge" || family == "arp" || hook == "" || hook == "input" || hook == "output" {
			want = ""
		}
		base := ""
		if hook != "" {
			base = fmt.Sprintf("{ type filter hook %s priority 0; }", c.hook)
		}
		h.nft(fmt.Sprintf("add table %[1]s; add chain %[1]s %[2]s %[3]s", c.table, c.chain, base))
		if got := h.look(); got != want {
			t.Errorf("%s, chain %s %s: seen: %q, want %q", c.table, c.chain, base, got, want)
		}
		h.nft("delete table " + c.table)
		h.later()
		h.want("")
	}
}

// What appears is seen by the next look. What goes is named no longer than for
// onlookersFor, and it is not named instead of who is still there.
func TestOnlookersComeAndGo(t *testing.T) {
	h := newWatchedHost(t)
	h.nft("add table ip a; add chain ip a x { type filter hook forward priority 0; }")
	h.want("chain x of nft table ip a (hook forward)")
	h.nft("add table ip b; add chain ip b y { type filter hook forward priority 0; }; delete table ip a")
	eventually(t, 3*onlookersFor, "the other chain is named", func() bool {
		return h.look() == "chain y of nft table ip b (hook forward)"
	})
	h.nft("delete table ip b")
	eventually(t, 3*onlookersFor, "nobody is named", func() bool { return h.look() == "" })
}

// The kernel may list the chains of the generation before for an instant: the list is
// read again although the generation stays.
func TestOnlookersOfAnInstantBefore(t *testing.T) {
	h := newWatchedHost(t)
	h.nft("add table ip a; add chain ip a x { type filter hook forward priority 0; }")
	h.want("chain x of nft table ip a (hook forward)")
	h.o.chain = "" // as if it had not been listed yet
	h.want("")
	h.later()
	h.want("chain x of nft table ip a (hook forward)")
}

// A flood of changes hides nobody, though it makes lists that lack chains, and names
// nobody who is not there.
func TestOnlookersInAFlood(t *testing.T) {
	for _, x := range []struct{ name, chain, who string }{
		{"nobody", "x", ""},
		{"somebody", "x { type filter hook forward priority 0; }", "chain x of nft table ip b (hook forward)"},
	} {
		t.Run(x.name, func(t *testing.T) {
			h := newWatchedHost(t)
			// Tables are listed in the order in which they were made: those of
			// the flood come first and go, and what follows them moves.
			h.nft("add table ip a0; add table ip a1; add table ip b; add chain ip b " + x.chain)
			h.later()
			h.want(x.who)

			var conn *nftables.Conn
			h.ok(h.box.Do(func() (err error) {
				conn, err = nftables.New(nftables.AsLasting())
				return err
			}))
			defer conn.CloseLasting()
			var changes, looks int
			var over atomic.Bool
			done := make(chan error, 1)
			go func() {
				defer over.Store(true)
				done <- func() error {
					for ; changes < 1000; changes++ {
						table := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: fmt.Sprint("a", changes%2)}
						for i := range 150 {
							chain := &nftables.Chain{Table: table, Name: fmt.Sprint("chain", i)}
							if changes%4 < 2 {
								conn.AddChain(chain)
							} else {
								conn.DelChain(chain)
							}
						}
						if err := conn.Flush(); err != nil {
							return err
						}
					}
					return nil
				}()
			}()
			h.ok(h.box.Do(func() error {
				for !over.Load() {
					h.later()
					who, err := h.o.look()
					if err != nil {
						return err
					}
					if who != x.who {
						t.Errorf("look %d: seen: %q, want %q", looks, who, x.who)
					}
					looks++
				}
				return nil
			}))
			h.ok(<-done)
			t.Logf("%d changes, %d looks", changes, looks)
			if looks < 10 {
				t.Errorf("%d looks during %d changes: want more", looks, changes)
			}
		})
	}
}

func TestOnlookersLegacyIptables(t *testing.T) {
	for _, x := range []struct {
		domain, level int
		table, who    string
	}{
		{unix.AF_INET, unix.IPPROTO_IP, "nat", "legacy iptables, table nat"},
		{unix.AF_INET6, unix.IPPROTO_IPV6, "filter", "legacy ip6tables, table filter"},
	} {
		// A table stays as long as its namespace, so each has its own, and nobody
		// is there at first.
		t.Run(x.who, func(t *testing.T) {
			h := newWatchedHost(t)
			err := h.box.Do(func() error { return legacyTable(x.domain, x.level, x.table) })
			if err == unix.ENOENT || err == unix.ENOPROTOOPT {
				t.Skipf("this kernel has no %s", x.who)
			}
			h.ok(err)
			h.later()
			h.want(x.who)
		})
	}
}

// legacyTable asks for a table as legacy iptables does first, which makes it.
func legacyTable(domain, level int, table string) error {
	fd, err := unix.Socket(domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	const getInfo = 64 // IPT_SO_GET_INFO, IP6T_SO_GET_INFO
	var info [84]byte  // struct ipt_getinfo begins with the name
	copy(info[:31], table)
	size := uint32(len(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), getInfo,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func TestOnlookersIPsec(t *testing.T) {
	h := newWatchedHost(t)
	if h.o.xfrm == nil {
		t.Skip("this kernel has no IPsec")
	}
	for _, policy := range []string{
		"src 10.1.0.0/16 dst 10.2.0.0/16 dir fwd",
		"src 10.1.0.0/16 dst 10.2.0.0/16 dir out",
		"src fd00:1::/64 dst fd00:2::/64 dir in",
	} {
		ip := func(verb string) {
			h.run(h.box, "ip", append([]string{"xfrm", "policy", verb}, strings.Fields(policy)...)...)
			h.later()
		}
		ip("add")
		h.want("IPsec, policies: 1")
		ip("delete")
		h.want("")
	}

	// A socket's own policy is for what that socket sends.
	fd := -1
	h.ok(h.box.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	}))
	defer unix.Close(fd)
	const setPolicy = 17 // IP_XFRM_POLICY
	policy := nl.XfrmUserpolicyInfo{Sel: nl.XfrmSelector{Family: unix.AF_INET}, Dir: uint8(netlink.XFRM_DIR_OUT)}
	h.ok(unix.SetsockoptString(fd, unix.IPPROTO_IP, setPolicy, string(policy.Serialize())))
	h.later()
	h.want("")
}

func TestBalances(t *testing.T) {
	const titles = "IP Virtual Server version 1.2.1 (size=4096)\n" +
		"Prot LocalAddress:Port Scheduler Flags\n" +
		"  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"
	for list, want := range map[string]bool{
		"":                                 false,
		titles:                             false,
		titles + "TCP  0A000001:0050 rr\n": true,
	} {
		if got := balances(list); got != want {
			t.Errorf("services in %q: %v, want %v", list, got, want)
		}
	}
}

// BenchmarkOnlookers measures a look while nobody looks on, beside a table of ours:
// when nothing has changed, when a second has passed, and when tables have changed.
func BenchmarkOnlookers(b *testing.B) {
	for _, x := range []struct {
		name   string
		before func(o *onlookers)
	}{
		{"quiet", func(*onlookers) {}},
		{"second", func(o *onlookers) { o.due = time.Time{} }},
		{"changed", func(o *onlookers) { o.seen = 0 }},
	} {
		b.Run(x.name, func(b *testing.B) {
			h := newWatchedHost(b)
			for i := range 30 {
				h.nft(fmt.Sprintf("add table inet accd; add chain inet accd c%d { type filter hook prerouting priority 0; }", i))
			}
			h.later()
			h.want("")
			h.o.due = time.Now().Add(time.Hour)
			b.ReportAllocs()
			h.ok(h.box.Do(func() error {
				for b.Loop() {
					x.before(h.o)
					if _, err := h.o.look(); err != nil {
						return err
					}
				}
				return nil
			}))
		})
	}
}
