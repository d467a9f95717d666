package e2e

import (
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"time"

	"accd/lab"
	"accd/netcfg/netlab"
)

// speakECN makes the kernels of both ends ask for ECN.
func (n *network) speakECN() {
	n.t.Helper()
	for _, ns := range []*netlab.Namespace{n.client, n.server} {
		must(n.t, ns.Sysctl("net.ipv4.tcp_ecn", "1"))
	}
}

// Kernels that speak ECN do so through accd, one leg at a time: over a link that
// marks instead of dropping, the server gets ECT from accd and hears CWR of its
// echoes, and its own marked data is echoed by accd. Nothing is lost.
func TestECN(t *testing.T) {
	t.Run("relayed", func(t *testing.T) { testECN(t, config{}) })
	t.Run("split", func(t *testing.T) { testECN(t, splitting) })
}

func testECN(t *testing.T, how config) {
	n := newNetwork(t, shape{emulated: true})
	n.impair(lab.Path{Rate: 200e6, Delay: 5 * time.Millisecond, Queue: 4 * mib, MarkAbove: 60 * kib, Seed: 1})
	n.speakECN()
	d := n.startAccd(how)
	// What the router behind the link sees of accd's leg.
	nft(t, n.wan, `table inet seen {
		counter ect { }
		counter ce { }
		counter cwr { }
		counter ece { }
		chain forward { type filter hook forward priority 0;
			iifname "eth0" tcp flags & syn == 0 ip ecn ect0 counter name ect
			iifname "eth0" tcp flags & syn == 0 ip6 ecn ect0 counter name ect
			iifname "eth0" tcp flags & syn == 0 ip ecn ce counter name ce
			iifname "eth0" tcp flags & syn == 0 ip6 ecn ce counter name ce
			iifname "eth0" tcp flags & (syn | cwr) == cwr counter name cwr
			iifname "eth0" tcp flags & (syn | ecn) == ecn counter name ece
		}
	}`)
	for _, f := range families {
		for _, c := range []struct {
			name     string
			up, down int64
		}{{"upload", 32 * mib, 0}, {"download", 0, 32 * mib}} {
			t.Run(f.name+"/"+c.name, func(t *testing.T) {
				before := n.seen(t)
				delivered := nstat(t, n.server, "TcpExtTCPDeliveredCE")
				client, server := n.connect(f)
				begin := time.Now()
				d.inCustody(t, c.up, c.down, func() error { return exchange(client, server, c.up, c.down) })
				t.Logf("%.1f Mbit/s", float64(c.up+c.down)*8/1e6/time.Since(begin).Seconds())
				after := n.seen(t)
				told := nstat(t, n.server, "TcpExtTCPDeliveredCE") - delivered
				count := func(name string) int { return after[name] - before[name] }
				t.Logf("from accd: %d ECT, %d CE, %d CWR, %d ECE; the server was told of %d marks", count("ect"), count("ce"), count("cwr"), count("ece"), told)
				if c.up > 0 && (count("ect") == 0 || count("ce") == 0 || count("cwr") == 0) {
					t.Error("accd's data is not ECN-capable, or its echoes are not answered")
				}
				if c.down > 0 && (count("ece") == 0 || told == 0) {
					t.Error("accd does not echo the marks of what it takes")
				}
				if up, down := n.cable.Stats(); up.QueueFull+down.QueueFull > 0 || up.Marked+down.Marked == 0 {
					t.Errorf("%d segments were dropped, %d marked; want marks only", up.QueueFull+down.QueueFull, up.Marked+down.Marked)
				}
			})
		}
	}
}

// A path behind accd that drops ECN-capable packets, but not the handshake that
// agrees on them: accd finds out, and the transfer goes on without.
func TestECTDropped(t *testing.T) {
	n := newNetwork(t, shape{emulated: true})
	n.impair(lab.Path{Rate: 200e6, Delay: 5 * time.Millisecond, Seed: 1})
	n.speakECN()
	d := n.startAccd(config{})
	nft(t, n.wan, `table inet hostile {
		counter ect { }
		chain forward { type filter hook forward priority 0;
			iifname "eth0" ip ecn != not-ect counter name ect drop
			iifname "eth0" ip6 ecn != not-ect counter name ect drop
		}
	}`)
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			client, server := n.connect(f)
			begin := time.Now()
			d.inCustody(t, 16*mib, 0, func() error { return exchange(client, server, 16*mib, 0) })
			took := time.Since(begin)
			t.Logf("%.1f Mbit/s", 16*mib*8/1e6/took.Seconds())
			if took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
	if c := counters(t, n.wan, "hostile"); c["ect"] == 0 {
		t.Error("no ECN-capable packet was dropped: this shows nothing")
	}
}

// seen gives the counters of the router.
func (n *network) seen(t *testing.T) map[string]int { return counters(t, n.wan, "seen") }

var counterLine = regexp.MustCompile(`counter (\w+) \{\s+packets (\d+)`)

// counters gives the packets that the named counters of an nft table have counted.
func counters(t *testing.T, ns *netlab.Namespace, table string) map[string]int {
	t.Helper()
	all := map[string]int{}
	for _, m := range counterLine.FindAllStringSubmatch(sh(t, ns, "nft list counters table inet "+table), -1) {
		all[m[1]], _ = strconv.Atoi(m[2])
	}
	return all
}

// nstat gives a counter of a namespace's kernel.
func nstat(t *testing.T, ns *netlab.Namespace, name string) (n int) {
	t.Helper()
	out := sh(t, ns, "nstat -asz "+name)
	for _, m := range regexp.MustCompile(name+`\s+(\d+)`).FindAllStringSubmatch(out, -1) {
		if _, err := fmt.Sscan(m[1], &n); err != nil {
			t.Fatal(err)
		}
	}
	return n
}
