package simnet

import (
	"errors"
	"time"

	"accd/splice"
	"accd/tcpstack"
	"accd/tcpstack/buf"
	"accd/tcpstack/cc"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// ErrUnanswered says that a SYN or SYN-ACK was not answered.
var ErrUnanswered = errors.New("simnet: handshake timed out")

// HostConfig is what an endpoint is like.
type HostConfig struct {
	Stack      tcpstack.Config
	MSS        uint16 // the option in its SYN; 0: none
	SACK       bool
	Timestamps bool
	WScale     int    // -1: no window scaling
	Clock      uint32 // what its timestamp clock is ahead of the simulation's
	Wrap       int    // bytes it sends until its sequence numbers come round; 0: any
	Refuse     bool   // a closed port
	// KeepAlive probes a silent peer this often, and gives up after nine; 0: never.
	KeepAlive time.Duration
	Path      cc.Path // what it remembers of the path
	SendSpace int     // bytes the application may write ahead; 0: 256 KiB; -1: what the Conn has room for
}

// Host is one endpoint of one connection: an application and a Conn. It answers
// what has no connection as CLOSED does (RFC 9293, 3.10.7.1).
type Host struct {
	Conn tcpstack.Conn
	Err  error     // how the connection ended; nil: it goes on, or has ended by FINs
	End  mono.Time // when it ended; 0: it goes on
	// Aborted says that the script reset the connection.
	Aborted bool

	sim   *Sim
	cfg   HostConfig
	stack tcpstack.Config // cfg.Stack, with what else cfg says
	side  splice.Side
	flow  int
	key   wire.Tuple // Src is this host
	iss   wire.Seq
	send  func(*Packet)
	pool  *buf.Pool
	app   app
	state hostState
	alarm alarm

	in, out tcpstack.Stream
	seg     tcpstack.Segment
	pkt     tcpstack.Packet
}

type hostState uint8

const (
	hostClosed hostState = iota
	hostListen
	hostActive // there is a Conn
)

// NewHost makes one endpoint, which says what script says and sends packets
// with send. The server listens at once; Connect starts the client.
func NewHost(s *Sim, side splice.Side, flow int, key wire.Tuple, keys [2]uint64, cfg HostConfig, script Script, pool *buf.Pool, send func(*Packet)) *Host {
	h := &Host{sim: s, cfg: cfg, side: side, flow: flow, key: key, send: send, pool: pool, iss: wire.SeqOf(s.Rand.Uint32())}
	if cfg.Wrap > 0 {
		h.iss = wire.SeqOf(0).Add(-cfg.Wrap)
	}
	h.app = app{Script: script, key: keys[side], peerKey: keys[side.Other()]}
	if h.cfg.SendSpace == 0 {
		h.cfg.SendSpace = 256 << 10
	}
	h.stack = cfg.Stack
	h.stack.NoSACK, h.stack.NoTimestamps, h.stack.NoWindowScale = !cfg.SACK, !cfg.Timestamps, cfg.WScale < 0
	h.stack.WindowScale = uint8(max(cfg.WScale, 0))
	h.stack.KeepAlive = tcpstack.KeepAlive{On: cfg.KeepAlive > 0, Idle: cfg.KeepAlive, Interval: cfg.KeepAlive}
	if side == splice.Server && !cfg.Refuse {
		h.state = hostListen
	}
	h.alarm = alarm{sim: s, wake: h.turn}
	s.iss[[2]int{flow, int(side)}] = h.iss
	return h
}

// Connect sends the first SYN.
func (h *Host) Connect() {
	h.state = hostActive
	h.Conn.Dial(h.alarm.now(), h.key, h.iss, &h.in, &h.out, &h.stack)
	h.begun()
	h.turn()
}

// begun sets what differs from host to host: the timestamp clock, and the MSS.
func (h *Host) begun() {
	h.Conn.SetTimestamp(uint32(h.alarm.now()/mono.Time(time.Millisecond)) + h.cfg.Clock)
	h.Conn.RecallPath(h.cfg.Path)
	if h.cfg.MSS != 0 {
		h.Conn.OfferMSS(int(h.cfg.MSS))
	}
}

// Open reports that the handshake is over and the connection is not.
func (h *Host) Open() bool { return h.state == hostActive && h.Conn.State() >= tcpstack.Established }

// Ended reports that nothing more will happen of this host's accord.
func (h *Host) Ended() bool { return h.End != 0 }

// Read and Written give the bytes the application has read and written.
func (h *Host) Read() int64 { return h.app.read }

// Written gives the bytes the application has written.
func (h *Host) Written() int64 { return h.app.written }

// Arrive takes a packet from the network.
func (h *Host) Arrive(p *Packet) {
	h.sim.tracePacket("> "+nameOf(h.side), p)
	if p.Bad {
		return // RFC 9293, 3.1: the checksum is checked first
	}
	p.segment(h.pool, &h.seg)
	switch {
	case h.state == hostActive:
		h.Conn.Receive(h.alarm.now(), &h.seg)
	case h.state == hostListen && p.Flags&(wire.SYN|wire.ACK|wire.RST) == wire.SYN:
		h.state = hostActive
		h.Conn.Accept(h.alarm.now(), h.key, h.iss, &h.seg, &h.in, &h.out, &h.stack)
		h.begun()
	default:
		if tcpstack.Refuse(&h.key, &h.seg, &h.pkt) {
			h.emit(packetOf(&h.pkt))
		}
		h.seg.Drop()
	}
	h.turn()
}

// TooBig takes the news that p was longer than mtu.
func (h *Host) TooBig(seq wire.Seq, mtu int) {
	if h.Open() {
		h.Conn.PacketTooBig(h.alarm.now(), seq, mtu)
		h.turn()
	}
}

// Leap moves the host's clock forward, unless only TIME-WAIT is left of the
// connection, whether or not the application has read everything: nobody can say that
// the peer must not notice its end.
func (h *Host) Leap(by time.Duration) {
	if h.End != 0 || h.state == hostActive && h.Conn.State() == tcpstack.TimeWait {
		return
	}
	h.alarm.fast += by
	h.turn()
}

// Discard forgets what the host still buffers, at the end of a simulation.
func (h *Host) Discard() {
	h.state = hostClosed
	h.in.Reset()
	h.out.Reset()
	h.Conn.Release()
}

func (h *Host) emit(p *Packet) {
	p.Flow, p.From, p.Is6 = h.flow, h.side, !h.key.Is4()
	if h.cfg.MSS == 0 {
		p.Options.Set &^= wire.HasMSS
	}
	h.sim.tracePacket(nameOf(h.side)+" >", p)
	h.send(p)
}

func (h *Host) buffer() int {
	if h.cfg.Stack.Buffer > 0 {
		return h.cfg.Stack.Buffer
	}
	return 4 << 20
}

// turn does all that is due: reading, writing, sending, timers.
func (h *Host) turn() {
	now := h.alarm.now()
	if h.state != hostActive {
		return
	}
	was := h.Conn.State()
	opening := was == tcpstack.SynSent || was == tcpstack.SynReceived
	h.Conn.Expire(now)
	if !opening {
		h.read(now)
		h.write(now)
	}
	for h.Conn.Transmit(now, &h.pkt) {
		h.emit(packetOf(&h.pkt))
		if !opening {
			h.read(now)
		}
	}
	switch err := h.Conn.Err(); {
	case opening && errors.Is(err, tcpstack.ErrTimeout):
		h.end(ErrUnanswered)
		return
	case err != nil:
		h.end(err)
		return
	}
	if h.End == 0 && h.app.closed && h.app.peerEnd && h.Conn.FINAcked() {
		h.End = now // it may stay, in TIME-WAIT
	}
	if h.End != 0 && h.Conn.State() == tcpstack.Closed {
		h.end(nil)
		return
	}
	at := min(h.Conn.Deadline(), h.app.next(now, h.in.Len()))
	if at <= now && at == h.Conn.Deadline() {
		at = now + 1
	}
	h.alarm.set(at)
}

// read lets the application read, and compares every byte.
func (h *Host) read(now mono.Time) {
	if n := h.in.Len(); n > h.buffer()+h.rcvSlack() {
		h.sim.Failf("%s buffers %d bytes where its window allows %d", nameOf(h.side), n, h.buffer())
	}
	for h.in.Len() > 0 {
		n := int(h.app.allowance(now, int64(h.in.Len())))
		if n == 0 {
			break
		}
		off := h.in.Base()
		for _, b := range h.in.Gather(nil, off, n) {
			if i := differs(b, h.app.peerKey, off); i >= 0 {
				h.sim.Failf("%s read a wrong byte at offset %d of flow %d", nameOf(h.side), off+uint64(i), h.flow)
				return
			}
			off += uint64(len(b))
		}
		h.in.Discard(off)
		h.app.tookOff(now, int64(n))
	}
	if h.in.Closed() && h.in.Len() == 0 {
		h.app.peerEnd = true
	}
	if h.app.Abort && h.app.read >= h.app.AbortAt {
		h.app.Abort = false
		h.Aborted = true
		h.Conn.Abort()
	}
}

// rcvSlack is what a window rounded up to its scale may let in.
func (h *Host) rcvSlack() int { return 2 << h.Conn.Scale() }

// write lets the application write as far as the send buffer goes.
func (h *Host) write(now mono.Time) {
	for {
		room := h.cfg.SendSpace - h.out.Len()
		if h.cfg.SendSpace < 0 {
			room = h.Conn.SendRoom()
		}
		n := min(int(min(h.app.wants(now), 16<<10)), room)
		if n <= 0 {
			break
		}
		data := h.pool.Room(n)
		fill(data, h.app.key, h.out.End())
		h.out.Append(h.pool.Keep(0, n))
		h.app.wrote(int64(n))
	}
	if h.app.closes() {
		h.app.closed = true
		h.out.Close()
	}
}

func (h *Host) end(err error) {
	if h.End == 0 {
		h.Err, h.End = err, h.sim.now
		h.sim.Tracef("%s ends: %v", nameOf(h.side), err)
	}
	h.Discard()
	h.alarm.set(mono.Never)
}
