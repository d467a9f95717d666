package link

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"time"

	"accd/tcpstack/buf"
	"accd/tcpstack/wire"
)

// Block types, options and values of pcapng (draft-ietf-opsawg-pcapng).
const (
	pcapngSection   = 0x0a0d0d0a
	pcapngInterface = 1
	pcapngPacket    = 6
	pcapngMagic     = 0x1a2b3c4d

	optionEnd     = 0
	optionIfName  = 2
	optionIfTSRes = 9 // 10^-n seconds
	optionFlags   = 2 // of a packet: 1 inbound, 2 outbound

	linkEthernet = 1
)

// Capture writes frames to a pcapng file. Several queues, of several shards,
// may write to one. It is for finding faults: it copies, and takes a lock.
type Capture struct {
	mu     sync.Mutex
	w      io.Writer
	now    func() time.Time
	block  []byte
	ifaces uint32
	err    error // the first; nothing is written after it
}

// NewCapture begins a file on w, which is not closed. now stamps the frames.
func NewCapture(w io.Writer, now func() time.Time) (*Capture, error) {
	c := &Capture{w: w, now: now}
	c.begin(pcapngSection)
	c.u32(pcapngMagic)
	c.u16(1) // version 1.0
	c.u16(0)
	c.u32(0xffffffff)
	c.u32(0xffffffff) // length of the section unknown
	c.end()
	return c, c.Err()
}

// Err gives the first error of writing; nil: all is well.
func (c *Capture) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return fmt.Errorf("link: capture: %w", c.err)
	}
	return nil
}

// Wrap gives a queue that behaves as q and records what passes, under a name.
func (c *Capture) Wrap(q Queue, name string) Queue {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begin(pcapngInterface)
	c.u16(linkEthernet)
	c.u16(0) // reserved
	c.u32(0) // no limit of length
	c.option(optionIfName, []byte(name))
	c.option(optionIfTSRes, []byte{9})
	c.option(optionEnd, nil)
	c.end()
	c.ifaces++
	return &captured{Queue: q, to: c, id: c.ifaces - 1}
}

type captured struct {
	Queue
	to *Capture
	id uint32
}

func (q *captured) Recv(p *buf.Pool, f *Frame) (bool, error) {
	ok, err := q.Queue.Recv(p, f)
	if ok {
		q.to.frame(q.id, 1, f.Bytes, nil)
	}
	return ok, err
}

func (q *captured) Send(vh *wire.VirtioHeader, head []byte, body [][]byte) error {
	q.to.frame(q.id, 2, head, body)
	return q.Queue.Send(vh, head, body)
}

func (c *Capture) frame(id uint32, direction byte, head []byte, body [][]byte) {
	n := len(head)
	for _, p := range body {
		n += len(p)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	at := uint64(c.now().UnixNano())
	c.begin(pcapngPacket)
	c.u32(id)
	c.u32(uint32(at >> 32))
	c.u32(uint32(at))
	c.u32(uint32(n)) // captured
	c.u32(uint32(n)) // of the frame
	c.block = append(c.block, head...)
	for _, p := range body {
		c.block = append(c.block, p...)
	}
	c.pad()
	c.option(optionFlags, binary.NativeEndian.AppendUint32(nil, uint32(direction)))
	c.option(optionEnd, nil)
	c.end()
}

func (c *Capture) begin(kind uint32) {
	c.block = c.block[:0]
	c.u32(kind)
	c.u32(0) // length: end knows it
}

func (c *Capture) u32(v uint32) { c.block = binary.NativeEndian.AppendUint32(c.block, v) }

func (c *Capture) u16(v uint16) { c.block = binary.NativeEndian.AppendUint16(c.block, v) }

func (c *Capture) pad() {
	for len(c.block)%4 != 0 {
		c.block = append(c.block, 0)
	}
}

func (c *Capture) option(code uint16, value []byte) {
	c.u16(code)
	c.u16(uint16(len(value)))
	c.block = append(c.block, value...)
	c.pad()
}

func (c *Capture) end() {
	n := uint32(len(c.block) + 4)
	c.u32(n)
	binary.NativeEndian.PutUint32(c.block[4:], n)
	if c.err == nil {
		_, c.err = c.w.Write(c.block)
	}
}
