package simnet

import (
	"fmt"
	"time"

	"accd/splice"
	"accd/tcpstack"
	"accd/tcpstack/buf"
	"accd/tcpstack/mono"
	"accd/tcpstack/pathmem"
	"accd/tcpstack/wire"
)

// BoxConfig is what the accd of a simulation is like.
type BoxConfig struct {
	Legs      [2]tcpstack.Config // by Side; Relay or HoldFIN is set by NewBox
	MaxBuffer int                // bytes held per direction; 0: the flow's default
	Budget    int                // of the pool, bytes; 0: none
	MSS       int                // the relayed MSS is clamped to this; 0: as it is
	Batch     time.Duration      // how long a turn waits for more packets before it sends
	Split     bool               // each leg has a handshake of its own
	Paths     *pathmem.Table     // what earlier connections left; nil: nothing
	Oblivious bool               // the rule says path_memory: false
	Share     int                // bytes of the flow that may wait for a box that does not keep up; 0: it keeps up
	Early     int                // with Split: clients answered before the server is asked, beyond so many by cookies; 0: none
}

// Box is accd between two links, for one connection: what the terminator does
// with a flow, in its order, and what the kernel does around it.
type Box struct {
	Seen   *Observer
	Ended  string // why the connection was ended by accd on purpose; "": it was not
	Torn   bool   // accd died while it split the handshake: the ends have each agreed on options with somebody else
	Count  BoxCount
	Steers int // times the flow asked for steering

	sim     *Sim
	cfg     BoxConfig
	key     wire.Tuple
	out     [2]func(*Packet) // towards each side
	pool    *buf.Pool
	env     splice.Env
	terms   splice.Terms
	count   splice.Counters
	ledger  []byte // the shared memory that outlives a process
	opening *splice.Opening
	flow    *splice.Flow // nil: the connection has no record
	alarm   alarm
	queued  bool // a turn is under way
	seg     tcpstack.Segment
	pkt     tcpstack.Packet

	busy     bool          // a fault is under way
	stopping bool          // it takes no new flows
	gone     bool          // the process does not run
	leapt    bool          // its clock has
	mourned  bool          // its flow held bytes when it died
	settling *splice.Entry // what the next process resets before anything else; nil: nothing
	bypass   [2]bool       // packets from a side do not reach accd
	lapsed   bool          // the bypass ends when the flow asks for steering
	hangs    bool          // the process stands still
	turned   mono.Time     // when it last ran
	backlog  []*Packet     // what the taps queue for it meanwhile
}

// BoxCount says how much of a connection accd carried.
type BoxCount struct {
	Taken, Passed           int   // packets
	TakenBytes, PassedBytes int64 // of payload, repetitions included
	Custodies, Drains       int
	Adopted                 int // custodies of busy flows
	Resets                  int
	Marks                   int // CE marks on data that accd took
	CWR                     int // packets of accd that say it
}

// NewBox makes an accd whose packets leave by out.
func NewBox(s *Sim, key wire.Tuple, keys [2]uint64, cfg BoxConfig, pool *buf.Pool, out [2]func(*Packet)) *Box {
	b := &Box{sim: s, cfg: cfg, key: key, pool: pool, Seen: newObserver(s, keys)}
	for to := range out {
		b.out[to] = func(p *Packet) {
			b.Seen.leaves(p)
			out[to](p)
		}
	}
	pool.Budget = cfg.Budget
	for i := range cfg.Legs {
		b.cfg.Legs[i].Relay, b.cfg.Legs[i].HoldFIN = !cfg.Split, cfg.Split
		b.terms.Leg[i] = &b.cfg.Legs[i]
	}
	b.terms.Rule, b.terms.MaxBuffer, b.terms.Split = "simnet", cfg.MaxBuffer, cfg.Split
	b.terms.Oblivious = cfg.Oblivious
	b.Seen.split, b.Seen.blind = cfg.Split, cfg.Early > 0
	if cfg.Early > 0 {
		var start, cookies [16]byte
		start[0], cookies[0] = 1, 2
		b.terms.Early = tcpstack.NewListener(cfg.Early-1, tcpstack.SecretOf(start), tcpstack.SecretOf(cookies), &b.cfg.Legs[splice.Client])
	}
	b.alarm = alarm{sim: s, wake: b.expire}
	b.ledger = make([]byte, splice.LedgerSize(4))
	b.start()
	return b
}

// start is a new process: no flows, the predecessor's ledger.
func (b *Box) start() {
	b.gone, b.mourned, b.busy, b.settling = false, false, false, nil
	ledgers, err := splice.NewLedgers(b.ledger, 1)
	if err != nil {
		b.sim.Failf("%v", err)
		return
	}
	b.opening = splice.NewOpening(16)
	b.env = splice.Env{Pool: b.pool, Ledger: ledgers[0], Count: &b.count, Paths: b.cfg.Paths, Steer: b.steer, Share: b.cfg.Share}
	b.turned = b.sim.now
}

