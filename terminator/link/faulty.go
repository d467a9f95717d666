package link

import (
	"math/rand/v2"

	"accd/tcpstack/wire"
)

// Faults are the shares, from 0 to 1, of frames that something happens to.
type Faults struct {
	Drop, Corrupt, Duplicate, Reorder float64
	Seed                              uint64
}

// Faulty is a queue that mistreats what is sent through it: it drops frames,
// flips a bit of them, sends them twice, or holds one back until the next is
// sent. It copies what it changes. The zero Faults change nothing.
type Faulty struct {
	Queue
	faults Faults
	rand   *rand.Rand
	held   []byte
	virtio wire.VirtioHeader
}

// NewFaulty wraps q.
func NewFaulty(q Queue, faults Faults) *Faulty {
	return &Faulty{Queue: q, faults: faults, rand: rand.New(rand.NewPCG(faults.Seed, 0))}
}

// Send sends the frame, or does not.
func (f *Faulty) Send(vh *wire.VirtioHeader, head []byte, body [][]byte) error {
	hit := func(share float64) bool { return share > 0 && f.rand.Float64() < share }
	switch {
	case hit(f.faults.Drop):
		return nil
	case f.held == nil && hit(f.faults.Reorder):
		f.held, f.virtio = join(head, body), *vh
		return nil
	case hit(f.faults.Corrupt):
		b := join(head, body)
		b[f.rand.IntN(len(b))] ^= 1 << f.rand.IntN(8)
		head, body = b, nil
	case hit(f.faults.Duplicate):
		if err := f.Queue.Send(vh, head, body); err != nil {
			return err
		}
	}
	if err := f.Queue.Send(vh, head, body); err != nil || f.held == nil {
		return err
	}
	late := f.held
	f.held = nil
	return f.Queue.Send(&f.virtio, late, nil)
}

func join(head []byte, body [][]byte) []byte {
	b := append([]byte(nil), head...)
	for _, p := range body {
		b = append(b, p...)
	}
	return b
}
