package terminator

import (
	"sync"
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

// Ours: how much a turn does of one thing before the next gets its share.
const (
	turnFrames = 64        // frames read per device
	turnRead   = 256 << 10 // bytes read per device, which are still in the cache when they are sent
	turnSend   = 256 << 10 // bytes sent
	flowSend   = 128 << 10 // bytes sent by one flow while others wait
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

// requests are functions that others want run between two turns.
type requests struct {
	sync.Mutex
	list []func(*shard)
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

// ready puts f among the flows that send next.
func (s *shard) ready(f *flow) {
	if !f.queued {
		s.fresh.push(f)
	}
}

// send lets flows send, up to a turn's share, and reports whether there is more.
// Flows that something happened to come first, so that an ACK does not wait for
// the bulk of others; those with more to send than their share take turns.
func (s *shard) send() (more bool) {
	for sent := 0; sent < turnSend && !s.choked(); {
		// What little a flow has to say goes first, but bulk gets its half.
		first, then := &s.fresh, &s.busy
		if sent >= turnSend/2 {
			first, then = then, first
		}
		f := first.pop()
		if f == nil {
			f = then.pop()
		}
		if f == nil {
			return false
		}
		n, more := s.sendFlow(f)
		sent += n
		s.deputies.sent += n
		if s.settle(f) && more {
			s.busy.push(f)
		}
	}
	return s.fresh.first != nil || s.busy.first != nil
}

// sendFlow sends what f has, up to its share, and gives how much that was.
func (s *shard) sendFlow(f *flow) (sent int, more bool) {
	s.current = f
	for sent < flowSend {
		to, ok := f.Transmit(s.now, &s.packet)
		if !ok {
			s.current = nil
			return sent, false
		}
		f.Template(to, &s.template)
		s.emitFlow(f, to)
		sent += s.packet.Len + wire.MaxHeader
	}
	s.current = nil
	return sent, true
}

// settle notes what has become of f, which is in no list, and reports whether the
// shard still attends to it.
func (s *shard) settle(f *flow) bool {
	state := f.State()
	if active := state != splice.OnWire && state != splice.Gone; active != f.active {
		f.active = active
		if active {
			s.active++
		} else {
			s.active--
		}
	}
	if state == splice.Gone {
		// A new connection that has the tuple now keeps its steering.
		if forget := s.t.cfg.Forget; forget != nil && f.Why() != splice.Replaced && !f.parted {
			forget(f.client())
		}
		s.remove(f)
		return false
	}
	if f.Rests() {
		s.leave(f)
		return false
	}
	// The entry is re-armed only for something earlier: one that fires too
	// early finds the new deadline.
	if at := f.Deadline(); at != mono.Never {
		if armed, ok := f.timer.Armed(); !ok || at < armed {
			s.wheel.Arm(&f.timer, at)
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

// answer runs what others have asked for.
func (s *shard) answer() {
	for {
		s.requests.Lock()
		if len(s.requests.list) == 0 {
			s.requests.list = nil
			s.requests.Unlock()
			return
		}
		do := s.requests.list[0]
		s.requests.list = s.requests.list[1:]
		s.requests.Unlock()
		do(s)
	}
}

// ask has do run on the shard's goroutine, soon.
func (s *shard) ask(do func(*shard)) {
	s.requests.Lock()
	s.requests.list = append(s.requests.list, do)
	s.requests.Unlock()
	s.wake()
}

// wake ends the wait of the shard, if it waits.
func (s *shard) wake() {
	if !s.pending.Swap(true) {
		s.wait.Wake()
	}
}

// silent says that the stopping shard holds nothing.
func (s *shard) silent() {
	select {
	case <-s.quiet:
	default:
		close(s.quiet)
	}
}

// abandon resets the ends of handshakes that are being split. What completes all
// the same, because a reset was lost, is reset by admit.
func (s *shard) abandon() {
	s.opening.Abandon(s.now, &s.template, &s.packet, s.emit)
}

// drain begins the stop: no flow enters custody any more, the others drain.
func (s *shard) drain() {
	s.stopping = true
	s.abandon()
	s.flows.each(func(f *flow) {
		s.current = f
		f.Drain(s.now, splice.Stop)
		s.current = nil
		if f.active {
			s.ready(f)
		}
	})
}

// kill ends the stop: what still holds bytes is reset on both sides. It gives
// how many flows that were.
func (s *shard) kill() (killed int) {
	s.abandon()
	s.flows.each(func(f *flow) {
		if !f.active {
			return
		}
		if held := f.Held(); held != [2]int{} {
			killed++
			s.log.Warn("flow reset: its receiver did not read before the stop's deadline",
				zap.Stringer("flow", f.client()), zap.Int("held_to_client", held[splice.Client]), zap.Int("held_to_server", held[splice.Server]))
		}
		s.current = f
		f.Kill(s.now)
		s.current = nil
		s.ready(f)
	})
	for s.send() {
		s.finish()
	}
	return killed
}