// steer is what the kernel does when a flow asks for its element again.
func (b *Box) steer(wire.Tuple) {
	b.Steers++
	if b.lapsed {
		b.sim.After(time.Millisecond, func() {
			if b.lapsed {
				b.lapsed, b.bypass = false, [2]bool{}
			}
		})
	}
}

// Arrive takes a packet from the network.
func (b *Box) Arrive(p *Packet) {
	b.Seen.arrives(p)
	switch {
	case b.gone || b.bypass[p.From]:
		b.settle(p)
		b.out[p.From.Other()](p)
	case b.hangs:
		if b.sim.now.Sub(b.turned) < heartbeat && len(b.backlog) < 500 {
			b.backlog = append(b.backlog, p)
		} else {
			b.out[p.From.Other()](p)
		}
	default:
		b.receive(p)
	}
}

func (b *Box) receive(p *Packet) {
	now := b.alarm.now()
	b.turned = b.sim.now
	b.Seen.heard(b.flow, p)
	if p.Bad || !b.take(now, p) {
		b.pass(p)
	} else {
		if b.flow != nil {
			b.Seen.took(b.flow, p)
			if p.ECN == wire.CE {
				b.Count.Marks++
			}
		}
		b.Count.Taken++
		b.Count.TakenBytes += int64(len(p.Data))
		b.sim.tracePacket("> accd", p)
	}
	b.later()
}

func (b *Box) pass(p *Packet) {
	b.sim.tracePacket("= accd", p)
	b.Count.Passed++
	b.Count.PassedBytes += int64(len(p.Data))
	if b.flow != nil {
		b.Seen.passed(p)
	}
	if p.Flags.Has(wire.SYN) {
		q := *p
		q.Flags = splice.RelayFlags(p.Flags)
		if b.cfg.MSS > 0 && p.Options.Has(wire.HasMSS) {
			q.Options.MSS = uint16(min(int(p.Options.MSS), b.cfg.MSS))
		}
		p = &q
	}
	b.out[p.From.Other()](p)
}

// take shows a packet to the flow, or to the opening handshakes, and reports
// whether it ends here.
func (b *Box) take(now mono.Time, p *Packet) bool {
	p.segment(b.pool, &b.seg)
	if b.early(now, p) {
		return true
	}
	taken := b.follow(now, p) && b.flow.Receive(now, p.From, &b.seg, meta) == splice.Taken
	b.note()
	if !taken {
		if b.flow != nil && b.flow.Reopening() {
			b.reopen(now, p)
		}
		taken = b.flow == nil && b.rewrite(now, p)
		b.seg.Drop()
	}
	return taken
}

// byCookie says that a client was answered by a SYN cookie.
const byCookie = "answered by a cookie"

// early answers the client in the server's stead.
func (b *Box) early(now mono.Time, p *Packet) bool {
	if b.terms.Early == nil || b.flow != nil || b.stopping || p.From != splice.Client || p.Flags.Has(wire.RST) {
		return false
	}
	key := b.key.Reverse()
	opens := p.Flags.Has(wire.SYN) && !p.Flags.Has(wire.ACK)
	s := b.seg
	s.Payload = buf.Ref{}
	arrival := b.terms.Early.Receive(now, &key, &s, &b.pkt)
	switch arrival {
	case tcpstack.Opens:
		b.flow, b.Ended = new(splice.Flow), ""
		b.flow.StartEarly(now, new(splice.Record), &b.key, &b.seg, meta, tcpstack.Secret{}, &b.terms, &b.env)
		return true
	case tcpstack.Answered:
		// A cookie whose ACK is lost, with nothing behind it, is forgotten.
		b.Ended = byCookie
		if opens {
			q := packetOf(&b.pkt)
			q.From, q.Is6 = splice.Server, p.Is6
			b.sim.tracePacket("accd >", q)
			b.out[splice.Client](q)
		}
	}
	if !opens && arrival != tcpstack.Ignored {
		return false
	}
	b.seg.Drop()
	return true
}

// rewrite sends accd's own SYN or SYN-ACK instead of p, if the handshake is split.
func (b *Box) rewrite(now mono.Time, p *Packet) bool {
	if !p.Flags.Has(wire.SYN) || b.stopping && !b.opening.Splits(now, b.key) {
		return false
	}
	mss := b.cfg.MSS
	if mss == 0 {
		mss = 1440
	}
	if !b.opening.Rewrite(now, p.From, b.key, &b.seg, &b.terms, mss, &b.pkt) {
		return false
	}
	q := packetOf(&b.pkt)
	q.From, q.Is6 = p.From, p.Is6
	b.sim.tracePacket("accd >", q)
	b.out[p.From.Other()](q)
	return true
}

