package terminator

import (
	"container/heap"
	"flag"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"accd/splice"
	"accd/tcpstack"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

var storms = flag.Int("storms", 2, "how many storms TestStorm makes")

// storm is endpoints that open, vanish, abort and use their ports again at once,
// behind links that lose, while the policy changes and forged packets come between.
type storm struct {
	*box
	rng   *rand.Rand
	ends  map[wire.Tuple]*end // by tuple, Src is the end's
	said  []string            // by the number of a stream: who reads it, "" nobody yet
	later events
	calm  bool // nothing is lost any more
	mute  bool // who is gone does not answer
	terms map[*splice.Terms]bool
	read  int // bytes
	// Frames that invited their flow to the shortcut.
	invited int
}

// end is one endpoint of one connection. Its stream says its number first.
type end struct {
	key     wire.Tuple
	conn    tcpstack.Conn
	in, out tcpstack.Stream
	number  int // of what it says
	left    int // bytes to say
	said    int
	peer    int // number of what it hears; -1: it does not know yet
	heard   int
	deaf    bool
}

type event struct {
	at mono.Time
	n  int
	do func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].n < e[j].n
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	x := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return x
}

var stormConfigs = []string{"accelerate,", "accelerate, handshake: split,", "accelerate, handshake: split, accept: early,", "pass,"}

func stormConfig(action string) string {
	s := strings.Replace(config, "action: accelerate,", "action: "+action, 1)
	return strings.Replace(s, ", wan: { congestion: bbr }", "", 1)
}

// word gives byte off of a stream: its number, then what depends on it.
func word(number, off int) byte {
	if off < 8 {
		return byte(uint64(number) >> (8 * off))
	}
	x := (uint64(number)<<32 ^ uint64(off)) * 0x9e3779b97f4a7c15
	return byte(x >> 56)
}

func (s *storm) at(d time.Duration, do func()) {
	heap.Push(&s.later, event{s.now.Add(d), len(s.said) + s.later.Len(), do})
}

func (s *storm) config() *tcpstack.Config {
	r := s.rng
	return &tcpstack.Config{
		NoSegmentation: true, NoSACK: r.IntN(4) == 0, NoTimestamps: r.IntN(4) == 0, NoWindowScale: r.IntN(4) == 0,
		Buffer: 64 << 10 << r.IntN(4), UserTimeout: 2 * time.Minute, KeepAlive: tcpstack.KeepAlive{On: true, Idle: 5 * time.Minute, Interval: 10 * time.Second},
	}
}

func (s *storm) newEnd(key wire.Tuple) *end {
	e := &end{key: key, number: len(s.said), left: 8 + s.rng.IntN(1<<(3+s.rng.IntN(16))), peer: -1, deaf: s.rng.IntN(10) == 0}
	s.said = append(s.said, "")
	s.forget(key)
	s.ends[key] = e
	return e
}

// forget has an endpoint vanish.
func (s *storm) forget(key wire.Tuple) {
	if e := s.ends[key]; e != nil {
		e.conn.Release()
		e.in.Reset()
		e.out.Reset()
		delete(s.ends, key)
	}
}

func (s *storm) dial(key wire.Tuple) {
	e := s.newEnd(key)
	e.conn.Dial(s.now, key, wire.SeqOf(s.rng.Uint32()), &e.in, &e.out, s.config())
	s.run(e)
}

// run lets an endpoint read, write and send.
func (s *storm) run(e *end) {
	if e.in.Len() > 0 && !e.deaf {
		for _, p := range e.in.Gather(nil, e.in.Base(), e.in.Len()) {
			s.hear(e, p)
		}
		e.in.Discard(e.in.End())
	}
	if st := e.conn.State(); e.left > 0 && e.out.Len() < 64<<10 && st >= tcpstack.Established && !e.out.Closed() {
		b := make([]byte, min(e.left, 64<<10))
		for i := range b {
			b[i] = word(e.number, e.said+i)
		}
		e.out.Append(s.pool.Copy(b))
		e.said, e.left = e.said+len(b), e.left-len(b)
		if e.left == 0 && s.rng.IntN(2) == 0 {
			e.out.Close()
		}
	}
	if e.in.Closed() && !e.out.Closed() && e.left == 0 {
		e.conn.Close(s.now)
	}
	var p tcpstack.Packet
	for e.conn.Transmit(s.now, &p) {
		s.emit(e.key, &p)
	}
	if e.conn.State() == tcpstack.Closed && s.ends[e.key] == e {
		s.forget(e.key)
	}
}

// hear checks what an endpoint was told.
func (s *storm) hear(e *end, p []byte) {
	s.read += len(p)
	for _, b := range p {
		if e.heard < 8 {
			if e.heard == 0 {
				e.peer = 0
			}
			if e.peer |= int(b) << (8 * e.heard); e.heard == 7 {
				if e.peer >= len(s.said) || s.said[e.peer] != "" {
					s.t.Fatalf("%v begins to hear stream %d of %d, which %q has heard", e.key, e.peer, len(s.said), s.said[e.peer])
				}
				s.said[e.peer] = e.key.String()
			}
		} else if b != word(e.peer, e.heard) {
			s.t.Fatalf("%v: byte %d of stream %d is wrong", e.key, e.heard, e.peer)
		}
		e.heard++
	}
}

