package script

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"accd/tcpstack"
	"accd/tcpstack/buf"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// end is one endpoint's half of the numbers, between scripts, which count from
// the SYN, and the wire.
type end struct {
	isn   wire.Seq
	win   int  // of the last packet, as on the wire
	ts    bool // timestamps were agreed
	tsVal uint32
}

// pattern gives the bytes [off, off+n) of the payload a side sends.
func pattern(side, off, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], uint64(off+i)*0x9e3779b97f4a7c15+uint64(side))
		b[i] = word[7]
	}
	return b
}

// segment makes what a side sends to the other end of a packet of the script.
func segment(now mono.Time, pool *buf.Pool, side int, p *packet, me, you *end) *tcpstack.Segment {
	if p.win >= 0 {
		me.win = p.win
	}
	s := &tcpstack.Segment{
		Seq: me.isn.Add(p.seq), Ack: you.isn.Add(p.ack), Flags: p.flags,
		Window: uint16(me.win), Options: p.opts, ECN: p.ecn, Urgent: uint16(p.urg),
	}
	for _, k := range p.sack {
		s.Options.SACK[s.Options.NSACK] = wire.Block{Left: you.isn.Add(k[0]), Right: you.isn.Add(k[1])}
		s.Options.NSACK++
	}
	if me.ts && !p.noTS && !p.opts.Has(wire.HasTS) && !p.flags.Any(wire.RST|wire.SYN) {
		// A peer's clock ticks in milliseconds of virtual time.
		s.Options.Set |= wire.HasTS
		p.ts[0] = uint32(now.Sub(begin)/time.Millisecond) + 1000
	}
	if s.Options.Has(wire.HasTS) {
		s.Options.TSVal, s.Options.TSEcr = p.ts[0], p.ts[1]
		if !p.ecr {
			s.Options.TSEcr = you.tsVal
		}
		me.tsVal = p.ts[0]
	}
	if p.len > 0 {
		first := p.seq - 1
		if p.flags.Has(wire.SYN) {
			first++
		}
		s.Payload = pool.Copy(pattern(side, first, p.len))
	}
	return s
}

// sent makes a packet of the script of what the stack sends in the name of me.
func sent(side int, s *tcpstack.Packet, me, you *end) (*packet, error) {
	p := &packet{
		flags: s.Flags, seq: s.Seq.Sub(me.isn), len: s.Len, ack: s.Ack.Sub(you.isn),
		win: int(s.Window), urg: int(s.Urgent), gso: s.GSOSize, opts: s.Options, ecn: s.ECN,
	}
	for _, k := range s.Options.Blocks() {
		p.sack = append(p.sack, [2]int{k.Left.Sub(you.isn), k.Right.Sub(you.isn)})
	}
	if s.Options.Has(wire.HasTS) {
		p.ts = [2]uint32{s.Options.TSVal, s.Options.TSEcr}
		me.tsVal = s.Options.TSVal
	}
	data := bytes.Join(s.Payload, nil)
	if len(data) != s.Len {
		return nil, fmt.Errorf("a packet of %d bytes carries %d", s.Len, len(data))
	}
	if !bytes.Equal(data, pattern(side, p.seq-1, p.len)) {
		return nil, fmt.Errorf("%d:%d(%d) carries wrong bytes", p.seq, p.seq+p.len, p.len)
	}
	return p, nil
}
