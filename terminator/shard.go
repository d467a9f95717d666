package terminator

import (
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"accd/policy"
	"accd/splice"
	"accd/tcpstack"
	"accd/tcpstack/buf"
	"accd/tcpstack/mono"
	"accd/tcpstack/timer"
	"accd/tcpstack/wire"
	"accd/terminator/link"
)

// Ours: how much a turn reads per device before others get their share.
const (
	turnFrames = 64
	turnRead   = 256 << 10 // bytes, which are still in the processor's caches when they are sent
)

// Ours: a turn comes at least this often, and one that comes later than maxGap
// after the last finds the heartbeat lapsed and packets gone by (custody.md,
// "a gap in steering").
const (
	turnPeriod = 100 * time.Millisecond
	maxGap     = 500 * time.Millisecond
)

// recently is how long ago a flow was heard that is probably busy. Ours.
const recently = 10 * time.Second

// device is one tap as a shard sees it.
type device struct {
	queue     link.Queue
	mac       [6]byte // the tap's own: the destination of what is written to it
	neighbour [6]byte // the source
	offload   bool
}

// shard does all work for the flows whose packets the kernel puts into one
// queue of both taps. Nothing of it is touched by another goroutine but inbox,
// requests, pending, turns and quit, and, by a deputy, out and part of deputies.
type shard struct {
	t     *Terminator
	index int
	log   *zap.Logger
	dev   [2]device // by the splice.Side they face

	now      mono.Time // of this turn
	last     mono.Time // of the turn before
	pool     buf.Pool
	slabs    slabs // the pool's memory
	wheel    timer.Wheel[*flow]
	flows    flows
	opening  *splice.Opening
	clients  openings
	newFlows bucket
	terms    terms
	policy   *policy.Table
	env      splice.Env
	out      [2]outbox // by the splice.Side they lead to
	deputies deputies
	custody  splice.Counters
	count    counters
	fresh    list // flows that something happened to
	busy     list // flows that have used up their share of a turn
	active   int  // flows not on the wire
	vigil    vigil
	backlog  backlog
	swept    mono.Time
	trimmed  mono.Time
	sweep    int             // of age: what is below was not looked at yet
	answers  bool            // some rule has accd answer clients before it asks the server
	secret   tcpstack.Secret // of sequence numbers towards such servers
	stopping bool            // no flow leaves the wire any more
	err      error           // a tap is gone

	current *flow // whose code runs: the one to blame for a panic
	expire  func(*flow)

	// Reused for every packet.
	ahead    ahead
	many     int        // flows: from so many on frames are read ahead
	frame    link.Frame // of another shard
	view     wire.View
	direct   bool // the frame in view has taken the shortcut
	segment  tcpstack.Segment
	record   splice.Record
	packet   tcpstack.Packet
	template splice.Template
	header   wire.Header
	virtio   wire.VirtioHeader
	head     [wire.MaxHeader]byte
	whole    [1][]byte

	inbox    inbox
	requests requests
	pending  atomic.Bool // something is in inbox or requests
	turns    atomic.Uint64
	quiet    chan struct{} // closed when the shard is stopping and holds nothing
	quit     atomic.Bool
	wait     link.Waiter
}

func (s *shard) init(now mono.Time) {
	s.now, s.last, s.swept, s.trimmed = now, now, now, now
	s.wheel.Init(now)
	s.backlog.init(now)
	s.many = aheadFlows
	s.newFlows.tokens, s.newFlows.filled = time.Second, now
	s.expire = func(f *flow) {
		s.current = f
		f.Expire(s.now)
		s.current = nil
		s.ready(f)
	}
}

// turn does once, in order, everything there is to do at now, and gives the
// instant by which the next turn must come; now if there is more to do.
func (s *shard) turn(now mono.Time) (next mono.Time) {
	s.now = now
	if gap := now.Sub(s.last); gap > maxGap {
		s.log.Warn("the shard stood still: flows drain", zap.Int("shard", s.index), zap.Duration("gap", gap))
		s.gap()
	}
	s.last = now
	s.collect()
	if s.pending.Swap(false) {
		s.unpack()
		s.answer()
	}
	more := s.readFrom(splice.Client)
	more = s.readFrom(splice.Server) || more
	s.env.Share = s.backlog.turn(now, more)
	s.wheel.Advance(now, s.expire)
	unsent := s.send()
	s.age(now)
	if s.stopping && s.active == 0 {
		s.silent()
	}
	s.turns.Add(1)
	switch next = min(s.wheel.Next(), now.Add(turnPeriod)); {
	case more || s.pending.Load() || unsent && !s.choked():
		return now
	case s.waits():
		return min(next, now.Add(deputyLate))
	}
	return next
}

// readFrom receives what waits at a tap, up to a turn's share, and reports
// whether there may be more.
func (s *shard) readFrom(side splice.Side) (more bool) {
	a := &s.ahead
	for frames, bytes := 0, 0; frames < turnFrames && bytes < turnRead; frames += a.n {
		more, err := a.read(s.dev[side].queue, &s.pool, min(s.reach(), turnFrames-frames))
		if a.n > 1 {
			s.warm(side)
		}
		for ; a.done < a.n; a.done++ {
			f := &a.frames[a.done]
			s.receive(side, f, false)
			bytes += len(f.Bytes)
			f.Drop()
		}
		if err != nil {
			s.sent(err)
		}
		if !more {
			return false
		}
	}
	return true
}

// gap tells every flow that packets may have gone by; those that rest are told
// when the next packet comes.
func (s *shard) gap() {
	s.count.gaps++
	s.flows.each(func(f *flow) {
		s.place(f).gaps = uint32(s.count.gaps)
		s.current = f
		f.Gap(s.now)
		s.current = nil
		s.ready(f)
	})
}

// heard appends the clients of some flows before end, as part has it: of those that
// were heard recently, or of the others.
func (s *shard) heard(clients []wire.Tuple, end int, recent bool) (_ []wire.Tuple, rest int) {
	rest = s.flows.part(end, func(p *place) {
		if recent == (s.now.Sub(p.heard) < recently) {
			clients = append(clients, p.Tuple)
		}
	})
	return clients, rest
}
