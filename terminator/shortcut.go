package terminator

// The shortcut: segments of a flow that is open come from the wire to the tap without
// being forwarded (Config.Shortcut). What the host would have done with them accd does,
// and steering learns of such flows by frames that accd writes.

import (
	"accd/splice"
	"accd/tcpstack/wire"
	"accd/terminator/link"
)

// takesShortcut reports whether a frame that is not for a neighbour has come by the
// shortcut: its destination is whoever it was on the wire, but for a group.
func (s *shard) takesShortcut(frame []byte) bool {
	return s.t.cfg.Shortcut != [6]byte{} && len(frame) >= wire.EthLen && frame[0]&1 == 0 && [5]byte(frame) != neighbours
}

// route does with the frame in view what a host does with one that it forwards, so
// that it is as one that came that way; drop: it ends here, for that reason.
func (s *shard) route(from splice.Side, f *link.Frame) (why Reason, drop bool) {
	v := &s.view
	switch {
	case !v.HeaderOK():
		return BadHeader, true // RFC 1812, 5.2.2
	case v.TTL() <= 1:
		return TTLExceeded, true // RFC 1812, 5.3.1; RFC 8200, 3
	}
	v.SetTTL(v.TTL() - 1)
	f.Bytes = f.Bytes[:v.End] // Ethernet padding
	// A source of the wire must not be taken for what accd tells steering.
	copy(f.Bytes[6:], s.dev[from.Other()].neighbour[:])
	s.count.direct[from]++
	return 0, false
}

// detours notes that the segment in view, of fl, has been forwarded to the client's tap, if
// it might have taken the shortcut.
func (s *shard) detours(fl *flow) {
	if s.t.cfg.Shortcut != [6]byte{} && !s.direct && !s.view.Flags().Any(wire.SYN|wire.FIN|wire.RST) {
		fl.invite = fl.Lasts()
	}
}

// invites reports whether the frame at hand, of these flags, may tell that fl may take
// the shortcut, and notes that it is told. SYN, FIN and RST are on frames that begin or end a connection.
func (s *shard) invites(fl *flow, flags wire.Flags) bool {
	if flags.Any(wire.SYN|wire.FIN|wire.RST) || !fl.Lasts() {
		return false
	}
	fl.invite = false
	return true
}
