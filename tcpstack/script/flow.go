package script

import (
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

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
	scale   [2]int // of the SYNs, for handshakes that flow lines make
	shift   [2]int // agreed
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
		return nil, fmt.Errorf("no beginning: flow %q; there are flow, flow split and flow established ...", args[0])
	}
	return f, f.handshake(now, args[1:])
}

// handshake plays one: 10 ms are the round trip of each leg.
func (f *flow) handshake(now mono.Time, args []string) error {
	syn := packet{flags: wire.SYN, win: 65535, opts: wire.Options{Set: wire.HasMSS, MSS: 1000}}
	scale := [2]uint8{}
	for len(args) > 0 {
		var n []int
		name := args[0]
		for args = args[1:]; len(args) > 0; args = args[1:] {
			k, err := strconv.Atoi(args[0])
			if err != nil {
				break
			}
			n = append(n, k)
		}
		switch {
		case name == "mss" && len(n) == 1:
			syn.opts.MSS = uint16(n[0])
		case name == "sack" && len(n) == 0:
			syn.opts.Set |= wire.HasSACKPermitted
		case name == "ts" && len(n) == 0:
			syn.opts.Set |= wire.HasTS
		case name == "wscale" && len(n) == 2:
			syn.opts.Set |= wire.HasWScale
			scale = [2]uint8{uint8(n[0]), uint8(n[1])}
		default:
			return fmt.Errorf("nothing of a handshake: %q with %d numbers; there are mss N, sack, ts, wscale CLIENT SERVER", name, len(n))
		}
	}
	ack := packet{flags: wire.ACK, seq: 1, ack: 1, win: 65535 >> scale[0]}
	synAck := syn
	synAck.flags, synAck.ack = wire.SYN|wire.ACK, 1
	syn.opts.WScale, synAck.opts.WScale = scale[0], scale[1]
	syn.ts, synAck.ts = [2]uint32{900, 0}, [2]uint32{900, 900}
	synAck.ecr = true
	if syn.opts.Has(wire.HasTS) {
		ack.opts.Set |= wire.HasTS
		ack.ts[0] = 902
	}
	at := now.Add(-20 * time.Millisecond)
	for i, p := range []*packet{&syn, &synAck, &ack} {
		if _, err := f.receive(at.Add(time.Duration(10*i)*time.Millisecond), i%2, p); err != nil {
			return err
		}
	}
	if f.flow == nil {
		return fmt.Errorf("the handshake made no flow")
	}
	f.end[1].win = 65535 >> scale[1]
	return nil
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

// value answers a question about the flow, one of its reasons or counters, or
// with client. or server. before it about the Conn of that leg.
func (f *flow) value(name string) (string, error) {
	if why, ok := strings.CutPrefix(name, "reason."); ok {
		for r := splice.Reason(1); r < splice.Reasons; r++ {
			if r.String() == why {
				return strconv.FormatUint(f.count.By[r], 10), nil
			}
		}
		return "", fmt.Errorf("no reason %q", why)
	}
	switch name {
	case "entered", "exited", "established", "resets":
		return field(reflect.ValueOf(&f.count).Elem(), name)
	case "steered":
		return strconv.Itoa(f.steered), nil
	}
	if f.flow == nil {
		if name == "state" {
			return "none", nil
		}
		return "", fmt.Errorf("there is no flow to ask for %s", name)
	}
	held := f.flow.Held()
	switch name {
	case "state":
		return f.flow.State().String(), nil
	case "why":
		return f.flow.Why().String(), nil
	case "held": // towards the client, towards the server
		return fmt.Sprintf("%d,%d", held[0], held[1]), nil
	case "reopening":
		return strconv.FormatBool(f.flow.Reopening()), nil
	}
	leg, what, ok := strings.Cut(name, ".")
	if !ok {
		return "", fmt.Errorf("nothing to ask a flow for: %q; docs/scripts.md lists what there is", name)
	}
	to, err := legOf(leg)
	if err != nil {
		return "", err
	}
	var conn [2]*tcpstack.Conn
	if conn[0], conn[1] = f.flow.Legs(); conn[to] == nil {
		return "", fmt.Errorf("on the wire there is no Conn to ask for %s", what)
	}
	ours := func(n wire.Seq) int { return n.Sub(f.end[1-to].isn) }
	theirs := func(n wire.Seq) int { return n.Sub(f.end[to].isn) }
	return connValue(conn[to], what, ours, theirs)
}

// finish asserts that a flow on the wire holds nothing.
func (f *flow) finish() error {
	if f.flow != nil && f.flow.State() == splice.OnWire && f.pool.InUse() != 0 {
		return fmt.Errorf("on the wire, but %d bytes of slabs are still referenced", f.pool.InUse())
	}
	return nil
}
