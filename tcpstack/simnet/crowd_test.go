package simnet

import (
	"testing"
	"time"

	"accd/splice"
	"accd/tcpstack"
	"accd/tcpstack/buf"
)

// TestCrowd has far more flows through accd than fit into the queue of their
// bottleneck, so that 2 of 5 packets are lost and RTOs are the rule: a leg that only
// queues and loses is not silent. One in 125 is taken for it, by five losses in a row;
// of one crowd that is none to six, so several are looked at.
func TestCrowd(t *testing.T) {
	const flows = 300
	crowds := max(1, 3/patience)
	silent := uint64(0)
	for seed := range crowds {
		silent += crowd(t, uint64(1+seed), flows)
	}
	if silent > uint64(crowds*flows/50) {
		t.Errorf("%d of %d flows were taken for silent", silent, crowds*flows)
	}
}

// crowd gives how many flows of one were taken for silent.
func crowd(t *testing.T, seed uint64, flows int) (silent uint64) {
	s := New(seed)
	rate := int64(45e6 / 8)
	narrow := Impairments{Rate: rate, Delay: 10 * time.Millisecond, Queue: 56 << 10}
	hosts, boxes := make([][2]*Host, flows), make([]*Box, flows)
	pool := new(buf.Pool)
	toServer := NewLink(s, narrow, func(p *Packet) { hosts[p.Flow][splice.Server].Arrive(p) })
	toClient := NewLink(s, Impairments{Delay: 100 * time.Microsecond}, func(p *Packet) { hosts[p.Flow][splice.Client].Arrive(p) })
	fromClient := NewLink(s, Impairments{Delay: 100 * time.Microsecond}, func(p *Packet) { boxes[p.Flow].Arrive(p) })
	fromServer := NewLink(s, Impairments{Rate: rate, Delay: 10 * time.Millisecond}, func(p *Packet) { boxes[p.Flow].Arrive(p) })
	for i := range flows {
		key := tupleOf(i, false)
		keys := [2]uint64{s.Rand.Uint64(), s.Rand.Uint64()}
		cfg := HostConfig{Stack: tcpstack.Config{Buffer: 1 << 20}, MSS: 1460, SACK: true, Timestamps: true, WScale: 7}
		hosts[i][splice.Client] = NewHost(s, splice.Client, i, key, keys, cfg, Script{Steps: []Step{{Bytes: 1 << 40}}}, pool, fromClient.Send)
		hosts[i][splice.Server] = NewHost(s, splice.Server, i, key.Reverse(), keys, cfg, Script{}, pool, fromServer.Send)
		out := [2]func(*Packet){}
		for side, link := range [2]*Link{toClient, toServer} {
			out[side] = func(p *Packet) { p.Flow = i; link.Send(p) }
		}
		boxes[i] = NewBox(s, key, keys, BoxConfig{}, new(buf.Pool), out)
		s.After(s.upTo(2*time.Second), hosts[i][splice.Client].Connect)
	}
	if err := s.Run(20*time.Second, nil); err != nil {
		t.Fatal(err)
	}
	custodies, drains := 0, 0
	for _, b := range boxes {
		custodies += b.Count.Custodies
		drains += b.Count.Drains
		silent += b.count.By[splice.Silent]
	}
	t.Logf("%d custodies, %d drains, %d of them silent, %.1f Mbit/s, %+v", custodies, drains, silent, float64(toServer.Bytes)*8/20/1e6, toServer.Drops)
	if custodies < flows*9/10 || toServer.Drops.Queue < 10*flows {
		t.Errorf("%d custodies, %+v: it shows nothing", custodies, toServer.Drops)
	}
	return silent
}
