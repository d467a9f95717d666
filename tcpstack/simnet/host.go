package simnet

import (
	"errors"
	"time"

	"accd/splice"
	"accd/tcpstack"
	"accd/tcpstack/buf"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// ErrRefused says that a SYN was answered by an RST, ErrUnanswered that it was
// not answered.
var (
	ErrRefused    = errors.New("simnet: connection refused")
	ErrUnanswered = errors.New("simnet: handshake timed out")
)

// HostConfig is what an endpoint is like.
type HostConfig struct {
	Stack      tcpstack.Config
	MSS        uint16 // the option in its SYN; 0: none
	SACK       bool
	Timestamps bool
	WScale     int    // -1: no window scaling
	Clock      uint32 // what its timestamp clock is ahead of the simulation's
	Refuse     bool   // a closed port
	// KeepAlive probes a silent peer this often, and gives up after nine; 0: never.
	KeepAlive time.Duration
	SendSpace int // bytes the application may write ahead; 0: 256 KiB
}

// Host is one endpoint of one connection: an application, the handshake, and a
// Conn from ESTABLISHED on. It answers what has no connection with an RST
// (RFC 9293, 3.10.7.1).
type Host struct {
	Conn tcpstack.Conn
	Err  error     // how the connection ended; nil: it goes on, or has ended by FINs
	End  mono.Time // when it ended; 0: it goes on
	// Aborted says that the script reset the connection.
	Aborted bool

	sim   *Sim
	cfg   HostConfig
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

	// The handshake.
	irs      wire.Seq
	peer     wire.Options // of the peer's SYN
	peerWnd  uint16
	tries    int
	resendAt mono.Time
	synSent  mono.Time
	tsRecent uint32

	heard  mono.Time // when anything came last
	probes int       // keepalive probes since
}

type hostState uint8

const (
	hostClosed hostState = iota
	hostListen
	hostSynSent
	hostSynReceived
	hostOpen
)

// NewHost makes one endpoint, which says what script says and sends packets
// with send. The server listens at once; Connect starts the client.
func NewHost(s *Sim, side splice.Side, flow int, key wire.Tuple, keys [2]uint64, cfg HostConfig, script Script, pool *buf.Pool, send func(*Packet)) *Host {
	h := &Host{sim: s, cfg: cfg, side: side, flow: flow, key: key, send: send, pool: pool, iss: wire.SeqOf(s.Rand.Uint32())}
	h.app = app{Script: script, key: keys[side], peerKey: keys[side.Other()]}
	if h.cfg.SendSpace == 0 {
		h.cfg.SendSpace = 256 << 10
	}
	if side == splice.Server && !cfg.Refuse {
		h.state = hostListen
	}
	h.alarm = alarm{sim: s, wake: h.turn}
	s.iss[[2]int{flow, int(side)}] = h.iss
	return h
}

// Connect sends the first SYN.
func (h *Host) Connect() {
	h.state = hostSynSent
	h.synSent = h.sim.now
	h.sendSyn()
	h.alarm.set(h.resendAt)
}

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
	h.heard, h.probes = h.sim.now, 0
	switch h.state {
	case hostClosed:
		h.reset(p)
	case hostListen:
		h.listen(p)
	case hostSynSent:
		h.synAnswered(p)
	case hostSynReceived:
		h.thirdAck(p)
	case hostOpen:
		h.receive(p)
	}
	h.turn()
}

// TooBig takes the news that p was longer than mtu.
func (h *Host) TooBig(seq wire.Seq, mtu int) {
	if h.state == hostOpen {
		h.Conn.PacketTooBig(h.sim.now, seq, mtu)
		h.turn()
	}
}

// Discard forgets what the host still buffers, at the end of a simulation.
func (h *Host) Discard() {
	h.state = hostClosed
	h.in.Reset()
	h.out.Reset()
	h.Conn.Release()
}

// clock is the host's timestamp clock as its Conn knows it: milliseconds.
func (h *Host) clock() uint32 { return uint32(h.sim.now / mono.Time(time.Millisecond)) }

func (h *Host) emit(p *Packet) {
	p.Flow, p.From, p.Is6 = h.flow, h.side, !h.key.Is4()
	if p.Options.Has(wire.HasTS) {
		p.Options.TSVal += h.cfg.Clock
	}
	h.sim.tracePacket(nameOf(h.side)+" >", p)
	h.send(p)
}

