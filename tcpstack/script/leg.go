package script

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"accd/tcpstack"
	"accd/tcpstack/buf"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// The sides of one leg.
const (
	us = iota
	peer
)

// leg is a Conn whose peer and application the script plays.
type leg struct {
	set     *settings
	conn    *tcpstack.Conn // nil while it listens
	in, out tcpstack.Stream
	pool    buf.Pool
	end     [2]end
	wrote   int
	read    int
	pkt     tcpstack.Packet
}

// newLeg begins a leg: its Conn dials, listens or is established.
func newLeg(now mono.Time, set *settings, how string, args []string) (*leg, error) {
	g := &leg{set: set}
	// Both wrap soon, in every script.
	g.end[us] = end{isn: wire.SeqOf(0xffff_ff00)}
	g.end[peer] = end{isn: wire.SeqOf(0x7fff_ff00), win: 65535}
	if how == "established" {
		return g, g.resume(now, args)
	}
	if len(args) > 0 {
		return nil, fmt.Errorf("%s needs nothing else: %v; set lines say what it offers", how, args)
	}
	if how == "dial" {
		g.conn = tcpstack.Dial(now, tuple(set.family), g.end[us].isn, &g.in, &g.out, set.config())
	}
	return g, nil
}

// option takes a word and the numbers behind it off a list, which is not empty.
func option(args []string) (name string, n []int, rest []string) {
	name = args[0]
	for rest = args[1:]; len(rest) > 0; rest = rest[1:] {
		k, err := strconv.Atoi(rest[0])
		if err != nil {
			break
		}
		n = append(n, k)
	}
	return name, n, rest
}

// resume makes the Conn of an established line.
func (g *leg) resume(now mono.Time, args []string) error {
	set := g.set
	first := [2]wire.Seq{g.end[us].isn.Add(1), g.end[peer].isn.Add(1)}
	snap := tcpstack.Snapshot{
		Tuple: tuple(set.family), MSS: 1000,
		SndUna: first[us], SndNxt: first[us], SndWnd: 65535,
		RcvNxt: first[peer], RcvEdge: first[peer].Add(65535),
	}
	for len(args) > 0 {
		var name string
		var n []int
		name, n, args = option(args)
		switch {
		case name == "mss" && len(n) == 1:
			snap.MSS = n[0]
		case name == "sack" && len(n) == 0:
			snap.SACK = true
		case name == "wscale" && len(n) == 2:
			snap.SndScale, snap.RcvScale = uint8(n[0]), uint8(n[1])
		case name == "ecn" && len(n) == 0:
			snap.ECN = tcpstack.ClassicECN
		case name == "accecn" && len(n) == 0:
			snap.ECN = tcpstack.AccurateECN
		case name == "ts" && len(n) == 0:
			snap.Timestamps, snap.TSVal = true, 100
			snap.TSRecent, snap.TSRecentAge = 1000, now
			g.end[peer].ts = true
		case name == "win" && len(n) == 1:
			snap.SndWnd = n[0]
		case name == "rwin" && len(n) == 1:
			snap.RcvEdge = first[peer].Add(n[0])
			if set.base.Buffer == 0 {
				set.base.Buffer = n[0]
			}
		default:
			return fmt.Errorf("nothing of a connection: %q with %d numbers; there are mss N, sack, ts, ecn, accecn, wscale PEER OURS, win N, rwin N", name, len(n))
		}
	}
	g.end[peer].win = snap.SndWnd >> snap.SndScale
	g.conn = tcpstack.Resume(now, &snap, &g.in, &g.out, set.config())
	return nil
}

func (g *leg) receive(now mono.Time, _ int, p *packet) (string, error) {
	s := segment(now, &g.pool, peer, p, &g.end[peer], &g.end[us])
	switch {
	case g.conn != nil:
		g.conn.Receive(now, s)
	case p.flags&(wire.SYN|wire.ACK|wire.RST) == wire.SYN:
		g.conn = tcpstack.Accept(now, tuple(g.set.family), g.end[us].isn, s, &g.in, &g.out, g.set.config())
	default:
		return "", errors.New("a listen line waits for a SYN")
	}
	var snap tcpstack.Snapshot
	g.conn.Snapshot(&snap)
	g.end[peer].ts = snap.Timestamps
	if s.Payload.Len() > 0 {
		return "", errors.New("the payload is left behind by Receive")
	}
	return "", nil
}

func (g *leg) transmit(now mono.Time) (int, *packet, error) {
	if g.conn == nil || !g.conn.Transmit(now, &g.pkt) {
		return 0, nil, nil
	}
	p, err := sent(us, &g.pkt, &g.end[us], &g.end[peer])
	return 0, p, err
}

