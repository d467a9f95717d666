// Package tcpnet gives tcpstack the interface of package net: a Stack is TCP on one
// device, its connections are net.Conns and its listeners net.Listeners, so that
// net/http and everything else that speaks net runs on a tap, or on anything that
// is a link.Queue, with no help from the kernel's TCP.
//
//	queue, _ := link.NewTap(file, 1500, true)
//	stack, _ := tcpnet.New(tcpnet.Config{Queue: queue, Addrs: []netip.Prefix{netip.MustParsePrefix("10.9.0.2/24")}})
//	defer stack.Close()
//	listener, _ := stack.Listen("tcp", ":80")
//	http.Serve(listener, handler)
//	client := http.Client{Transport: &http.Transport{DialContext: stack.DialContext}}
//
// What tcpstack leaves to its user lives here: the clock, the goroutine that reads
// the device, the lock, the demultiplexing of segments, and the neighbours on the
// link (ARP, and neighbour discovery for IPv6). One lock guards a Stack: it is for
// programs with some thousands of connections, not for a middlebox.
//
// There is no routing beyond one gateway per family, no ICMP echo, no
// fragmentation and no UDP.
package tcpnet

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"accd/tcpstack"
	"accd/tcpstack/buf"
	"accd/tcpstack/mono"
	"accd/tcpstack/timer"
	"accd/tcpstack/wire"
	"accd/terminator/link"
)

// Config is what a Stack is made of.
type Config struct {
	// Queue is the device, which the Stack owns from then on.
	Queue link.Queue
	// MAC is the device's own address; zero: one at random.
	MAC [6]byte
	// Addrs are the addresses of the Stack, each with the network that is on the
	// link.
	Addrs []netip.Prefix
	// Gateways lead to what is on no network of Addrs, one per family at most.
	Gateways []netip.Addr
	// TCP is how connections behave. An MTU of 0 is that of the Queue. Buffers grow
	// with what a path carries: Buffer and SendBuffer of 0 are 32 MiB at most each
	// way, which fills 1 Gbit/s over 200 ms, MinBuffer of 0 is 128 KiB.
	// TCP.Memory is not used: see Memory.
	TCP tcpstack.Config
	// Memory is how many bytes the buffers of all connections may grow by together,
	// beyond what each has in the beginning; 0: 256 MiB. Idle connections give back
	// what theirs have grown by.
	Memory int
	// Backlog is how many connections wait for Accept at most; 0: 128.
	Backlog int
	// TTL is the time to live, or hop limit, of what is sent; 0: 64.
	TTL uint8
	// DSCP is the differentiated services codepoint of what is sent (RFC 2474).
	DSCP uint8
}

// Ours.
const (
	defaultBuffer    = 32 << 20  // Linux's tcp_rmem[2], since 6.16
	defaultMinBuffer = 128 << 10 // Linux's tcp_rmem[1]
	defaultMemory    = 256 << 20
	defaultBacklog   = 128
	defaultTTL       = 64 // RFC 1700
	maxDSCP          = 63
	batch            = 64       // frames read before what they caused is sent
	copyPiece        = 64 << 10 // bytes of a Write that are kept together
	mostConns        = 1 << 16
	packEvery        = time.Second // between two looks at what slow readers keep
)

// Stack is TCP on one device.
type Stack struct {
	cfg    Config
	tcp    tcpstack.Config
	epoch  time.Time
	waiter link.Waiter
	ended  chan struct{} // closed when the loop is over

	mu        sync.Mutex
	failed    error           // the device is gone, or Close
	secret    tcpstack.Secret // of ISNs and timestamps
	cookies   tcpstack.Secret
	pool      buf.Pool
	memory    tcpstack.Budget
	wheel     timer.Wheel[*conn]
	conns     map[wire.Tuple]*conn // by tuple, Src is ours
	listeners map[netip.AddrPort]*Listener
	waiting   waiting
	neighbours
	packAt   mono.Time // when slow readers are looked at next
	sleeping mono.Time // the loop wakes then by itself; 0: it does not sleep
	crowded  bool      // a Listener's queue has become full in this batch

	// Reused for every packet.
	frame   link.Frame
	view    wire.View
	segment tcpstack.Segment
	packet  tcpstack.Packet
	header  wire.Header
	virtio  wire.VirtioHeader
	head    [wire.MaxHeader]byte
}

