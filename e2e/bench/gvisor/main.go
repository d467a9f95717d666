// Gvisor is a transparent TCP proxy whose TCP is gVisor's netstack on both sides.
// It gets two taps with virtio-net headers as open files, one towards the
// clients and one towards the servers, each with a number of queues; every
// connection that comes in by the first goes on by the second, under the
// addresses and ports that it has. The bench compares accd with it.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

var (
	queues = flag.Int("queues", 1, "queues of each tap: files 3 and up are those towards the clients, then come those towards the servers")
	macs   = flag.String("macs", "", "the MAC addresses of the two taps, with a comma between")
	mtu    = flag.Int("mtu", 1500, "MTU of the networks, in bytes")
)

// nic is the number of a stack's only device.
const nic = 1

// dialLimit is how long a server may take to answer.
const dialLimit = 5 * time.Second

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "gvisor:", err)
		os.Exit(1)
	}
}

func run() error {
	toClients, toServers, _ := strings.Cut(*macs, ",")
	const firstFile = 3
	clients, err := newStack(firstFile, toClients)
	if err != nil {
		return err
	}
	servers, err := newStack(firstFile+*queues, toServers)
	if err != nil {
		return err
	}
	const opening = 1 << 16
	f := tcp.NewForwarder(clients, 0, opening, func(r *tcp.ForwarderRequest) { forward(r, servers) })
	clients.SetTransportProtocolHandler(tcp.ProtocolNumber, f.HandlePacket)
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, unix.SIGTERM, unix.SIGINT)
	fmt.Println("ready")
	<-ended
	return nil
}

// newStack makes a stack on a tap that takes every packet for its own and sends
// from any address.
func newStack(file int, mac string) (*stack.Stack, error) {
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol},
	})
	// A client's port comes back a second after it was used (tcp_tw_reuse of
	// ip-sysctl), and then has to be free towards the server.
	timeWait := tcpip.TCPTimeWaitTimeoutOption(500 * time.Millisecond)
	cubic, sack, moderate := tcpip.CongestionControlOption("cubic"), tcpip.TCPSACKEnabled(true), tcpip.TCPModerateReceiveBufferOption(true)
	for _, o := range []tcpip.SettableTransportProtocolOption{&cubic, &sack, &moderate, &timeWait} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return nil, fmt.Errorf("option %T: %v", o, err)
		}
	}
	var fds []int
	for i := range *queues {
		fds = append(fds, file+i)
	}
	t, err := newTap(fds, mac, uint32(*mtu))
	if err != nil {
		return nil, err
	}
	if err := s.CreateNIC(nic, t); err != nil {
		return nil, fmt.Errorf("create NIC: %v", err)
	}
	if err := s.SetPromiscuousMode(nic, true); err != nil {
		return nil, fmt.Errorf("promiscuous mode: %v", err)
	}
	if err := s.SetSpoofing(nic, true); err != nil {
		return nil, fmt.Errorf("spoofing: %v", err)
	}
	s.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}})
	return s, nil
}

// forward asks the server first, and accepts the client when it has answered.
func forward(r *tcp.ForwarderRequest, servers *stack.Stack) {
	id := r.ID()
	ctx, cancel := context.WithTimeout(context.Background(), dialLimit)
	defer cancel()
	server, err := gonet.DialTCPWithBind(ctx, servers,
		tcpip.FullAddress{NIC: nic, Addr: id.RemoteAddress, Port: id.RemotePort},
		tcpip.FullAddress{NIC: nic, Addr: id.LocalAddress, Port: id.LocalPort}, ipv4.ProtocolNumber)
	if err != nil {
		fmt.Fprintf(os.Stderr, "connect to %v:%d: %v\n", id.LocalAddress, id.LocalPort, err)
		r.Complete(true)
		return
	}
	var queue waiter.Queue
	ep, e := r.CreateEndpoint(&queue)
	r.Complete(e != nil)
	if e != nil {
		server.Close()
		return
	}
	ep.SocketOptions().SetDelayOption(false) // as DialTCPWithBind does
	client := gonet.NewTCPConn(&queue, ep)
	var both sync.WaitGroup
	both.Go(func() { relay(client, server) })
	both.Go(func() { relay(server, client) })
	both.Wait()
	client.Close()
	server.Close()
}

// relay moves one direction, and closes it behind the last byte.
func relay(to, from *gonet.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		// The other direction ends as well.
		to.Close()
		from.Close()
		return
	}
	to.CloseWrite()
}
