package script

import (
	"fmt"
	"net/netip"
	"strconv"

	"accd/splice"
	"accd/tcpstack"
	"accd/tcpstack/buf"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// flow is a Flow between a client and a server that the script plays: 0 is the
// client's leg and 1 the server's.
type flow struct {
	tuple   wire.Tuple
	opening *splice.Opening
	flow    *splice.Flow // nil before the handshake is over
	env     splice.Env
	terms   splice.Terms
	count   splice.Counters
	pool    buf.Pool
	end     [2]end
	steered int
	set     *settings
	pkt     tcpstack.Packet
}

// tuple gives the addresses of a family.
func tuple(family int) wire.Tuple {
	if family == 6 {
		return wire.TupleOf(netip.MustParseAddrPort("[fd00::1]:40000"), netip.MustParseAddrPort("[fd00::2]:80"))
	}
	return wire.TupleOf(netip.MustParseAddrPort("10.0.0.1:40000"), netip.MustParseAddrPort("10.0.0.2:80"))
}

// newFlow begins a flow before its handshake, or after it with established.
func newFlow(now mono.Time, set *settings, args []string) (*flow, error) {
	cfg := set.config()
	split := len(args) == 1 && args[0] == "split"
	cfg.Relay, cfg.HoldFIN = !split, split
	f := &flow{tuple: tuple(set.family), opening: splice.NewOpening(64), set: set}
	f.terms = splice.Terms{Rule: "script", Leg: [2]*tcpstack.Config{cfg, cfg}, MaxBuffer: cfg.Buffer, Split: split}
	f.env = splice.Env{Pool: &f.pool, Count: &f.count, Steer: func(wire.Tuple) { f.steered++ }}
	f.opening.Count = &f.count
	f.end[0] = end{isn: wire.SeqOf(0xffff_ff00), win: 65535}
	f.end[1] = end{isn: wire.SeqOf(0x7fff_ff00), win: 65535}
	if len(args) == 0 || split {
		return f, nil
	}
	if args[0] != "established" {
		return nil, fmt.Errorf("no beginning: flow %q; there are flow, flow split and flow established with options", args[0])
	}
	return f, f.handshake(now, args[1:])
}

// receive gives a packet to the opening, the flow or both, as the demux of a
// shard does.
func (f *flow) receive(now mono.Time, side int, p *packet) (string, error) {
	from := splice.Side(side)
	s := segment(now, &f.pool, side, p, &f.end[side], &f.end[1-side])
	meta := splice.Meta{TTL: 60 + uint8(side), From: splice.LAN + splice.Network(side)}
	if f.flow != nil && f.flow.State() == splice.Gone {
		f.flow = nil
	}
	left := "passes"
	if f.flow == nil || f.flow.Reopening() {
		var rec splice.Record
		if f.opening.Receive(now, from, f.tuple, s, meta, &rec) {
			if f.flow != nil {
				f.flow.Replace()
			}
			f.begin(now, &rec)
		} else if p.flags.Has(wire.SYN) && f.opening.Rewrite(now, from, f.tuple, s, &f.terms, splitMSS, &f.pkt) {
			q, err := sent(side, &f.pkt, &f.end[side], &f.end[1-side])
			if err != nil {
				return "", err
			}
			left = "> " + q.show(f.set)
		}
	}
	if f.flow != nil && f.flow.Receive(now, from, s, meta) == splice.Taken {
		if s.Payload.Len() > 0 {
			return "", fmt.Errorf("taken, but the payload was left")
		}
		left = ""
	} else {
		s.Drop()
	}
	return left, nil
}

// splitMSS is what a split flow asks of its server at most, in bytes.
const splitMSS = 1400

// begin makes the flow of a handshake that is over.
func (f *flow) begin(now mono.Time, rec *splice.Record) {
	f.flow = new(splice.Flow)
	legs, split := f.opening.Legs()
	if !split {
		f.flow.Start(now, rec, &f.terms, &f.env)
	} else {
		f.flow.StartSplit(now, rec, legs, &f.terms, &f.env)
	}
	for i := range f.end {
		f.end[i].ts = rec.Timestamps
		if split {
			f.end[i].ts = legs[i].Timestamps
		}
	}
}

func (f *flow) transmit(now mono.Time) (int, *packet, error) {
	if f.flow == nil {
		return 0, nil, nil
	}
	to, ok := f.flow.Transmit(now, &f.pkt)
	if !ok {
		return 0, nil, nil
	}
	from := to.Other()
	p, err := sent(int(from), &f.pkt, &f.end[from], &f.end[to])
	return int(to), p, err
}

func (f *flow) expire(now mono.Time) {
	if f.flow != nil {
		f.flow.Expire(now)
	}
}

func (f *flow) deadline() mono.Time {
	if f.flow == nil {
		return mono.Never
	}
	return f.flow.Deadline()
}

// drains are the reasons for which a script drains a flow.
var drains = []splice.Reason{splice.Operator, splice.Stop, splice.IPOption, splice.Fragment, splice.Restart, splice.Policy}

// command is what an operator, the kernel or a router does.
func (f *flow) command(now mono.Time, name string, args []string) error {
	if name == "wait" {
		return nil
	}
	if f.flow == nil {
		return fmt.Errorf("there is no flow yet")
	}
	switch what := fmt.Sprintf("%s %d", name, len(args)); what {
	case "drain 0":
		f.flow.Drain(now, splice.Operator)
	case "drain 1":
		for _, why := range drains {
			if why.String() == args[0] {
				f.flow.Drain(now, why)
				return nil
			}
		}
		return fmt.Errorf("no reason to drain: %q; there are %v", args[0], drains)
	case "gap 0":
		f.flow.Gap(now)
	case "kill 0":
		f.flow.Kill(now)
	case "ptb 3":
		to, err := legOf(args[0])
		if err != nil {
			return err
		}
		seq, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		mtu, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		f.flow.PacketTooBig(now, splice.Side(to), f.end[1-to].isn.Add(seq), mtu)
	default:
		return fmt.Errorf("no command %q with %d words; docs/scripts.md lists them", name, len(args))
	}
	return nil
}

func legOf(s string) (int, error) {
	switch s {
	case "client":
		return 0, nil
	case "server":
		return 1, nil
	}
	return 0, fmt.Errorf("no leg: %q; there are client and server", s)
}

// finish asserts that a flow on the wire holds nothing.
func (f *flow) finish() error {
	if f.flow != nil && f.flow.State() == splice.OnWire && f.pool.InUse() != 0 {
		return fmt.Errorf("on the wire, but %d bytes of slabs are still referenced", f.pool.InUse())
	}
	return nil
}
