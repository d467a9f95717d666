package e2e

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"accd/netcfg/netlab"
	"accd/tcpstack/wire"
	"accd/terminator/link"
)

// badDSCP marks what the tests forge. The router behind the box counts and drops it,
// so no endpoint answers: what comes back is accd's.
const badDSCP = 42

// forged is an IPv4 packet that no honest endpoint sends. Its checksums are made
// right last, but for what is to be wrong.
type forged struct {
	src, dst       string // addresses and ports
	seq, ack       uint32
	flags          wire.Flags
	options        []byte // of TCP; a multiple of 4
	ipOptions      []byte // a multiple of 4
	payload        int
	badChecksum    bool
	fragment, more int // offset in bytes; 1: more follow
}

func (f forged) bytes() []byte {
	src, dst := netip.MustParseAddrPort(f.src), netip.MustParseAddrPort(f.dst)
	ip := wire.IPv4Len + len(f.ipOptions)
	n := ip + wire.TCPLen + len(f.options) + f.payload
	b := make([]byte, n)
	b[0], b[1] = 0x40|byte(ip/4), badDSCP<<2
	binary.BigEndian.PutUint16(b[2:], uint16(n))
	b[4], b[5] = 0x4d, 0x5a
	binary.BigEndian.PutUint16(b[6:], uint16(f.fragment/8|f.more<<13))
	b[8], b[9] = 64, wire.ProtoTCP
	copy(b[12:], src.Addr().AsSlice())
	copy(b[16:], dst.Addr().AsSlice())
	copy(b[20:], f.ipOptions)
	t := b[ip:]
	binary.BigEndian.PutUint16(t[0:], src.Port())
	binary.BigEndian.PutUint16(t[2:], dst.Port())
	binary.BigEndian.PutUint32(t[4:], f.seq)
	binary.BigEndian.PutUint32(t[8:], f.ack)
	binary.BigEndian.PutUint16(t[12:], uint16(5+len(f.options)/4)<<12|uint16(f.flags))
	binary.BigEndian.PutUint16(t[14:], 1000)
	copy(t[wire.TCPLen:], f.options)
	binary.BigEndian.PutUint16(t[16:], ^wire.Fold(wire.Sum(t, wire.PseudoSum(b[12:16], b[16:20], wire.ProtoTCP, len(t)))))
	if f.badChecksum {
		t[16] ^= 0x55
	}
	binary.BigEndian.PutUint16(b[10:], ^wire.Fold(wire.Sum(b[:ip], 0)))
	return b
}

// forger sends packets as they are, past the TCP and IP of its namespace.
type forger struct {
	fd int
	to unix.SockaddrLinklayer
}

// step is a forged packet and who sends it.
type step struct {
	by *forger
	forged
}

// forger gives one at the eth0 of from, to the device dev of a neighbour.
func (n *network) forger(from, neighbour *netlab.Namespace, dev string) *forger {
	n.t.Helper()
	f := &forger{to: unix.SockaddrLinklayer{Protocol: 0x0008, Halen: 6}} // IPv4, in network order
	must(n.t, neighbour.Do(func() error {
		d, err := net.InterfaceByName(dev)
		if err == nil {
			copy(f.to.Addr[:], d.HardwareAddr)
		}
		return err
	}))
	must(n.t, from.Do(func() error {
		d, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		f.to.Ifindex = d.Index
		f.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	}))
	n.t.Cleanup(func() { check(n.t, unix.Close(f.fd)) })
	return f
}

func (f *forger) send(t testing.TB, p forged) {
	t.Helper()
	must(t, unix.Sendto(f.fd, p.bytes(), 0, &f.to))
}

