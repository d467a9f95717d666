package tcpstack

import (
	"time"

	"accd/tcpstack/cc"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// Snapshot is a Conn between two packets: what Resume needs to go on. Plain old
// data.
type Snapshot struct {
	Tuple wire.Tuple // Src is the side this Conn plays

	// Agreed in the handshake.
	MSS        int   // the peer's MSS option in bytes; 0: 536 or 1220 (RFC 9293, 3.7.1)
	SndScale   uint8 // shift of the windows the peer sends (RFC 7323, 2)
	RcvScale   uint8 // shift of the windows sent to the peer
	SACK       bool
	Timestamps bool
	ECN        ECN

	// Who has closed: a FIN counts once it is acknowledged.
	SndClosed bool
	RcvClosed bool

	// The sending half.
	SndUna wire.Seq // oldest byte the peer has not acknowledged
	SndNxt wire.Seq // next byte to send
	SndWnd int      // bytes the peer offers from SndUna on
	MaxWnd int      // largest window ever seen, bytes; 0: SndWnd

	// The receiving half.
	RcvNxt  wire.Seq // next byte expected
	RcvEdge wire.Seq // the largest right edge ever offered to the peer
	// RcvUnacked is how many bytes before RcvNxt were not acknowledged to the
	// peer yet: an ACK of them is owed.
	RcvUnacked int
	AckAlone   uint8 // small segments whose ACK does not wait for data: see SetRide

	// Timestamps, meaningful when Timestamps.
	TSRecent    uint32    // of the peer
	TSRecentAge mono.Time // when it was set; 0: none is known
	TSVal       uint32    // the last one sent to the peer; without Relay the one to send now

	// ECN between two segments, meaningful when it is agreed on.
	ECNEcho    bool // the peer is owed ECE until it says CWR
	ECNReduced bool // the peer is owed CWR
	ECTLost    int  // segments of ECT data lost since any arrived; 3: no more is sent

	// AccECN after a handshake that somebody else has led; a Conn that has sent or
	// received more cannot be resumed with it, as its counters are not here.
	AwaitThird    bool     // the server's end: the segment that completes the handshake comes next
	TellSYNACK    bool     // the client's end: its next pure ACK tells how the SYN-ACK arrived,
	SYNACKArrived wire.ECN // with this

	// To start well; zero fields are unknown.
	SRTT, RTTVar, MinRTT time.Duration
	MinRTTAt             mono.Time // when MinRTT was measured
	CC                   cc.Memory // of this connection
	Path                 cc.Path   // of earlier ones by the same path
	PathMTU              int       // the largest IP packet in bytes that the path carries
	PathMTURaise         mono.Time // with PathMTU: when to search for a larger one
	PathMTUProven        int       // with PathMTU: the largest packet that has arrived since that fell; 0: none
}

// Resume makes a Conn that goes on where snap says. in gets what it receives:
// in.End is the offset of RcvNxt. out is what it sends: out.Base is the offset of
// SndUna; bytes of out before SndNxt count as sent. The Conn copies snap.
func Resume(now mono.Time, snap *Snapshot, in, out *Stream, cfg *Config) *Conn {
	c := new(Conn)
	c.Resume(now, snap, in, out, cfg)
	return c
}

// Resume is the function of the same name in place: c's earlier life is over,
// and what it kept for reuse stays.
func (c *Conn) Resume(now mono.Time, snap *Snapshot, in, out *Stream, cfg *Config) {
	c.begin(now, snap, in, out, cfg)
	c.initPathMTU()
	c.rate.recent = snap.CC.Bandwidth
	inFlight := 0
	if !snap.SndClosed {
		inFlight = max(0, snap.SndNxt.Sub(snap.SndUna))
	}
	if w := c.snap.CC.Window; inFlight > max(w, c.initialWindow()) {
		c.snap.CC.Window = inFlight // the path carries that much, as it seems
	}
	c.newController(now, cfg.InitialWindow)
	if inFlight > 0 {
		// What passed before is in flight, sent by its own endpoint.
		c.adopt(now, uint64(inFlight))
	}
	if snap.RcvUnacked > 0 {
		c.oweNow()
	}
}

// begin makes c the Conn that snap describes, without what depends on the MSS.
func (c *Conn) begin(now mono.Time, snap *Snapshot, in, out *Stream, cfg *Config) {
	c.Release()
	c.sent.reset()
	if c.control != nil {
		c.old = c.control
	}
	*c = Conn{
		cfg: cfg, in: in, out: out, snap: *snap, old: c.old,
		sent: c.sent, reasm: c.reasm, passed: c.passed[:0],
		sndSeq0: snap.SndUna.Add(-int(uint32(out.base))),
		rcvSeq0: snap.RcvNxt.Add(-int(uint32(in.end))),
		una:     out.base, edge: out.base + uint64(snap.SndWnd),
		maxWnd:    max(snap.MaxWnd, snap.SndWnd),
		wl1:       snap.RcvNxt.Add(-snap.RcvUnacked),
		sndClosed: snap.SndClosed, rcvClosed: snap.RcvClosed,
		acked: in.end - uint64(snap.RcvUnacked),
		heard: now, progressed: now, born: now,
		tsRecent: snap.TSRecent, tsRecentAge: snap.TSRecentAge,
		haveTS: snap.Timestamps && snap.TSRecentAge != 0,
		tsVal:  snap.TSVal, haveTSVal: snap.TSVal != 0,
	}
	c.buffer = c.mostBuffer()
	if c.tunes() {
		c.buffer = min(c.buffer, cfg.MinBuffer)
	}
	c.rcvEdge = in.end + uint64(max(0, snap.RcvEdge.Sub(snap.RcvNxt)))
	c.nxt = c.una
	c.ack.quick, c.ack.alone = quickAcks, snap.AckAlone
	c.rtt.init(now, cfg.MinRTO, snap)
	c.rate.deliveredAt, c.rate.firstSent = now, now
	c.rec.point = c.una
	c.ecn.init(snap, c.una)
}

// KeptRecords is how many entries of a table stay for the next burst where nothing else is
// known of it.
const KeptRecords = 128

// Trim gives back the memory that bursts have left behind, tables of more than keep entries:
// 96 bytes of what is in flight, and 24 of each Stream's, which has its own Trim. It is for a
// Conn that is Idle.
func (c *Conn) Trim(keep int) {
	if c.sent.n == 0 && cap(c.sent.records) > keep {
		c.sent = sentQueue{}
	}
	if r := &c.reasm; r.empty() && max(cap(r.pieces), cap(r.ranges)) > keep {
		*r = reassembly{since: r.since}
	}
}

// Release gives up what waits in reassembly, and what the buffers took from
// Config.Memory: the end of a Conn's use.
func (c *Conn) Release() {
	c.reasm.reset()
	if c.cfg != nil {
		c.tune.release(c.cfg.Memory)
	}
}

// Snapshot fills s with what Resume needs to go on; what the Streams and
// reassembly hold is not in it.
func (c *Conn) Snapshot(s *Snapshot) {
	*s = c.snap
	s.SndClosed, s.RcvClosed = c.sndClosed, c.rcvClosed && c.acked == c.rcvNext()
	s.SndUna, s.SndNxt = c.seq(c.una), c.seq(c.nxt)
	s.SndWnd, s.MaxWnd = int(c.edge-c.una), c.maxWnd
	s.RcvUnacked, s.AckAlone = 0, c.ack.alone
	s.RcvNxt, s.RcvEdge = c.rcvSeq(c.acked), c.rcvSeq(c.rcvEdge)
	s.TSRecent, s.TSRecentAge, s.TSVal = c.tsRecent, c.tsRecentAge, c.tsVal
	s.ECN, s.AwaitThird, s.TellSYNACK = c.ecn.agreed, false, false
	s.ECNEcho, s.ECNReduced, s.ECTLost = c.ecn.echo, c.ecn.cwr, c.ecn.ectLosses()
	s.SRTT, s.RTTVar, s.MinRTT, s.MinRTTAt = c.rtt.srtt, c.rtt.rttvar, c.rtt.min, c.rtt.minAt
	if s.CC = (cc.Memory{}); c.control != nil {
		s.CC = c.control.Memory()
	}
	s.CC.MinRTT = c.rtt.min
	s.PathMTU, s.PathMTURaise, s.PathMTUProven = c.pmtu.size, c.pmtu.raise, c.pmtu.proven
}

// initialWindow gives the first congestion window in bytes.
func (c *Conn) initialWindow() int {
	n := c.cfg.InitialWindow
	if n == 0 {
		n = 10 // RFC 6928
	}
	return n * c.mss
}

// newController makes the congestion control, to begin with a window of so many
// segments.
func (c *Conn) newController(now mono.Time, window int) {
	cfg := cc.Config{
		MSS:           c.mss,
		InitialWindow: window,
		Seed:          uint64(c.snap.SndUna.Uint32())<<32 | uint64(c.snap.RcvNxt.Uint32()),
		Memory:        c.snap.CC,
		NoSACK:        !c.snap.SACK,
		Old:           c.old,
	}
	c.old = nil
	if c.snap.MinRTTAt != 0 {
		cfg.Memory.MinRTTAge = now.Sub(c.snap.MinRTTAt)
	}
	construct := c.cfg.NewController
	if construct == nil {
		construct, _ = cc.Constructor("cubic", nil)
	}
	if c.snap.CC.Ssthresh == 0 { // the connection has found no limit itself
		c.control = cc.Careful(construct, cfg, c.snap.Path)
		return
	}
	c.control = construct(cfg)
}
