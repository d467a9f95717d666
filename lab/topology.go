package lab

import (
	"errors"
	"net/netip"

	"accd/netcfg/netlab"
)

// Addresses of the hosts of a Topology. The box has .1 and ::1 on both sides.
var (
	ClientAddr4 = netip.MustParseAddr("198.51.100.2")
	ClientAddr6 = netip.MustParseAddr("2001:db8:1::2")
	ServerAddr4 = netip.MustParseAddr("192.0.2.2")
	ServerAddr6 = netip.MustParseAddr("2001:db8:2::2")
)

// Devices of the box of a Topology.
const (
	BoxWAN = "wan0"
	BoxLAN = "lan0"
)

// Topology is a client, an emulated WAN, a router (the box), and a server
// behind it on a fast LAN, all in network namespaces of this machine. Routes,
// forwarding, IPv4 and IPv6 are set up.
//
//	client eth0 ══ WAN ══ wan0 box lan0 ── eth0 server
type Topology struct {
	Client, Box, Server *netlab.Namespace
	WAN                 *Cable // a is the client, b the box

	lab *netlab.Lab
}

// NewTopology makes a topology whose WAN is perfect at first. The tag tells
// those of one process apart.
func NewTopology(tag string) (*Topology, error) {
	l, err := netlab.New(tag)
	if err != nil {
		return nil, err
	}
	t := &Topology{lab: l}
	if err := t.build(); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

func (t *Topology) build() (err error) {
	for _, h := range []struct {
		role string
		ns   **netlab.Namespace
	}{{"client", &t.Client}, {"box", &t.Box}, {"server", &t.Server}} {
		if *h.ns, err = t.lab.Add(h.role); err != nil {
			return err
		}
	}
	t.WAN, err = NewCable(
		netlab.End{NS: t.Client, Dev: "eth0", Addrs: network(ClientAddr4, ClientAddr6)},
		netlab.End{NS: t.Box, Dev: BoxWAN, Addrs: network(gateway(ClientAddr4), gateway(ClientAddr6))})
	if err != nil {
		return err
	}
	err = t.lab.Connect(
		netlab.End{NS: t.Box, Dev: BoxLAN, Addrs: network(gateway(ServerAddr4), gateway(ServerAddr6))},
		netlab.End{NS: t.Server, Dev: "eth0", Addrs: network(ServerAddr4, ServerAddr6)})
	if err != nil {
		return err
	}
	for _, r := range []struct {
		ns  *netlab.Namespace
		dst netip.Prefix
		via netip.Addr
	}{
		{t.Client, netip.MustParsePrefix("0.0.0.0/0"), gateway(ClientAddr4)},
		{t.Client, netip.MustParsePrefix("::/0"), gateway(ClientAddr6)},
		{t.Server, netip.MustParsePrefix("0.0.0.0/0"), gateway(ServerAddr4)},
		{t.Server, netip.MustParsePrefix("::/0"), gateway(ServerAddr6)},
	} {
		if err := r.ns.Route(r.dst, r.via); err != nil {
			return err
		}
	}
	return t.Box.Forward()
}

// Close ends what runs in the namespaces and removes everything.
func (t *Topology) Close() error {
	var err error
	if t.WAN != nil {
		err = t.WAN.Close()
	}
	return errors.Join(err, t.lab.Close())
}

// gateway gives the box's address in the network of a host: host number 1.
func gateway(host netip.Addr) netip.Addr { return host.Prev() }

// network gives the addresses of a device with the lengths of their networks.
func network(v4, v6 netip.Addr) []netip.Prefix {
	return []netip.Prefix{netip.PrefixFrom(v4, 24), netip.PrefixFrom(v6, 64)}
}