func (g *leg) expire(now mono.Time) {
	if g.conn != nil {
		g.conn.Expire(now)
	}
}

func (g *leg) deadline() mono.Time {
	if g.conn == nil {
		return mono.Never
	}
	return g.conn.Deadline()
}

func (g *leg) our(n int) wire.Seq    { return g.end[us].isn.Add(n) }
func (g *leg) ours(n wire.Seq) int   { return n.Sub(g.end[us].isn) }
func (g *leg) theirs(n wire.Seq) int { return n.Sub(g.end[peer].isn) }

// command is what the application does, or what custody does with a relay Conn.
func (g *leg) command(now mono.Time, name string, args []string) error {
	var n []int
	for _, a := range args {
		if k, err := strconv.Atoi(a); err == nil {
			n = append(n, k)
		}
	}
	c := g.conn
	if c == nil && name != "wait" {
		return fmt.Errorf("there is no connection yet")
	}
	switch what := fmt.Sprintf("%s %d", name, len(n)); what {
	case "wait 0":
	case "write 1":
		for left := n[0]; left > 0; {
			k := min(left, 60000)
			g.out.Append(g.pool.Copy(pattern(us, g.wrote, k)))
			g.wrote += k
			left -= k
		}
	case "urgent 1": // the last byte of these is the urgent one
		if err := g.command(now, "write", args); err != nil {
			return err
		}
		g.out.SetUrgent(g.out.End())
	case "read 0":
		return g.discard(g.in.Len())
	case "read 1":
		return g.discard(n[0])
	case "shutdown 0":
		g.out.Close()
	case "close 0":
		c.Close(now)
	case "answer 0":
		c.Answer(now)
	case "offermss 1":
		c.OfferMSS(n[0])
	case "unreachable 0": // what a router says of our SYN
		c.Unreachable(now, g.our(0), slices.Contains(args, "hard"))
	case "unreachable 1":
		c.Unreachable(now, g.our(n[0]), slices.Contains(args, "hard"))
	case "abort 0":
		c.Abort()
	case "probe 0":
		c.Probe()
	case "ask 0":
		c.Ask()
	case "ackfin 0":
		c.AckFIN()
	case "drain 0":
		c.Drain()
	case "hold 0":
		c.Hold(true)
	case "release 0":
		c.Hold(false)
	case "buffer 1":
		c.SetBuffer(n[0])
	case "acklimit 1":
		c.SetAckLimit(n[0])
	case "sendto 1":
		c.SendTo(now, g.our(n[0]))
	case "timestamp 1":
		c.SetTimestamp(uint32(n[0]))
	case "ptb 2":
		c.PacketTooBig(now, g.our(n[0]), n[1])
	default:
		return fmt.Errorf("no command %q with %d numbers; docs/scripts.md lists them", name, len(n))
	}
	return nil
}

// discard makes the application read n bytes, and looks at them.
func (g *leg) discard(n int) error {
	if n > g.in.Len() {
		return fmt.Errorf("there are %d bytes to read", g.in.Len())
	}
	got := bytes.Join(g.in.Gather(nil, g.in.Base(), n), nil)
	if !bytes.Equal(got, pattern(peer, g.read, n)) {
		return fmt.Errorf("the bytes %d to %d are wrong", g.read+1, g.read+n)
	}
	g.read += n
	g.in.Discard(g.in.Base() + uint64(n))
	return nil
}

func (g *leg) value(name string) (string, error) {
	if g.conn == nil {
		if name == "state" {
			return "LISTEN", nil
		}
		return "", fmt.Errorf("there is no connection to ask for %s", name)
	}
	switch name {
	case "unread":
		return strconv.Itoa(g.in.Len()), nil
	case "urgent": // bytes of what is unread that are urgent
		at, ok := g.in.Urgent()
		if !ok {
			return "none", nil
		}
		return strconv.FormatUint(at-g.in.Base(), 10), nil
	case "unsent":
		return strconv.Itoa(g.wrote - (g.ours(g.conn.SndNxt()) - 1)), nil
	}
	return connValue(g.conn, name, g.ours, g.theirs)
}

// finish reads what is left, and asserts that no memory is lost.
func (g *leg) finish() error {
	if err := g.discard(g.in.Len()); err != nil {
		return err
	}
	g.in.Reset()
	g.out.Reset()
	if g.conn != nil {
		g.conn.Release()
	}
	if n := g.pool.InUse(); n != 0 {
		return fmt.Errorf("%d bytes of slabs are still referenced", n)
	}
	return nil
}