// New makes a Stack and starts it.
func New(cfg Config) (*Stack, error) {
	s := &Stack{
		cfg: cfg, tcp: cfg.TCP, epoch: time.Now().Add(-time.Hour), ended: make(chan struct{}),
		conns: make(map[wire.Tuple]*conn), listeners: make(map[netip.AddrPort]*Listener),
	}
	if cfg.Queue == nil || len(cfg.Addrs) == 0 {
		return nil, errors.New("tcpnet: a Stack needs a Queue and an address at least")
	}
	caps := cfg.Queue.Caps()
	if s.tcp.MTU == 0 {
		s.tcp.MTU = caps.MTU
	}
	s.tcp.NoSegmentation = s.tcp.NoSegmentation || !caps.Offload
	if s.memory.Limit = cfg.Memory; cfg.Memory == 0 {
		s.memory.Limit = defaultMemory
	}
	s.tcp.Memory = &s.memory
	sizeBuffers(&s.tcp)
	if s.cfg.Backlog == 0 {
		s.cfg.Backlog = defaultBacklog
	}
	if s.cfg.TTL == 0 {
		s.cfg.TTL = defaultTTL
	}
	if s.cfg.DSCP > maxDSCP {
		return nil, fmt.Errorf("tcpnet: DSCP %d; there are 0 to %d (RFC 2474, 3)", s.cfg.DSCP, maxDSCP)
	}
	if s.cfg.MAC == [6]byte{} {
		_, _ = rand.Read(s.cfg.MAC[:])     // never fails
		s.cfg.MAC[0] = s.cfg.MAC[0]&^1 | 2 // IEEE 802: individual, locally administered
	}
	s.secret, s.cookies = newSecret(), newSecret()
	if err := s.neighbours.init(&s.cfg); err != nil {
		return nil, err
	}
	if err := s.waiter.Open(cfg.Queue.FD()); err != nil {
		return nil, fmt.Errorf("tcpnet: %w", err)
	}
	s.wheel.Init(s.now())
	go s.loop()
	return s, nil
}

// sizeBuffers fills what c leaves open of the sizes of buffers.
func sizeBuffers(c *tcpstack.Config) {
	if c.Buffer == 0 {
		c.Buffer = defaultBuffer
	}
	if c.MinBuffer == 0 {
		c.MinBuffer = defaultMinBuffer
	}
	if c.SendBuffer == 0 {
		c.SendBuffer = defaultBuffer
	}
}

func newSecret() tcpstack.Secret {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return tcpstack.SecretOf(b)
}

// now reads the clock, which has run for an hour: no instant is the zero Time.
func (s *Stack) now() mono.Time { return mono.Time(time.Since(s.epoch)) }

// loop reads the device and runs timers until the device is gone or Close.
func (s *Stack) loop() {
	defer close(s.ended)
	for {
		s.mu.Lock()
		now := s.now()
		more := s.read(now)
		s.wheel.Advance(now, func(c *conn) {
			c.tcp.Expire(now)
			s.flush(now, c)
		})
		next := min(s.wheel.Next(), s.waiting.expire(now), s.pack(now))
		if over := s.failed != nil; over {
			s.fail()
			s.mu.Unlock()
			return
		}
		if s.sleeping = next; more {
			s.sleeping = 0
		}
		s.mu.Unlock()
		if more {
			runtime.Gosched() // those who wait for the lock go first
			continue
		}
		if err := s.waiter.Wait(min(next.Sub(s.now()), time.Hour)); err != nil {
			s.mu.Lock()
			s.broken(err)
			s.mu.Unlock()
		}
	}
}

// read takes a batch of frames, and reports whether there may be more. A queue that
// is full ends the batch, for Accept to empty it.
func (s *Stack) read(now mono.Time) (more bool) {
	s.crowded = false
	for i := 0; i < batch && !s.crowded; i++ {
		ok, err := s.cfg.Queue.Recv(&s.pool, &s.frame)
		if err != nil {
			s.broken(err)
			return false
		}
		if !ok {
			return false
		}
		s.receive(now)
	}
	return true
}

// pack copies together what waits for slow readers and slow peers once it keeps much
// memory: a piece of a slab keeps all of it. It gives when to look again.
func (s *Stack) pack(now mono.Time) (again mono.Time) {
	switch {
	case s.pool.InUse() <= s.memory.Limit/2:
		return mono.Never
	case now < s.packAt:
		return s.packAt
	}
	s.packAt = now.Add(packEvery)
	for _, c := range s.conns {
		c.in.Pack(&s.pool)
		c.out.Pack(&s.pool)
	}
	return s.packAt
}

// broken notes that the device is gone.
func (s *Stack) broken(err error) {
	if s.failed == nil && err != nil {
		s.failed = fmt.Errorf("tcpnet: the device: %w", err)
	}
}

// fail ends everything there is, with the reason in failed.
func (s *Stack) fail() {
	for _, l := range s.listeners {
		l.end(s.failed)
	}
	for _, c := range s.conns {
		c.lose(s.failed)
	}
	clear(s.conns)
	clear(s.listeners)
	s.waiting = waiting{}
}

// Close resets all connections and gives up the device. It waits until the Stack
// has stopped.
func (s *Stack) Close() error {
	s.mu.Lock()
	if s.failed != nil {
		s.mu.Unlock()
		<-s.ended
		return net.ErrClosed
	}
	now := s.now()
	for _, c := range s.conns {
		c.tcp.Abort()
		s.transmit(now, c)
	}
	s.failed = net.ErrClosed
	s.mu.Unlock()
	s.waiter.Wake()
	<-s.ended
	s.waiter.Close()
	return s.cfg.Queue.Close()
}
