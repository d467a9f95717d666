package terminator

import (
	"errors"
	"time"

	"accd/splice"
	"accd/tcpstack/wire"
	"accd/terminator/link"
)

// settleTime is how long Settle listens for what endpoints answer: a few round
// trips of a long path. Ours.
const settleTime = 400 * time.Millisecond

// Settle resets, at both ends, the connections that a dead process held bytes
// of. An endpoint accepts a reset only at the exact number it expects next
// (RFC 5961, 3.2). Resets go to the numbers it may expect; and it is asked, and
// whatever it sends meanwhile says that number. It works in the network
// namespace of the calling thread.
func Settle(entries []splice.Entry) (err error) {
	raw, err := link.OpenRaw(0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, raw.Close()) }()
	sniffer, err := link.OpenSniffer(settleTime)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sniffer.Close()) }()

	type end struct {
		entry *splice.Entry
		side  splice.Side
	}
	ends := make(map[wire.Tuple]end, 2*len(entries))
	for i := range entries {
		e := &entries[i]
		ends[e.Tuple] = end{e, splice.Client}
		ends[e.Tuple.Reverse()] = end{e, splice.Server}
		// The questions go first: asked after its reset, an end would answer
		// with a reset of its own, which conntrack takes for invalid and lets
		// leave without NAT. One packet that cannot be sent, for want of a
		// route, keeps no other back.
		for _, p := range append(e.Probes(), e.Resets()...) {
			err = errors.Join(err, raw.Send(packetOf(&p)))
		}
	}
	buf := make([]byte, link.MaxFrame)
	var v wire.View
	for {
		n, ok, failed := sniffer.Next(buf)
		if failed != nil || !ok {
			return errors.Join(err, failed)
		}
		if v.ParseIP(buf[:n]) != wire.KindTCP || v.Flags()&(wire.ACK|wire.RST) != wire.ACK {
			continue
		}
		if x, known := ends[v.Tuple()]; known {
			p := x.entry.Answer(x.side, v.Ack())
			err = errors.Join(err, raw.Send(packetOf(&p)))
		}
	}
}

// packetOf makes the IP packet that p describes.
func packetOf(p *splice.ResetPacket) []byte {
	var b [wire.MaxHeader]byte
	h := wire.Header{Tuple: p.Tuple, TTL: 64, Seq: p.Seq, Ack: p.Ack, Flags: p.Flags}
	n, l4 := h.Put(b[:])
	wire.FinishChecksum(b[:n], l4, nil)
	return b[wire.EthLen:n]
}
