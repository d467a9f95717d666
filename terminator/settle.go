package terminator

import (
	"errors"
	"time"

	"accd/splice"
	"accd/tcpstack/wire"
	"accd/terminator/link"
)

// settleTime is how long Settle listens for what endpoints answer: a few round
// trips of a long path. It asks several times meanwhile, for an end that is not heard
// may wait for ever. Ours.
const (
	settleTime = 400 * time.Millisecond
	settleAsks = 3
)

// Settle resets, at both ends, the connections that a dead process held bytes
// of. An endpoint accepts a reset only at the exact number it expects next
// (RFC 5961, 3.2). Resets go to the numbers it may expect; and it is asked, and
// whatever it sends meanwhile says that number. Packets for clients carry a
// mark, by which they are kept out of conntrack; it knows the connection by its
// addresses towards the server. refused counts packets that this host did not
// let go: for want of a route, by a firewall, or because conntrack does not
// believe the number. It works in the network namespace of the calling thread.
func Settle(entries []splice.Entry, clientMark uint32) (refused int, err error) {
	var raw [2]*link.Raw // by the splice.Side they send to
	for side, mark := range map[splice.Side]uint32{splice.Client: clientMark, splice.Server: 0} {
		r, failed := link.OpenRaw(mark)
		if failed != nil {
			return 0, errors.Join(err, failed)
		}
		defer func() { err = errors.Join(err, r.Close()) }()
		raw[side] = r
	}
	send := func(p *splice.ResetPacket) {
		if raw[p.To].Send(packetOf(p)) != nil {
			refused++
		}
	}
	sniffer, err := link.OpenSniffer(settleTime)
	if err != nil {
		return 0, err
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
	}
	buf := make([]byte, link.MaxFrame)
	for asked := range settleAsks {
		// The questions go first: asked after its reset, an end would answer
		// with a reset of its own.
		for i := range entries {
			for _, p := range entries[i].Probes() {
				send(&p)
			}
			if asked > 0 {
				continue
			}
			for _, p := range entries[i].Resets() {
				send(&p)
			}
		}
		sniffer.Prolong(settleTime / settleAsks)
		if err := answers(sniffer, buf, func(t wire.Tuple, ack wire.Seq) {
			if x, known := ends[t]; known {
				p := x.entry.Answer(x.side, ack)
				send(&p)
			}
		}); err != nil {
			return refused, err
		}
	}
	return refused, nil
}

// answers calls heard for every segment that acknowledges something, for as long as
// the sniffer looks.
func answers(sniffer *link.Sniffer, buf []byte, heard func(wire.Tuple, wire.Seq)) error {
	var v wire.View
	for {
		n, ok, err := sniffer.Next(buf)
		if err != nil || !ok {
			return err
		}
		if v.ParseIP(buf[:n]) == wire.KindTCP && v.Flags()&(wire.ACK|wire.RST) == wire.ACK {
			heard(v.Tuple(), v.Ack())
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
