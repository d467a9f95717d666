package simnet

// How the accd of a simulation is disturbed, asked to let go, and killed.

import (
	"slices"
	"time"

	"accd/splice"
	"accd/tcpstack/buf"
	"accd/tcpstack/wire"
)

// FaultKind is a way in which accd is disturbed or asked to let go.
type FaultKind int

// The kinds.
const (
	Drain    FaultKind = iota // an operator's drain: the flow goes native for good
	Crash                     // the process dies, packets pass natively; after For it starts again
	Hang                      // the process stands still for For; the heartbeat lapses meanwhile
	Lapse                     // packets bypass accd for For, and it is not told
	LapseOne                  // the same in the direction from Side only
	Recreate                  // packets bypass accd for For, and it is told at the end
	Stop                      // a stop with a deadline of For, then the process is gone
	LetGo                     // something passes that custody does not carry: the flow goes native for the moment
	Faults   = iota
)

// Fault is one disturbance.
type Fault struct {
	Kind FaultKind
	At   time.Duration // since the start
	For  time.Duration
	Side splice.Side
}

// maxGap is the time between two turns from which on steering has had a gap.
const maxGap = 500 * time.Millisecond

// heartbeat is how long the kernel goes on steering to a process that hangs.
const heartbeat = 700 * time.Millisecond

// Leap moves the box's clock forward. A process that finds more than maxGap
// between two turns cannot know what went by.
func (b *Box) Leap(by time.Duration) {
	b.alarm.fast += by
	if by > maxGap && !b.gone && !b.hangs {
		b.gap()
	}
	b.expire()
}

// Fault does one.
func (b *Box) Fault(f Fault) {
	if b.busy {
		return // one at a time
	}
	b.busy = f.Kind != Drain && f.Kind != LetGo
	now := b.sim.now
	b.sim.Tracef("accd       fault %d for %v", f.Kind, f.For)
	switch f.Kind {
	case Drain:
		b.drain(splice.Operator)
	case LetGo:
		b.drain(splice.Urgent)
	case Crash:
		b.Torn = b.Torn || b.flow == nil && b.opening.Splits(b.alarm.now(), b.key)
		b.crash()
		b.sim.After(f.For, b.restart)
	case Hang:
		b.hangs = true
		b.turned = now
		b.sim.After(f.For, b.wake)
	case Lapse, LapseOne:
		b.lapsed = true
		b.bypass = [2]bool{true, true}
		if f.Kind == LapseOne {
			b.bypass[f.Side.Other()] = false
		}
		b.sim.After(f.For, func() { b.lapsed, b.bypass, b.busy = false, [2]bool{}, false })
	case Recreate:
		b.bypass = [2]bool{true, true}
		b.sim.After(f.For, func() {
			b.bypass, b.busy = [2]bool{}, false
			b.gap()
		})
	case Stop:
		b.stopping = true
		b.abandon()
		b.drain(splice.Stop)
		b.sim.After(f.For, b.stop)
	}
}

// wake ends a hang. More than 500 ms between two turns is a gap in steering;
// what the taps queued meanwhile is old, and comes behind it.
func (b *Box) wake() {
	b.hangs, b.busy = false, false
	if b.sim.now.Sub(b.turned) > maxGap {
		b.gap()
	}
	old := b.backlog
	b.backlog = nil
	for _, p := range old {
		b.receive(p)
	}
	b.expire()
}

func (b *Box) drain(why splice.Reason) {
	if b.flow != nil {
		b.flow.Drain(b.alarm.now(), why)
		b.note()
		b.later()
	}
}

func (b *Box) gap() {
	if b.flow != nil {
		b.flow.Gap(b.alarm.now())
		b.note()
		b.later()
	}
}

// stopped says that accd reset the connection because it stopped.
const stopped = "stopped"

// lastWords is how long a process that stops answers challenge ACKs.
const lastWords = time.Second

// stop is the deadline of a stop: what is still held is reset, and the process
// ends.
func (b *Box) stop() {
	b.abandon()
	b.kill()
	b.sim.After(lastWords, func() {
		b.kill() // a split handshake may have ended meanwhile
		b.crash()
	})
}

// abandon resets both ends of a handshake that is being split.
func (b *Box) abandon() {
	var t splice.Template
	n := b.opening.Abandon(b.alarm.now(), &t, &b.pkt, func(to splice.Side) {
		p := packetOf(&b.pkt)
		p.From, p.Is6 = to.Other(), !b.key.Is4()
		b.sim.tracePacket("accd >", p)
		b.out[to](p)
	})
	if n > 0 {
		b.Ended = stopped
	}
}

func (b *Box) kill() {
	if b.flow != nil && b.flow.State() != splice.Gone {
		if b.flow.State() != splice.OnWire {
			b.Ended = stopped
		}
		b.flow.Kill(b.alarm.now())
		b.note()
		b.turn()
	}
}

// crash is the end of the process: memory is gone, the ledger stays.
func (b *Box) crash() {
	b.gone = true
	if b.flow != nil {
		b.mourned = b.flow.Held() != [2]int{} && b.Seen.holds()
		b.discard()
	}
}

// For so long the next process listens to the ends of what it resets, and asks them so
// often, as terminator.Settle does.
const (
	settleTime = 400 * time.Millisecond
	settleAsks = 3
)

// restart is the next process: before anything else it resets what the ledger
// lists, at the numbers that the ends may expect and at those that they tell.
func (b *Box) restart() {
	entries, err := splice.ReadLedger(b.ledger)
	if err != nil {
		b.sim.Failf("%v", err)
	}
	entries = slices.DeleteFunc(entries, func(e splice.Entry) bool { return !e.Stuck() })
	if len(entries) == 0 {
		if b.mourned {
			b.sim.Failf("the ledger does not list a flow that held bytes")
		}
		b.start()
		return
	}
	b.Ended = "reset from the ledger"
	b.settling = &entries[0] // of the one connection there is
	for asked := range settleAsks {
		b.sim.After(time.Duration(asked)*settleTime/settleAsks, func() { b.sendLedger(b.settling.Probes()) })
	}
	b.sim.After(0, func() { b.sendLedger(b.settling.Resets()) })
	b.sim.After(settleTime, b.start)
}

// settle resets an end of which a packet passes at the number it tells.
func (b *Box) settle(p *Packet) {
	if b.settling != nil && p.Flags&(wire.ACK|wire.RST) == wire.ACK && !p.Bad {
		b.sendLedger([]splice.ResetPacket{b.settling.Answer(p.From, p.Ack)})
	}
}

func (b *Box) sendLedger(all []splice.ResetPacket) {
	for _, r := range all {
		p := &Packet{From: r.To.Other(), Is6: !b.key.Is4(), Seq: r.Seq, Ack: r.Ack, Flags: r.Flags}
		b.sim.tracePacket("ledger >", p)
		b.out[r.To](p)
	}
}

// discard frees what the process held.
func (b *Box) discard() {
	b.flow = nil
	b.pool = new(buf.Pool)
	b.pool.Budget = b.cfg.Budget
}