// reopen shows a packet of a flow that saw a SYN to the opening handshakes too:
// the connection may be a new one.
func (b *Box) reopen(now mono.Time, p *Packet) {
	var rec splice.Record
	if b.opening.Receive(now, p.From, b.key, &b.seg, meta, &rec) {
		b.flow.Replace()
		b.sim.Failf("a new connection replaces the only one there is: %s", b.Seen.line(p))
	}
}

// meta is what every packet here has beside its segment.
var meta = splice.Meta{TTL: 64}

// follow reports whether there is a flow for p.
func (b *Box) follow(now mono.Time, p *Packet) bool {
	if b.flow != nil && b.flow.State() == splice.Gone {
		b.flow = nil
	}
	if b.flow != nil || b.stopping && !b.opening.Splits(now, b.key) {
		return b.flow != nil
	}
	var rec splice.Record
	if b.opening.Receive(now, p.From, b.key, &b.seg, meta, &rec) {
		b.flow = new(splice.Flow)
		if legs, split := b.opening.Legs(); split {
			b.flow.StartSplit(now, &rec, legs, &b.terms, &b.env)
			if b.stopping {
				b.Ended = stopped
				b.flow.Kill(now)
			}
		} else {
			b.flow.Start(now, &rec, &b.terms, &b.env)
		}
		return true
	}
	return false
}

// note counts changes of state for the report and tells the observer.
func (b *Box) note() {
	if b.flow == nil {
		return
	}
	if (b.Seen.blind || b.Seen.split && b.leapt) && b.flow.State() == splice.Gone && b.flow.Why() == splice.Finished {
		// A FIN that comes later still is answered by an end that knows nothing
		// of its numbers, or of the time.
		b.Ended = "finished"
	}
	if state := b.flow.State(); state != b.Seen.was {
		b.sim.Tracef("accd       %v, holds %v", state, b.flow.Held())
		switch state {
		case splice.InCustody:
			b.Count.Custodies++
			b.Count.Adopted = int(b.count.Adopted)
		case splice.Draining:
			b.Count.Drains++
		}
		b.Seen.transition(b.flow)
	}
	if b.flow.Rests() {
		// It is nothing but its record then: as in a table of a million, nobody
		// keeps the rest.
		rec := *b.flow.Record()
		b.flow.Attend(&rec, &b.terms, &b.env)
	}
}

// later sends what is due, at the end of the batch.
func (b *Box) later() {
	if b.queued {
		return
	}
	if b.cfg.Batch == 0 {
		b.turn()
		return
	}
	b.queued = true
	b.sim.After(b.sim.upTo(b.cfg.Batch), func() {
		b.queued = false
		b.turn()
	})
}

func (b *Box) expire() {
	if b.flow == nil || b.gone || b.hangs {
		return
	}
	b.turned = b.sim.now
	b.flow.Expire(b.alarm.now())
	b.note()
	b.turn()
}

func (b *Box) turn() {
	if b.flow == nil || b.gone || b.hangs {
		return
	}
	now := b.alarm.now()
	for n := 0; ; n++ {
		to, ok := b.flow.Transmit(now, &b.pkt)
		b.note()
		if !ok {
			break
		}
		if n == 100000 {
			b.sim.Failf("accd does not stop sending")
			return
		}
		p := packetOf(&b.pkt)
		p.From, p.Is6 = to.Other(), !b.key.Is4()
		b.sim.tracePacket("accd >", p)
		if p.Flags.Has(wire.RST) {
			b.Count.Resets++
		}
		if p.Flags.Has(wire.CWR) {
			b.Count.CWR++
		}
		b.Seen.made(b.flow, p)
		b.out[to](p)
	}
	at := b.flow.Deadline()
	if at <= now {
		at = now + 1
	}
	b.alarm.set(at)
}

// check is what must be true after every event.
func (b *Box) check() {
	if b.flow == nil || b.gone || b.hangs {
		return
	}
	b.Seen.after(b.flow)
}

// TooBig takes the news of a router beyond side that a packet was too long.
func (b *Box) TooBig(p *Packet, mtu int, back func()) {
	to := p.From.Other()
	if b.flow != nil && !b.gone && !b.hangs && !b.bypass[to] &&
		b.flow.PacketTooBig(b.alarm.now(), to, p.Seq, mtu) == splice.Taken {
		b.later()
		return
	}
	back()
}

// describe says where accd stands.
func (b *Box) describe() string {
	if b.flow == nil {
		return "no flow"
	}
	return fmt.Sprintf("%v, holds %v, %+v", b.flow.State(), b.flow.Held(), b.Count)
}

func (c *BoxCount) add(d BoxCount) {
	c.Taken += d.Taken
	c.Passed += d.Passed
	c.TakenBytes += d.TakenBytes
	c.PassedBytes += d.PassedBytes
	c.Custodies += d.Custodies
	c.Drains += d.Drains
	c.Adopted += d.Adopted
	c.Resets += d.Resets
	c.Marks += d.Marks
	c.CWR += d.CWR
}
