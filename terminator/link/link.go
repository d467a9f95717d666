// Package link is one queue of one device: reading and writing Ethernet frames,
// up to 64 KiB of TCP payload each, with checksum and segmentation offload.
package link

import (
	"accd/tcpstack/buf"
	"accd/tcpstack/wire"
)

// MaxFrame is the length in bytes of the largest frame, without the virtio-net
// header: an IP packet of 65,535 bytes behind an Ethernet header.
const MaxFrame = wire.EthLen + 65535

// Frame is one received frame. Bytes lie in the pool that Recv was given: they
// are valid until the next Recv, but for what Ref has claimed, or with Hold until
// Drop. The receiver may change them in place and send them on.
type Frame struct {
	Virtio wire.VirtioHeader // zero where the device has none
	Bytes  []byte            // from the Ethernet header on
	pool   *buf.Pool
	off    int     // of Bytes within the room they were read into
	held   buf.Ref // to Bytes, with Hold
}

// Hold keeps the bytes of the frame that was received last until Drop: others can
// be received meanwhile.
func (f *Frame) Hold() { f.held = f.pool.Keep(f.off, f.off+len(f.Bytes)) }

// Drop ends Hold, if there was one.
func (f *Frame) Drop() {
	f.held.Release()
	f.held = buf.Ref{}
}

// Ref takes a reference to the bytes [from, to) of the frame.
func (f *Frame) Ref(from, to int) buf.Ref {
	if f.held.Len() > 0 {
		return f.held.Slice(from, to).Retain()
	}
	return f.pool.Keep(f.off+from, f.off+to)
}

// SetRoom says that Bytes is room[off:off+n] of the last Room of pool. Queues
// call it.
func (f *Frame) SetRoom(pool *buf.Pool, room []byte, off, n int) {
	f.pool, f.off, f.Bytes = pool, off, room[off:off+n]
}

// Caps says what a queue's device can do.
type Caps struct {
	Offload bool // frames carry a virtio-net header: partial checksums and superpackets both ways
	MTU     int  // bytes of the largest IP packet that is not a superpacket
}

// Queue is one queue of one device, owned by one shard.
type Queue interface {
	// Recv reads the next frame into room from p. ok is false when nothing
	// waits; an error means the device is gone.
	Recv(p *buf.Pool, f *Frame) (ok bool, err error)
	// Send writes one frame: vh, head and the pieces of body, in order. It
	// borrows all of them. vh is ignored where Caps has no Offload: then the
	// frame must fit the MTU and its checksum be complete. A frame the
	// device does not accept is dropped and counted; an error means the
	// device is gone. Any goroutine may call it, one at a time.
	Send(vh *wire.VirtioHeader, head []byte, body [][]byte) error
	// Dropped gives the number of frames that Send dropped; any goroutine may ask.
	Dropped() uint64
	Caps() Caps
	// FD gives the descriptor to wait on, -1 if there is none.
	FD() int
	Close() error
}
