package terminator

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"testing"

	"accd/tcpstack/wire"
	"accd/terminator/link"
)

// recorder is a queue that notes the numbers of frames, and that no two are written
// at once.
type recorder struct {
	link.Queue
	busy  atomic.Bool
	wrong atomic.Bool
	got   []uint32
}

func (r *recorder) Send(_ *wire.VirtioHeader, head []byte, body [][]byte) error {
	if !r.busy.CompareAndSwap(false, true) || len(body) != 1 || string(body[0]) != string(head) {
		r.wrong.Store(true)
	}
	r.got = append(r.got, binary.BigEndian.Uint32(head))
	r.busy.Store(false)
	return nil
}

// However many write, frames leave in order, each once and one at a time.
func TestOutbox(t *testing.T) {
	const frames = 20_000
	r := new(recorder)
	o := &outbox{queue: r}
	var done atomic.Bool
	var others sync.WaitGroup
	for most := range 3 {
		others.Go(func() {
			for !done.Load() {
				if o.write(1+most) == 0 {
					link.Yield()
				}
			}
		})
	}
	for i := range uint32(frames) {
		b := binary.BigEndian.AppendUint32(nil, i)
		if i%1000 == 0 || o.len() == outboxSize {
			o.finish()
		}
		o.put(&wire.VirtioHeader{}, b, [][]byte{b}, uint64(i)+1)
		if loan := o.loan(); loan != ^uint64(0) && loan > uint64(i) {
			t.Fatalf("with frame %d just put in loan %d is over", i, loan)
		}
	}
	o.finish()
	done.Store(true)
	others.Wait()
	if r.wrong.Load() || len(r.got) != frames || o.len() != 0 || o.loan() != ^uint64(0) {
		t.Fatalf("%d of %d frames, %d left, wrong %t", len(r.got), frames, o.len(), r.wrong.Load())
	}
	for i, n := range r.got {
		if n != uint32(i) {
			t.Fatalf("frame %d left as number %d", n, i)
		}
	}
}