// What no honest endpoint sends is counted by its own reason, and passes as it is or
// ends in the kernel; accd answers none of it, follows none of it, and honest
// connections, that whose addresses it forges too, do not notice (RFC 9293, MUST-7,
// MUST-46, MUST-57, MUST-63; RFC 1122, 3.2.1.3).
func TestBadInput(t *testing.T) {
	n := newNetwork(t, shape{})
	d := n.startAccd(config{})
	if d == nil {
		t.Skip("it is about accd")
	}
	nft(t, n.wan, fmt.Sprintf(`table inet sink {
		counter bad { }
		chain forward { type filter hook forward priority 0; iifname "eth0" ip dscp %d counter name bad drop; }
	}`, badDSCP))
	// The client's kernel knows nothing of what is forged in its name.
	nft(t, n.client, fmt.Sprintf(`table inet deaf { chain input { type filter hook input priority 0; ip dscp %d drop; }; }`, badDSCP))
	lan, wan := n.forger(n.client, n.box, boxLAN), n.forger(n.server, n.wan, "eth1")

	// One connection moves data all the time; the other is idle while its addresses
	// are forged.
	v4 := families[0]
	busy, busyPeer := n.connect(v4)
	idle, idlePeer := n.connect(v4)
	move := func() error {
		return together(func() error { return send(idle, 0, mib) }, func() error { return receive(idlePeer, 0, mib) })
	}
	must(t, move())
	beside := make(chan error, 1)
	go func() { beside <- exchange(busy, busyPeer, 512*mib, 256*mib) }()

	forwarded := 0
	var seen *link.Sniffer
	must(t, n.client.Do(func() (err error) {
		seen, err = link.OpenSniffer(6 * time.Second)
		return err
	}))
	defer seen.Close()

	const server, flood = "203.0.113.2:9", 3
	one, other := idle.LocalAddr().String(), idlePeer.LocalAddr().String()
	known := func(f forged) []step {
		f.src, f.dst = one, other
		return []step{{lan, f}}
	}
	syn := func(from, to string, options ...byte) []step {
		return []step{{lan, forged{src: from, dst: to, seq: 1000, flags: wire.SYN, options: options}}}
	}
	// A whole handshake, both ends of which are forged.
	opens := func(from string, options ...byte) []step {
		return append(syn(from, server, options...),
			step{wan, forged{src: server, dst: from, seq: 5000, ack: 1001, flags: wire.SYN | wire.ACK}},
			step{lan, forged{src: from, dst: server, seq: 1001, ack: 5001, flags: wire.ACK}})
	}
	zero, cut := []byte{8, 0, 1, 1}, []byte{1, 1, 8, 10}
	for _, c := range []struct {
		name    string
		packets []step
		reason  string // "": the kernel of the box does not forward it
	}{
		{"SYN with an option of length 0", syn("10.1.0.2:2001", server, 2, 0, 5, 0xb4), "opening"},
		{"SYN with an option of length 1", syn("10.1.0.2:2002", server, 2, 1, 5, 0xb4), "opening"},
		{"SYN with an option past the end", syn("10.1.0.2:2003", server, 1, 1, 2, 40), "opening"},
		{"SYN with a bad checksum", []step{{lan, forged{src: "10.1.0.2:2004", dst: server, seq: 1, flags: wire.SYN, badChecksum: true}}}, "bad-checksum"},
		{"handshake with an option of length 0", opens("10.1.0.2:2020", 2, 0, 5, 0xb4), "syn-options"},
		{"handshake with an MSS of length 3", opens("10.1.0.2:2021", 2, 3, 5, 1), "syn-options"},
		{"handshake with an MSS of 1", opens("10.1.0.2:2022", 2, 4, 0, 1), "tiny-mss"},
		{"handshake with an MSS of 47", opens("10.1.0.2:2023", 2, 4, 0, 47), "tiny-mss"},
		{"land", syn(server, server), "land"},
		{"land, another port", syn("203.0.113.2:10", server), "land"},
		{"from multicast", syn("224.0.0.5:2005", server), ""},
		{"from broadcast", syn("255.255.255.255:2006", server), ""},
		{"from nobody", syn("0.0.0.0:2007", server), ""},
		{"from loopback", syn("127.0.0.1:2008", server), ""},
		{"from a reserved address", syn("240.0.0.1:2009", server), "not-unicast"},
		{"to multicast", syn("10.1.0.2:2010", "224.0.0.5:9"), ""},
		{"to broadcast", syn("10.1.0.2:2011", "255.255.255.255:9"), ""},
		{"no flags", known(forged{}), "unbelieved"},
		{"SYN and FIN", known(forged{flags: wire.SYN | wire.FIN}), "opening"},
		{"all flags", known(forged{flags: 0xff}), "no-flow"},
		{"data with an option of length 0", known(forged{flags: wire.ACK, options: zero, payload: 100}), "unbelieved"},
		{"data with an option past the end", known(forged{flags: wire.ACK, options: cut, payload: 100}), "unbelieved"},
		{"FIN with an option of length 0", known(forged{flags: wire.ACK | wire.FIN, options: zero}), "unbelieved"},
		{"data with a bad checksum", known(forged{flags: wire.ACK, payload: 100, badChecksum: true}), "bad-checksum"},
		{"RST with a bad checksum", known(forged{flags: wire.RST, badChecksum: true}), "bad-checksum"},
		{"IP options", known(forged{flags: wire.ACK, ipOptions: []byte{1, 1, 1, 0}, payload: 100}), "ip-options"},
		// Connection tracking puts fragments together, and drops what overlaps.
		{"overlapping fragments", append(known(forged{flags: wire.ACK, payload: 100, more: 1}), known(forged{fragment: 64, payload: 100})...), ""},
	} {
		before, passed := d.status().Terminator, counters(t, n.wan, "sink")["bad"]
		times := flood
		if c.packets[len(c.packets)-1].ack != 0 {
			times = 1 // a handshake
		}
		for range times {
			for i, p := range c.packets {
				p.by.send(t, p.forged)
				if i+1 < len(c.packets) && c.reason != "" && !await(patience, func() bool {
					return d.status().Terminator.Passed["opening"] > before.Passed["opening"]+int64(i)
				}) {
					t.Fatalf("%s: packet %d did not reach accd", c.name, i)
				}
			}
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
	var b [128]byte
	for {
		k, ok, err := seen.Next(b[:])
		must(t, err)
		if !ok {
			break
		}
		if k >= 40 && b[0]>>4 == 4 && b[9] == wire.ProtoTCP && b[1]>>2 != badDSCP {
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[12:16])), binary.BigEndian.Uint16(b[20:]))
			if from.String() != busyPeer.LocalAddr().String() {
				t.Errorf("an answer from %v: % x", from, b[:min(k, 60)])
			}
		}
	}
	if behind := counters(t, n.wan, "sink")["bad"]; behind != forwarded {
		t.Errorf("%d forged packets are behind the box, want %d: no martian and no fragment", behind, forwarded)
	}
	must(t, <-beside)
	must(t, move())
}
