package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"accd/tcpstack/wire"
	"accd/terminator/link"
)

// What no honest endpoint sends is counted by its own reason, and passes as it is or
// ends in the kernel; accd answers none of it, follows none of it, and honest
// connections, that whose addresses it forges too, do not notice (RFC 9293, MUST-7,
// MUST-46, MUST-57, MUST-63; RFC 1122, 3.2.1.3).
func TestBadInput(t *testing.T) {
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) { testBadInput(t, f) })
	}
}

func testBadInput(t *testing.T, f family) {
	n := newNetwork(t, shape{})
	d := n.startAccd(config{})
	if d == nil || *firewall {
		t.Skip("it is about accd, and a firewall drops some of it")
	}
	nft(t, n.wan, fmt.Sprintf(`table inet sink {
		counter bad { }
		chain forward {
			type filter hook forward priority 0
			iifname "eth0" ip dscp %[1]d counter name bad drop
			iifname "eth0" ip6 dscp %[1]d counter name bad drop
		}
	}`, badDSCP))
	// The client's kernel knows nothing of what is forged in its name.
	nft(t, n.client, fmt.Sprintf(`table inet deaf {
		chain input { type filter hook input priority 0; ip dscp %[1]d drop; ip6 dscp %[1]d drop; }
	}`, badDSCP))
	lan, wan := n.forger(n.client, n.box, boxLAN), n.forger(n.server, n.wan, "eth1")

	// One connection moves data all the time; the other is idle while its addresses
	// are forged.
	busy, busyPeer := n.connect(f)
	idle, idlePeer := n.connect(f)
	move := func() error {
		return together(func() error { return send(idle, 0, mib) }, func() error { return receive(idlePeer, 0, mib) })
	}
	must(t, move())
	// Behind this byte nothing comes from the server but what acknowledges it there.
	must(t, send(idlePeer, 0, 1))
	must(t, receive(idle, 0, 1))
	one, other := idle.LocalAddr().String(), idlePeer.LocalAddr().String()
	if !await(patience, func() bool {
		return tcpInfo(idle).Unacked == 0 && tcpInfo(idlePeer).Unacked == 0 && slices.ContainsFunc(d.flows(), func(x flow) bool {
			return x.Client == one && x.State == "wire"
		})
	}) {
		t.Fatal("the idle connection does not come to rest")
	}
	beside := make(chan error, 1)
	go func() { beside <- exchange(busy, busyPeer, 512*mib, 256*mib) }()

	forwarded := 0
	var seen *link.Sniffer
	must(t, n.client.Do(func() (err error) {
		seen, err = link.OpenSniffer(6 * time.Second)
		return err
	}))
	defer seen.Close()

	const flood = 3
	at := func(a netip.Addr, port uint16) string { return netip.AddrPortFrom(a, port).String() }
	server := at(f.server, 9)
	victims := make(map[string]bool) // in whose names the lan forges: an answer goes there
	known := func(p forged) []step {
		p.src, p.dst = one, other
		return []step{{lan, p}}
	}
	syn := func(from, to string, options ...byte) []step {
		return []step{{lan, forged{src: from, dst: to, seq: 1000, flags: wire.SYN, options: options}}}
	}
	mine := func(port uint16, options ...byte) []step { return syn(at(f.client, port), server, options...) }
	// A whole handshake, both ends of which are forged.
	opens := func(port uint16, options ...byte) []step {
		from := at(f.client, port)
		return append(mine(port, options...),
			step{wan, forged{src: server, dst: from, seq: 5000, ack: 1001, flags: wire.SYN | wire.ACK}},
			step{lan, forged{src: from, dst: server, seq: 1001, ack: 5001, flags: wire.ACK}})
	}
	zero, cut := []byte{8, 0, 1, 1}, []byte{1, 1, 8, 10}
	type bad struct {
		name    string
		packets []step
		reason  string // "": accd does not see it
		native  bool   // and the kernel of the box forwards it
	}
	cases := []bad{
		{"SYN with an option of length 0", mine(2001, 2, 0, 5, 0xb4), "opening", false},
		{"SYN with an option of length 1", mine(2002, 2, 1, 5, 0xb4), "opening", false},
		{"SYN with an option past the end", mine(2003, 1, 1, 2, 40), "opening", false},
		{"SYN with a bad checksum", []step{{lan, forged{src: at(f.client, 2004), dst: server, seq: 1, flags: wire.SYN, badChecksum: true}}}, "bad-checksum", false},
		{"handshake with an option of length 0", opens(2020, 2, 0, 5, 0xb4), "syn-options", false},
		{"handshake with an MSS of length 3", opens(2021, 2, 3, 5, 1), "syn-options", false},
		{"handshake with an MSS of 1", opens(2022, 2, 4, 0, 1), "tiny-mss", false},
		{"handshake with an MSS of 47", opens(2023, 2, 4, 0, 47), "tiny-mss", false},
		{"land", syn(server, server), "land", false},
		{"land, another port", syn(at(f.server, 10), server), "land", false},
		{"no flags", known(forged{}), "unbelieved", false},
		{"SYN and FIN", known(forged{flags: wire.SYN | wire.FIN}), "opening", false},
		{"all flags", known(forged{flags: 0xff}), "no-flow", false},
		{"data with an option of length 0", known(forged{flags: wire.ACK, options: zero, payload: 100}), "unbelieved", false},
		{"data with an option past the end", known(forged{flags: wire.ACK, options: cut, payload: 100}), "unbelieved", false},
		{"FIN with an option of length 0", known(forged{flags: wire.ACK | wire.FIN, options: zero}), "unbelieved", false},
		{"data with a bad checksum", known(forged{flags: wire.ACK, payload: 100, badChecksum: true}), "bad-checksum", false},
		{"RST with a bad checksum", known(forged{flags: wire.RST, badChecksum: true}), "bad-checksum", false},
		{"IP options", known(forged{flags: wire.ACK, ipOptions: true, payload: 100}), "ip-options", false},
		// Nobody has conntrack put fragments together on this box.
		{"overlapping fragments", append(known(forged{flags: wire.ACK, payload: 100, more: 1}), known(forged{fragment: 64, payload: 100})...), "", true},
	}
	if f.client.Is4() {
		cases = append(cases,
			bad{"from multicast", syn("224.0.0.5:2005", server), "", false},
			bad{"from broadcast", syn("255.255.255.255:2006", server), "", false},
			bad{"from nobody", syn("0.0.0.0:2007", server), "", false},
			bad{"from loopback", syn("127.0.0.1:2008", server), "", false},
			bad{"from a reserved address", syn("240.0.0.1:2009", server), "not-unicast", false},
			bad{"to multicast", syn(at(f.client, 2010), "224.0.0.5:9"), "", false},
			bad{"to broadcast", syn(at(f.client, 2011), "255.255.255.255:9"), "", false})
	} else {
		cases = append(cases,
			bad{"from multicast", syn("[ff0e::5]:2005", server), "", false},
			bad{"from nobody", syn("[::]:2007", server), "", false},
			bad{"from loopback", syn("[::1]:2008", server), "", false},
			bad{"to multicast", syn(at(f.client, 2010), "[ff0e::5]:9"), "", false})
	}
	for _, c := range cases {
		before, passed := d.status().Terminator, counters(t, n.wan, "sink")["bad"]
		times := flood
		if c.packets[len(c.packets)-1].ack != 0 {
			times = 1 // a handshake
		}
		for range times {
			for i, p := range c.packets {
				if p.by == lan {
					victims[p.src] = true
				}
				p.by.send(t, p.forged)
				if i+1 < len(c.packets) && c.reason != "" && !await(patience, func() bool {
					return d.status().Terminator.Passed["opening"] > before.Passed["opening"]+int64(i)
				}) {
					t.Fatalf("%s: packet %d did not reach accd", c.name, i)
				}
			}
		}
		if c.native {
			forwarded += times * len(c.packets)
		}
		if c.reason == "" {
			continue // what has come behind the box of it is seen at the end
		}
		upwards := 0 // towards the server
		for _, p := range c.packets {
			if p.by == lan {
				upwards += times
			}
		}
		counted := func() int64 {
			after := d.status().Terminator
			return after.Passed[c.reason] + after.Reasons[c.reason] - before.Passed[c.reason] - before.Reasons[c.reason]
		}
		behind := func() int { return counters(t, n.wan, "sink")["bad"] - passed }
		want := int64(times)
		if !await(patience, func() bool { return counted() >= want && behind() >= upwards }) || behind() != upwards {
			t.Errorf("%s: %d counted as %s, want %d; %d behind the box, want %d", c.name, counted(), c.reason, want, behind(), upwards)
		}
		forwarded += upwards
	}
	b := make([]byte, link.MaxFrame)
	var v wire.View
	for {
		k, ok, err := seen.Next(b)
		must(t, err)
		if !ok {
			break
		}
		if v.ParseIP(b[:k]) != wire.KindTCP || v.TOS()>>2 == badDSCP {
			continue
		}
		if to := v.Tuple(); victims[to.Reverse().Source()] {
			t.Errorf("an answer, %v: % x", to, b[:min(k, 80)])
		}
	}
	if behind := counters(t, n.wan, "sink")["bad"]; behind != forwarded {
		t.Errorf("%d forged packets are behind the box, want %d: no martian", behind, forwarded)
	}
	must(t, <-beside)
	must(t, move())
}
