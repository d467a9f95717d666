package simnet

import (
	"accd/splice"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// farewell is what becomes at accd of the FIN of an endpoint and of its
// acknowledgment: each is to be passed on, or answered, when it comes again.
type farewell struct {
	came  bool
	end   wire.Seq  // behind the FIN
	asked mono.Time // a FIN came then, and none was passed on nor any answered since; 0: no
	acked mono.Time // its acknowledgment came then, and its sender was not told since; 0: no

	// The last time that accd kept either for longer than TIME-WAIT.
	from, until mono.Time
}

// arrives notes a packet that reaches accd from an endpoint.
func (o *Observer) arrives(p *Packet) {
	if p.Bad || p.Forged {
		return
	}
	if me := &o.bye[p.From]; p.Flags.Has(wire.FIN) {
		me.came, me.end = true, p.End()
		me.asked = since(me.asked, o.sim.now)
	}
	if far := &o.bye[p.From.Other()]; far.came && !o.blind && p.Flags.Has(wire.ACK) && far.end.LessEq(p.Ack) {
		far.acked = since(far.acked, o.sim.now)
	}
}

// leaves notes a packet that leaves accd, whoever made it.
func (o *Observer) leaves(p *Packet) {
	if p.Forged {
		return
	}
	if me := &o.bye[p.From]; p.Flags.Any(wire.FIN | wire.RST) {
		me.kept(&me.asked, o.sim.now)
	}
	far := &o.bye[p.From.Other()]
	if told := o.blind || far.end.LessEq(p.Ack); far.came && (told && p.Flags.Has(wire.ACK) || p.Flags.Has(wire.RST)) {
		far.kept(&far.asked, o.sim.now)
		far.kept(&far.acked, o.sim.now)
	}
}

func since(t, now mono.Time) mono.Time {
	if t.IsZero() {
		return now
	}
	return t
}

// kept ends the time since which accd has kept something.
func (b *farewell) kept(from *mono.Time, now mono.Time) {
	if !from.IsZero() && now.Sub(*from) >= timeWait {
		b.from, b.until = *from, now
	}
	*from = 0
}

// withheld reports that of the FIN of side, which its peer had got at got, accd kept
// for as long as TIME-WAIT lasts what was to bring its sender the acknowledgment.
func (o *Observer) withheld(side splice.Side, got, ended mono.Time) bool {
	b := o.bye[side]
	b.kept(&b.asked, ended)
	b.kept(&b.acked, ended)
	return min(b.until, ended).Sub(max(b.from, got)) >= timeWait
}