// emit puts a packet of an endpoint on its link to the box.
func (s *storm) emit(key wire.Tuple, p *tcpstack.Packet) {
	from := splice.Client
	if key.DstPort != 80 {
		from = splice.Server
	}
	var payload []byte
	for _, b := range p.Payload {
		payload = append(payload, b...)
	}
	o := p.Options
	q := packet{tuple: key, flags: p.Flags, seq: p.Seq.Uint32(), ack: p.Ack.Uint32(), window: p.Window, options: &o, payload: payload, net: splice.LAN + splice.Network(from)}
	f := q.frame()
	if !p.Flags.Any(wire.SYN|wire.FIN|wire.RST) && s.rng.IntN(2) == 0 {
		f = q.direct()
	}
	s.link(func() { s.put(0, from, wire.VirtioHeader{}, f) })
	if s.rng.IntN(200) == 0 && !s.calm {
		s.forge(from, p, key)
	}
}

// forge says something else in the name of an endpoint, without data.
func (s *storm) forge(from splice.Side, p *tcpstack.Packet, key wire.Tuple) {
	flags := [...]wire.Flags{wire.SYN, wire.RST, wire.ACK, wire.FIN | wire.ACK, wire.SYN | wire.ACK, wire.RST | wire.ACK, wire.SYN | wire.FIN, 0}[s.rng.IntN(8)]
	seq, ack := p.Seq.Uint32(), p.Ack.Uint32()
	if s.rng.IntN(2) == 0 {
		seq = s.rng.Uint32()
	}
	if s.rng.IntN(2) == 0 {
		ack = s.rng.Uint32()
	}
	f := packet{tuple: key, flags: flags, seq: seq, ack: ack, window: uint16(s.rng.Uint32()), net: splice.LAN + splice.Network(from)}.frame()
	s.link(func() { s.put(0, from, wire.VirtioHeader{}, f) })
}

// link has a packet arrive later, perhaps twice or not at all.
func (s *storm) link(arrive func()) {
	if !s.calm && s.rng.IntN(40) == 0 {
		return
	}
	delay := time.Duration(1+s.rng.IntN(20)) * time.Millisecond
	if s.rng.IntN(20) != 0 {
		delay = 5 * time.Millisecond
	}
	s.at(delay, arrive)
	if !s.calm && s.rng.IntN(50) == 0 {
		s.at(2*delay, arrive)
	}
}

// arrive gives an endpoint what came out of the box.
func (s *storm) arrive(g got) {
	v := &g.view
	if [6]byte(g.frame[6:12]) == invitation {
		if s.invited++; g.side != splice.Server || v.Flags().Any(wire.SYN|wire.FIN|wire.RST) {
			s.t.Fatalf("%v towards the %v invites %v to the shortcut", v.Flags(), g.side, v.Tuple())
		}
	}
	key := v.Tuple().Reverse()
	seg := tcpstack.Segment{Seq: v.Seq(), Ack: v.Ack(), Flags: v.Flags(), Window: v.Window(), GSOSize: int(g.virtio.GSOSize)}
	seg.Options.Decode(v.OptionBytes())
	if n := v.End - v.Data; n > 0 {
		seg.Payload = s.pool.Copy(g.frame[v.Data:v.End])
	}
	e := s.ends[key]
	if e != nil {
		w, waits := e.conn.TimeWaiter()
		if _, again := w.Reopens(s.now, &seg); waits && again {
			s.forget(key)
			e = nil
		}
	}
	var p tcpstack.Packet
	switch {
	case e != nil:
		e.conn.Receive(s.now, &seg)
		s.run(e)
	case s.mute:
		seg.Drop()
	case g.side == splice.Server && seg.Flags&(wire.SYN|wire.ACK|wire.RST) == wire.SYN && s.rng.IntN(10) != 0:
		e = s.newEnd(key)
		e.conn.Accept(s.now, key, wire.SeqOf(s.rng.Uint32()), &seg, &e.in, &e.out, s.config())
		s.run(e)
	default:
		if s.rng.IntN(3) != 0 && tcpstack.Refuse(&key, &seg, &p) {
			s.emit(key, &p)
		}
		seg.Drop()
	}
}

