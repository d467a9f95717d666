// Peer is an endpoint of the differential tests whose TCP is gVisor's netstack,
// on a network device that the kernel has no address on. As a server it answers
// a number of connections, as a client it asks on one for each order; then it
// prints what came of each, one JSON object a line.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/fdbased"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"accd/e2e/peers"
)

var (
	device     = flag.String("device", "eth0", "the network device")
	address    = flag.String("address", "", "this host's address with the length of its network")
	gateway    = flag.String("gateway", "", "the router")
	congestion = flag.String("congestion", "reno", "congestion control: reno or cubic")
	sack       = flag.Bool("sack", true, "offer and permit SACK")
	rack       = flag.Bool("rack", true, "detect losses by RACK")
	listen     = flag.Int("listen", 0, "be the server, on this port")
	connect    = flag.String("connect", "", "be the client of the server at this address and port; the orders are read from the standard input, one JSON object a line")
	count      = flag.Int("count", 1, "the number of connections")
	limit      = flag.Duration("limit", 30*time.Second, "the time each conversation may take")
)

// maxRTO keeps what is lost again and again from costing minutes: netstack backs
// off for each loss of a row, and under heavy loss rarely comes back.
const maxRTO = 500 * time.Millisecond

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}

func run() error {
	self, err := netip.ParsePrefix(*address)
	if err != nil {
		return fmt.Errorf("-address: %w", err)
	}
	router, err := netip.ParseAddr(*gateway)
	if err != nil {
		return fmt.Errorf("-gateway: %w", err)
	}
	s, err := newStack(self, router)
	if err != nil {
		return err
	}
	if *connect == "" {
		return serve(s, full(netip.AddrPortFrom(self.Addr(), uint16(*listen))))
	}
	to, err := netip.ParseAddrPort(*connect)
	if err != nil {
		return fmt.Errorf("-connect: %w", err)
	}
	return ask(s, full(to))
}

// serve answers connections.
func serve(s *stack.Stack, at tcpip.FullAddress) error {
	l, err := gonet.ListenTCP(s, at, protocol(at))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	fmt.Println("ready")
	return all(func(int) (peers.Outcome, error) {
		c, err := l.Accept()
		if err != nil {
			return peers.Outcome{}, err
		}
		return peers.Answer(c.(*gonet.TCPConn), *limit)
	})
}

// ask connects once for each order.
func ask(s *stack.Stack, to tcpip.FullAddress) error {
	fmt.Println("ready")
	var orders []peers.Order
	for in := json.NewDecoder(os.Stdin); len(orders) < *count; {
		var o peers.Order
		if err := in.Decode(&o); err != nil {
			return fmt.Errorf("order %d: %w", len(orders), err)
		}
		orders = append(orders, o)
	}
	return all(func(i int) (peers.Outcome, error) {
		ctx, cancel := context.WithTimeout(context.Background(), *limit)
		defer cancel()
		c, err := gonet.DialContextTCP(ctx, s, to, protocol(to))
		if err != nil {
			return peers.Outcome{}, fmt.Errorf("connect: %w", err)
		}
		return peers.Ask(c, orders[i], *limit)
	})
}

// all holds conversations at the same time and prints their outcomes. The
// program then goes on until its standard input ends: its last segments may
// have to be sent again, and no kernel does that for it.
func all(converse func(i int) (peers.Outcome, error)) error {
	var wg sync.WaitGroup
	errs := make([]error, *count)
	var mu sync.Mutex
	for i := range errs {
		wg.Go(func() {
			o, err := converse(i)
			mu.Lock()
			defer mu.Unlock()
			if errs[i] = err; err == nil {
				errs[i] = json.NewEncoder(os.Stdout).Encode(o)
			}
		})
	}
	wg.Wait()
	fmt.Println("done")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// newStack makes a stack on the device.
func newStack(self netip.Prefix, router netip.Addr) (*stack.Stack, error) {
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{arp.NewProtocol, ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
	})
	cc, permit := tcpip.CongestionControlOption(*congestion), tcpip.TCPSACKEnabled(*sack)
	moderate := tcpip.TCPModerateReceiveBufferOption(true)
	recovery := tcpip.TCPRACKLossDetection
	if !*rack {
		recovery = 0
	}
	patience := tcpip.TCPMaxRTOOption(maxRTO)
	for _, o := range []tcpip.SettableTransportProtocolOption{&cc, &permit, &moderate, &recovery, &patience} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return nil, fmt.Errorf("option %T: %v", o, err)
		}
	}
	dev, err := net.InterfaceByName(*device)
	if err != nil {
		return nil, err
	}
	fd, err := packetSocket(dev.Index)
	if err != nil {
		return nil, fmt.Errorf("packet socket on %s: %w", *device, err)
	}
	ep, err := fdbased.New(&fdbased.Options{
		FDs: []int{fd}, MTU: uint32(dev.MTU), EthernetHeader: true,
		Address: tcpip.LinkAddress(dev.HardwareAddr), PacketDispatchMode: fdbased.RecvMMsg,
	})
	if err != nil {
		return nil, fmt.Errorf("endpoint on %s: %w", *device, err)
	}
	if err := s.CreateNIC(1, ep); err != nil {
		return nil, fmt.Errorf("create NIC: %v", err)
	}
	local, everywhere := full(netip.AddrPortFrom(self.Addr(), 0)), header.IPv4EmptySubnet
	if self.Addr().Is6() {
		everywhere = header.IPv6EmptySubnet
	}
	addr := tcpip.ProtocolAddress{Protocol: protocol(local), AddressWithPrefix: tcpip.AddressWithPrefix{Address: local.Addr, PrefixLen: self.Bits()}}
	if err := s.AddProtocolAddress(1, addr, stack.AddressProperties{}); err != nil {
		return nil, fmt.Errorf("address %v: %v", self, err)
	}
	s.SetRouteTable([]tcpip.Route{
		{Destination: addr.AddressWithPrefix.Subnet(), NIC: 1},
		{Destination: everywhere, Gateway: full(netip.AddrPortFrom(router, 0)).Addr, NIC: 1},
	})
	return s, nil
}

// packetSocket gives a socket that gets every frame of a device.
func packetSocket(index int) (int, error) {
	all := uint16(unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8) // in network byte order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(all))
	if err != nil {
		return 0, err
	}
	return fd, errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index}))
}

// full gives an address in netstack's terms.
func full(a netip.AddrPort) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: 1, Addr: tcpip.AddrFromSlice(a.Addr().AsSlice()), Port: a.Port()}
}

func protocol(a tcpip.FullAddress) tcpip.NetworkProtocolNumber {
	if a.Addr.Len() == header.IPv4AddressSize {
		return ipv4.ProtocolNumber
	}
	return ipv6.ProtocolNumber
}
