package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"

	"accd/netcfg/netlab"
)

// Devices of the box.
const (
	boxLAN = "lan0"
	boxWAN = "wan0"
)

// clientAddrs is the number of addresses of the client: short connections by the
// ten thousand use up the ports of one.
const clientAddrs = 16

var (
	clientNet  = netip.MustParsePrefix("10.1.0.0/24") // the box is .1, the client .2 and up
	serverNet  = netip.MustParsePrefix("10.2.0.0/24") // the box is .1, the server .2
	serverAddr = netip.MustParseAddr("10.2.0.2")
)

// frames says what crosses the cables.
type frames string

// Kinds of frames.
const (
	superpackets frames = "superpackets" // segments merged up to 64 KiB, checksums left to the devices
	mtuFrames    frames = "offloads off" // 1,500 bytes with complete checksums; what a box does inside itself is its own affair
)

// network is a client, a box and a server, each a namespace.
//
//	client eth0 ── lan0 box wan0 ── eth0 server
//
// Sockets on all three may have large buffers and use cubic; the box forwards.
type network struct {
	lab                 *netlab.Lab
	client, box, server *netlab.Namespace
	dir                 string // for the files of the box's program, short enough for a socket
}

var networks atomic.Int64

func newNetwork(f frames) (n *network, err error) {
	n = new(network)
	if n.lab, err = netlab.New(fmt.Sprintf("bench%d", networks.Add(1))); err != nil {
		return nil, err
	}
	if err := n.build(f); err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

func (n *network) build(f frames) (err error) {
	if n.dir, err = os.MkdirTemp("", "accd-bench-"); err != nil {
		return err
	}
	for _, h := range []struct {
		role string
		ns   **netlab.Namespace
	}{{"client", &n.client}, {"box", &n.box}, {"server", &n.server}} {
		if *h.ns, err = n.lab.Add(h.role); err != nil {
			return err
		}
		if err := prepare(*h.ns); err != nil {
			return err
		}
	}
	var client []netip.Prefix
	for i := range clientAddrs {
		client = append(client, netip.PrefixFrom(clientAddr(i), clientNet.Bits()))
	}
	off := f == mtuFrames
	first := func(p netip.Prefix) []netip.Prefix {
		return []netip.Prefix{netip.PrefixFrom(p.Addr().Next(), p.Bits())}
	}
	err = errors.Join(
		n.lab.Connect(netlab.End{NS: n.client, Dev: "eth0", Addrs: client, NoOffload: off},
			netlab.End{NS: n.box, Dev: boxLAN, Addrs: first(clientNet), NoOffload: off}),
		n.lab.Connect(netlab.End{NS: n.box, Dev: boxWAN, Addrs: first(serverNet), NoOffload: off},
			netlab.End{NS: n.server, Dev: "eth0", Addrs: []netip.Prefix{netip.PrefixFrom(serverAddr, serverNet.Bits())}, NoOffload: off}))
	if err != nil {
		return err
	}
	return errors.Join(
		n.client.Route(serverNet, clientNet.Addr().Next()),
		n.server.Route(clientNet, serverNet.Addr().Next()),
		n.box.Forward())
}

// prepare makes a namespace's TCP what the comparison wants: the same congestion
// control everywhere, room for any path, and nothing learnt from one connection
// for the next.
func prepare(ns *netlab.Namespace) error {
	for _, s := range [][2]string{
		{"net.ipv4.tcp_rmem", "4096 131072 67108864"},
		{"net.ipv4.tcp_wmem", "4096 65536 67108864"},
		{"net.ipv4.tcp_no_metrics_save", "1"},
		{"net.ipv4.ip_local_port_range", "1024 65535"},
		{"net.ipv4.tcp_tw_reuse", "1"},
		{"net.ipv4.conf.all.rp_filter", "0"},
		{"net.ipv4.conf.default.rp_filter", "0"},
	} {
		if err := ns.Sysctl(s[0], s[1]); err != nil {
			return err
		}
	}
	return ns.Congestion("cubic")
}

// clientAddr gives the client's i-th address.
func clientAddr(i int) netip.Addr {
	a := clientNet.Addr().As4()
	a[3] = byte(2 + i%clientAddrs)
	return netip.AddrFrom4(a)
}

// file gives a path in the directory of the network.
func (n *network) file(name string) string { return filepath.Join(n.dir, name) }

// close ends what still runs in the network and removes it.
func (n *network) close() error {
	return errors.Join(n.lab.Close(), os.RemoveAll(n.dir))
}
