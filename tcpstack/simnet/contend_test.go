package simnet

import (
	"testing"
	"time"

	"accd/splice"
	"accd/tcpstack"
	"accd/tcpstack/buf"
	"accd/tcpstack/cc"
)

// contender is one flow of several at a bottleneck: a download without end, or an
// upload.
type contender struct {
	algorithm string
	params    cc.Params
	start     time.Duration
	farther   time.Duration // than the path is long, there and back
	up        bool
}

// sender gives the side that has the data.
func (c *contender) sender() splice.Side {
	if c.up {
		return splice.Client
	}
	return splice.Server
}

// slice is the resolution of what contend measures.
const slice = 100 * time.Millisecond

// rates is what one contender got: bytes read by the end of every slice.
type rates []int64

// mbit gives the goodput between two instants in Mbit/s.
func (r rates) mbit(from, to time.Duration) float64 {
	return float64(r[to/slice-1]-r[max(from/slice, 1)-1]) * 8 / (to - from).Seconds() / 1e6
}

// headers is what IP and TCP leave of a link's rate to a flow with timestamps,
// Ethernet headers included.
const headers = 1448. / 1514

// contend runs flows over one path for d.
func contend(t *testing.T, seed uint64, flows []contender, path Path, d time.Duration) (got []rates, drops Drops) {
	t.Helper()
	s := New(seed)
	pool := new(buf.Pool)
	const buffer = 64 << 20 // never the limit
	pairs := NewPairs(s, len(flows), path, pool, func(flow int, side splice.Side) (HostConfig, Script) {
		f := flows[flow]
		control, err := cc.Constructor(f.algorithm, f.params)
		if err != nil {
			t.Fatal(err)
		}
		cfg := HostConfig{
			Stack: tcpstack.Config{NewController: control, Buffer: buffer},
			MSS:   1460, SACK: true, Timestamps: true, WScale: 11, SendSpace: buffer,
		}
		if side != f.sender() {
			return cfg, Script{CloseLast: true}
		}
		return cfg, Script{Steps: []Step{{Bytes: 1 << 40}}}
	})
	out := pairs[0].Out
	arrive := out.Deliver
	out.Deliver = func(p *Packet) { s.After(flows[p.Flow].farther, func() { arrive(p) }) }
	for i, p := range pairs {
		s.After(flows[i].start, p.Hosts[splice.Client].Connect)
	}
	got = make([]rates, len(flows))
	for at := slice; at <= d; at += slice {
		if err := s.Run(slice, nil); err != nil {
			t.Fatal(err)
		}
		for i, p := range pairs {
			got[i] = append(got[i], p.Hosts[1-flows[i].sender()].Read())
		}
	}
	drops = pairs[0].Back.Drops
	for _, p := range pairs {
		p.Discard()
	}
	if n := pool.InUse(); n != 0 {
		t.Errorf("%d bytes of buffers leak", n)
	}
	return got, drops
}

// bottleneck is a path with a queue of so many bandwidth-delay products towards
// the client, where it also loses at random.
func bottleneck(mbit float64, rtt time.Duration, bdps, loss float64) Path {
	rate := int64(mbit * 1e6 / 8)
	return Path{
		Out:  Impairments{Rate: rate, Delay: rtt / 2},
		Back: Impairments{Rate: rate, Delay: rtt / 2, Queue: int(bdps * float64(rate) * rtt.Seconds()), Loss: loss, GRO: true},
	}
}

// jain is the fairness index of R. Jain: 1 if all are equal, 1/n if one has all.
func jain(x ...float64) float64 {
	var sum, squares float64
	for _, v := range x {
		sum += v
		squares += v * v
	}
	return sum * sum / squares / float64(len(x))
}