// until lets time pass.
func (s *storm) until(end mono.Time) {
	sh := s.term.shards[0]
	for s.now < end {
		next := s.turn()
		for _, g := range s.take(0) {
			s.link(func() { s.arrive(g) })
		}
		for v := range s.terms {
			if v.Early != nil && v.Early.Half() < 0 {
				s.t.Fatalf("%d half-open clients", v.Early.Half())
			}
		}
		for _, r := range sh.terms.rulings {
			if r.terms != nil {
				s.terms[r.terms] = true
			}
		}
		if len(s.later) > 0 {
			next = min(next, s.later[0].at)
		}
		for _, e := range s.ends {
			next = min(next, e.conn.Deadline())
		}
		s.now = max(s.now, min(next, end))
		for len(s.later) > 0 && s.later[0].at <= s.now {
			heap.Pop(&s.later).(event).do()
		}
		for _, k := range s.keys() {
			if e := s.ends[k]; e != nil && e.conn.Deadline() <= s.now {
				e.conn.Expire(s.now)
				s.run(e)
			}
		}
	}
}

// keys gives the endpoints there are, in an order that a seed repeats.
func (s *storm) keys() (all []wire.Tuple) {
	for _, k := range stormTuples {
		for _, k := range [2]wire.Tuple{k, k.Reverse()} {
			if s.ends[k] != nil {
				all = append(all, k)
			}
		}
	}
	return all
}

var stormTuples = func() (all []wire.Tuple) {
	for _, c := range []string{"10.1.0.7:40000", "10.1.0.7:40001", "10.1.0.8:40000", "10.1.0.8:40001", "10.1.0.9:40000", "10.1.0.9:40001"} {
		all = append(all, tupleOf(c, "192.0.2.9:80"), tupleOf(c, "192.0.2.10:80"))
	}
	return all
}()

// Whatever endpoints, forgers and operators do, no byte is wrong, nothing panics, and
// when all is over nothing is left: no flow, no timer, no byte, no place.
func TestStorm(t *testing.T) {
	first := *seed
	if first == 0 {
		first = rand.Uint64()
	}
	for n := first; n < first+uint64(*storms); n++ {
		t.Logf("-seed=%d -storms=1", n)
		stormOnce(t, n)
	}
}

func stormOnce(t *testing.T, n uint64) {
	b := newBox(t, 1, func(cfg *Config) {
		cfg.Policy = table(t, stormConfig(stormConfigs[0]))
		cfg.LedgerMem = make([]byte, splice.LedgerSize(64))
		cfg.Shortcut = invitation
	})
	s := &storm{box: b, rng: rand.New(rand.NewPCG(n, 1)), ends: map[wire.Tuple]*end{}, terms: map[*splice.Terms]bool{}}
	sh := b.term.shards[0]
	for range 400 {
		key := stormTuples[s.rng.IntN(len(stormTuples))]
		switch s.rng.IntN(8) {
		case 0:
			sh.obey(table(t, stormConfig(stormConfigs[s.rng.IntN(len(stormConfigs))])))
		case 1:
			if s.rng.IntN(2) == 0 {
				key = key.Reverse()
			}
			s.forget(key)
		case 2:
			if s.rng.IntN(2) == 0 {
				key = key.Reverse()
			}
			if e := s.ends[key]; e != nil {
				e.conn.Abort()
				s.run(e)
			}
		case 3:
			if s.rng.IntN(10) == 0 {
				sh.gap()
			}
		default:
			if s.ends[key] == nil || s.rng.IntN(4) == 0 {
				s.dial(key)
			}
		}
		s.until(s.now.Add(time.Duration(s.rng.IntN(1 << s.rng.IntN(30)))))
	}
	// All go, some of them without a word.
	s.calm = true
	for _, k := range s.keys() {
		if e := s.ends[k]; s.rng.IntN(2) == 0 {
			e.conn.Abort()
			s.run(e)
		}
		s.forget(k)
	}
	s.mute = s.rng.IntN(2) == 0
	s.until(s.now.Add(3 * time.Hour))
	if sh.count.panics != 0 {
		t.Error("a shard panicked")
	}
	if sh.flows.len() != 0 || sh.active != 0 || b.term.flows.Load() != 0 || sh.pool.InUse() != 0 || s.pool.InUse() != 0 {
		t.Errorf("left are %d flows (%d), %d active, %d and %d bytes", sh.flows.len(), b.term.flows.Load(), sh.active, sh.pool.InUse(), s.pool.InUse())
		sh.flows.each(func(f *flow) { t.Errorf("%v: %v, split %v, %v", f.client(), f.State(), f.Split(), f.Record()) })
	}
	for v := range s.terms {
		if v.Early != nil && v.Early.Half() != 0 {
			t.Errorf("%d clients are half open", v.Early.Half())
		}
	}
	if entries, err := splice.ReadLedger(b.term.cfg.LedgerMem); len(entries) != 0 || err != nil {
		t.Errorf("the ledger lists %d flows: %v", len(entries), err)
	}
	if sh.wheel.Next() != mono.Never {
		t.Error("a timer is armed")
	}
	t.Logf("%d streams, %d bytes read; %d flows, %d custodies, %d split; %d frames by the shortcut, %d invitations", len(s.said), s.read, sh.count.flows, sh.custody.Entered, sh.custody.Split, sh.count.direct, s.invited)
}
