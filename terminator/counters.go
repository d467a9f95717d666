package terminator

import (
	"accd/splice"
	"accd/tcpstack/wire"
)

// Traffic counts what crossed a tap in one direction.
type Traffic struct {
	Frames  uint64 `json:"frames"`  // as read or written, superpackets whole
	Packets uint64 `json:"packets"` // as an Ethernet of the endpoints' MSS would carry them
	Bytes   uint64 `json:"bytes"`   // IP packets, headers of superpackets once
}

func (t *Traffic) add(bytes, payload, segment int) {
	t.Frames++
	t.Bytes += uint64(bytes)
	if segment > 0 && payload > segment {
		t.Packets += uint64((payload + segment - 1) / segment)
	} else {
		t.Packets++
	}
}

// counters are one shard's, plain numbers that only it touches.
type counters struct {
	reasons  [reasons]uint64
	in, out  [2]Traffic // by splice.Side of the tap
	direct   [2]uint64  // of in: frames by the shortcut
	handoff  handoffs
	panics   uint64
	gaps     uint64
	flows    uint64 // made
	expired  uint64 // removed because nothing was heard of them
	replaced uint64 // by a new connection of the same addresses and ports
}

type handoffs struct{ tcp, icmp uint64 }

// count adds one frame that came in by side's tap, and gives how many bytes of a
// connection it brought.
func (c *counters) count(side splice.Side, v *wire.View, segment uint16) (payload int) {
	if v.Kind == wire.KindTCP {
		payload = v.End - v.Data
	}
	c.in[side].add(v.End-v.L3, payload, int(segment))
	return payload
}