// sendSyn sends the SYN of a client or the SYN-ACK of a server, and says when
// the next would be due: after 1, 2, 4 … seconds (RFC 6298, 2.1 and 5.5).
func (h *Host) sendSyn() {
	o := wire.Options{}
	answer := h.state == hostSynReceived
	if h.cfg.MSS != 0 {
		o.Set |= wire.HasMSS
		o.MSS = h.cfg.MSS
	}
	if h.cfg.SACK && (!answer || h.peer.Has(wire.HasSACKPermitted)) {
		o.Set |= wire.HasSACKPermitted
	}
	if h.cfg.Timestamps && (!answer || h.peer.Has(wire.HasTS)) {
		o.Set |= wire.HasTS
		o.TSVal = h.clock()
		if answer {
			o.TSEcr = h.tsRecent
		}
	}
	if h.cfg.WScale >= 0 && (!answer || h.peer.Has(wire.HasWScale)) {
		o.Set |= wire.HasWScale
		o.WScale = uint8(h.cfg.WScale)
	}
	p := &Packet{Seq: h.iss, Flags: wire.SYN, Window: h.synWindow(), Options: overWire(&o)}
	if answer {
		p.Flags |= wire.ACK
		p.Ack = h.irs.Add(1)
	}
	h.emit(p)
	h.resendAt = h.sim.now.Add(time.Second << h.tries)
	h.tries++
}

// synWindow gives the window of the SYN, never scaled (RFC 7323, 2.2).
func (h *Host) synWindow() uint16 { return uint16(min(h.buffer(), 65535)) }

// firstWindow gives the window of a client's third packet: all of the buffer,
// rounded up so that the edge of the SYN stays.
func (h *Host) firstWindow() uint16 {
	return uint16(min((h.buffer()+1<<h.rcvScale()-1)>>h.rcvScale(), 65535))
}

func (h *Host) buffer() int {
	if h.cfg.Stack.Buffer > 0 {
		return h.cfg.Stack.Buffer
	}
	return 4 << 20
}

// learn keeps what the peer's SYN says.
func (h *Host) learn(p *Packet) {
	h.irs, h.peer, h.peerWnd, h.tsRecent = p.Seq, p.Options, p.Window, p.Options.TSVal
}

func (h *Host) listen(p *Packet) {
	switch {
	case p.Flags.Has(wire.RST):
	case p.Flags.Has(wire.ACK):
		h.reset(p)
	case p.Flags.Has(wire.SYN):
		h.learn(p)
		h.state = hostSynReceived
		h.synSent = h.sim.now
		h.sendSyn()
	}
}

// synAnswered is RFC 9293, 3.10.7.3.
func (h *Host) synAnswered(p *Packet) {
	if p.Flags.Has(wire.ACK) && p.Ack != h.iss.Add(1) {
		h.reset(p)
		return
	}
	if p.Flags.Has(wire.RST) {
		if p.Flags.Has(wire.ACK) {
			h.end(ErrRefused)
		}
		return
	}
	if p.Flags.Has(wire.SYN | wire.ACK) {
		h.learn(p)
		h.open(p)
		ack := &Packet{Seq: h.iss.Add(1), Ack: h.irs.Add(1), Flags: wire.ACK, Window: h.firstWindow()}
		if h.timestamps() {
			ack.Options.Set, ack.Options.TSVal, ack.Options.TSEcr = wire.HasTS, h.clock(), h.tsRecent
		}
		h.emit(ack)
	}
}

func (h *Host) thirdAck(p *Packet) {
	switch {
	case p.Flags.Has(wire.RST):
		if p.Seq == h.irs.Add(1) {
			h.end(tcpstack.ErrReset)
		}
	case p.Flags.Has(wire.SYN):
		if p.Seq == h.irs {
			h.sendSyn()
		}
	case p.Flags.Has(wire.ACK) && p.Ack != h.iss.Add(1):
		// RFC 9293, 3.10.7.4, fifth: SYN-RECEIVED.
		if p.Seq.In(h.irs.Add(1), h.irs.Add(1+h.buffer())) {
			h.reset(p)
		}
	case p.Flags.Has(wire.ACK) && p.Seq.In(h.irs.Add(1), h.irs.Add(1+int(h.synWindow()))):
		h.open(p)
		h.receive(p)
	}
}

func (h *Host) timestamps() bool { return h.cfg.Timestamps && h.peer.Has(wire.HasTS) }

// rcvScale gives the shift of the windows this host offers, 0 unless both SYNs
// said so (RFC 7323, 2.2).
func (h *Host) rcvScale() uint8 {
	if h.cfg.WScale < 0 || !h.peer.Has(wire.HasWScale) {
		return 0
	}
	return uint8(h.cfg.WScale)
}

