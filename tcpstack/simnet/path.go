package simnet

import (
	"accd/splice"
	"accd/tcpstack/buf"
	"accd/tcpstack/wire"
)

// Path is both directions between two nodes: Out away from the client, Back
// towards it.
type Path struct{ Out, Back Impairments }

// Symmetric gives a path that is the same both ways.
func Symmetric(i Impairments) Path { return Path{i, i} }

// Pair is two hosts at the ends of a path: TCP without accd.
type Pair struct {
	Hosts     [2]*Host
	Out, Back *Link
}

// NewPairs puts n pairs of hosts on one path, which they share. Each host's
// configuration and script come from what is called for its number and side.
func NewPairs(s *Sim, n int, path Path, pool *buf.Pool, host func(flow int, side splice.Side) (HostConfig, Script)) []*Pair {
	pairs := make([]*Pair, n)
	out := NewLink(s, path.Out, func(p *Packet) { pairs[p.Flow].Hosts[splice.Server].Arrive(p) })
	back := NewLink(s, path.Back, func(p *Packet) { pairs[p.Flow].Hosts[splice.Client].Arrive(p) })
	out.TooBig = func(p *Packet, mtu int) { pairs[p.Flow].Hosts[splice.Client].TooBig(p.Seq, mtu) }
	back.TooBig = func(p *Packet, mtu int) { pairs[p.Flow].Hosts[splice.Server].TooBig(p.Seq, mtu) }
	for i := range pairs {
		key := tupleOf(i, false)
		keys := [2]uint64{s.Rand.Uint64(), s.Rand.Uint64()}
		cc, cs := host(i, splice.Client)
		sc, ss := host(i, splice.Server)
		pairs[i] = &Pair{Out: out, Back: back, Hosts: [2]*Host{
			NewHost(s, splice.Client, i, key, keys, cc, cs, pool, out.Send),
			NewHost(s, splice.Server, i, key.Reverse(), keys, sc, ss, pool, back.Send),
		}}
	}
	return pairs
}

// RunPair runs the hosts and scripts of c over the near path, without accd, and
// judges how the connection ended.
func RunPair(s *Sim, c Config) error {
	pool := new(buf.Pool)
	p := NewPairs(s, 1, c.Near, pool, func(_ int, side splice.Side) (HostConfig, Script) { return c.Hosts[side], c.Scripts[side] })[0]
	p.Hosts[splice.Client].Connect()
	if err := s.Run(limit, p.Ended); err != nil {
		return err
	}
	return judge(p.Hosts, nil, "", false, pool)
}

// Ended reports that both ends of the connection are through.
func (p *Pair) Ended() bool { return p.Hosts[0].Ended() && p.Hosts[1].Ended() }

// Discard forgets what the hosts still buffer.
func (p *Pair) Discard() {
	p.Hosts[0].Discard()
	p.Hosts[1].Discard()
}

// tupleOf gives the client's tuple of a flow.
func tupleOf(flow int, is6 bool) wire.Tuple {
	t := wire.Tuple{SrcPort: uint16(40000 + flow), DstPort: 80}
	if is6 {
		t.Src = wire.Addr{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 15: 1}
		t.Dst = wire.Addr{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 4: 1, 15: 1}
		return t
	}
	t.Src = wire.Addr{10: 0xff, 11: 0xff, 12: 192, 13: 0, 14: 2, 15: 1}
	t.Dst = wire.Addr{10: 0xff, 11: 0xff, 12: 198, 13: 51, 14: 100, 15: 1}
	return t
}
