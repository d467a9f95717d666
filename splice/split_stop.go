package splice

import (
	"accd/tcpstack"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// Abandon resets both ends of every handshake that is being split, because accd
// stops: each has agreed on options with accd, and nobody would answer for them.
// It fills t and p for each packet and has send take them to a side. The client of a
// server that has not answered yet accepts the reset for its ACK (RFC 9293,
// 3.10.7.3), and then resets what answers. The slots stay: what is on its way
// still, or repeated because a reset was lost, is not relayed as if it were native.
func (o *Opening) Abandon(now mono.Time, t *Template, p *tcpstack.Packet, send func(to Side)) (n int) {
	o.table.each(func(h *handshake) {
		if !h.split || h.synAck.at == 0 && now.Sub(h.touched) >= slotLife {
			return
		}
		n++
		ack := h.syn.iss.Add(1)
		*t = Template{Tuple: h.tuple.Reverse(), TTL: 64, DstNet: h.syn.meta.From}
		*p = tcpstack.Packet{Ack: ack, Flags: wire.RST | wire.ACK, Payload: p.Payload[:0]}
		if h.synAck.at != 0 {
			p.Seq, t.TTL = h.synAck.iss.Add(1), h.synAck.meta.TTL
		}
		send(Client)
		*t = Template{Tuple: h.tuple, TTL: h.syn.meta.TTL, DstNet: h.synAck.meta.From}
		*p = tcpstack.Packet{Seq: ack, Flags: wire.RST, Payload: p.Payload[:0]}
		send(Server)
	})
	return n
}