// open makes the Conn. p is the segment that completed the handshake.
func (h *Host) open(p *Packet) {
	now := h.sim.now
	snap := tcpstack.Snapshot{
		Tuple:      h.key,
		SACK:       h.cfg.SACK && h.peer.Has(wire.HasSACKPermitted),
		Timestamps: h.timestamps(),
		SndUna:     h.iss.Add(1), SndNxt: h.iss.Add(1),
		SndWnd: int(h.peerWnd),
		RcvNxt: h.irs.Add(1), RcvEdge: h.irs.Add(1 + int(h.synWindow())),
		TSRecent: h.tsRecent, TSRecentAge: now, TSVal: h.clock(),
	}
	if h.peer.Has(wire.HasMSS) {
		snap.MSS = int(h.peer.MSS)
	}
	if h.cfg.WScale >= 0 && h.peer.Has(wire.HasWScale) {
		snap.SndScale, snap.RcvScale = min(h.peer.WScale, wire.MaxWScale), h.rcvScale()
	}
	if h.side == splice.Client {
		snap.RcvEdge = h.irs.Add(1 + int(h.firstWindow())<<snap.RcvScale)
	}
	if h.tries == 1 {
		snap.SRTT = now.Sub(h.synSent)
		snap.RTTVar, snap.MinRTT = snap.SRTT/2, snap.SRTT
	}
	h.Conn.Resume(now, &snap, &h.in, &h.out, &h.cfg.Stack)
	h.state = hostOpen
}

func (h *Host) receive(p *Packet) {
	p.segment(h.pool, &h.seg)
	if h.seg.Options.Has(wire.HasTS) {
		h.seg.Options.TSEcr -= h.cfg.Clock
	}
	h.Conn.Receive(h.sim.now, &h.seg)
}

// turn does all that is due: reading, writing, sending, timers.
func (h *Host) turn() {
	now := h.sim.now
	switch h.state {
	case hostSynSent, hostSynReceived:
		if now >= h.resendAt {
			if h.tries == 7 {
				h.end(ErrUnanswered)
				return
			}
			h.sendSyn()
		}
		h.alarm.set(h.resendAt)
		return
	case hostOpen:
	default:
		return
	}
	h.Conn.Expire(now)
	h.keepAlive(now)
	h.read(now)
	h.write(now)
	for h.Conn.Transmit(now, &h.pkt) {
		h.emit(packetOf(&h.pkt))
		h.read(now)
	}
	if err := h.Conn.Err(); err != nil {
		h.end(err)
		return
	}
	if h.End == 0 && h.app.closed && h.app.peerEnd && h.Conn.FINAcked() {
		h.End = now // it stays, as in TIME-WAIT, to answer a FIN again
	}
	at := min(h.Conn.Deadline(), h.app.next(now, h.in.Len()))
	if h.cfg.KeepAlive > 0 && h.End == 0 {
		at = min(at, h.heard.Add(h.cfg.KeepAlive*time.Duration(h.probes+1)))
	}
	if at <= now && at == h.Conn.Deadline() {
		at = now + 1
	}
	h.alarm.set(at)
}

// keepAlive asks a silent peer whether it is there (RFC 9293, 3.8.4).
func (h *Host) keepAlive(now mono.Time) {
	if h.cfg.KeepAlive == 0 || h.End != 0 || now < h.heard.Add(h.cfg.KeepAlive*time.Duration(h.probes+1)) {
		return
	}
	if h.probes == 9 {
		h.Conn.Abort()
		return
	}
	h.probes++
	h.Conn.Probe()
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
func (h *Host) rcvSlack() int { return 2 << h.rcvScale() }

// write lets the application write as far as the send buffer goes.
func (h *Host) write(now mono.Time) {
	for {
		n := min(int(min(h.app.wants(now), 16<<10)), h.cfg.SendSpace-h.out.Len())
		if n <= 0 {
			break
		}
		room := h.pool.Room(n)
		fill(room, h.app.key, h.out.End())
		h.out.Append(h.pool.Keep(0, n))
		h.app.wrote(int64(n))
	}
	if h.app.closes() {
		h.app.closed = true
		h.out.Close()
	}
}

// reset answers a packet that belongs to no connection (RFC 9293, 3.10.7.1).
func (h *Host) reset(p *Packet) {
	if p.Flags.Has(wire.RST) {
		return
	}
	r := &Packet{Flags: wire.RST}
	if p.Flags.Has(wire.ACK) {
		r.Seq = p.Ack
	} else {
		r.Flags |= wire.ACK
		r.Ack = p.End()
	}
	h.emit(r)
}

func (h *Host) end(err error) {
	if h.End == 0 {
		h.Err, h.End = err, h.sim.now
		h.sim.Tracef("%s ends: %v", nameOf(h.side), err)
	}
	h.Discard()
	h.alarm.set(mono.Never)
}
