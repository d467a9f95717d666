package simnet

import (
	"errors"
	"fmt"
	"time"

	"accd/splice"
	"accd/tcpstack"
	"accd/tcpstack/buf"
)

// limit is how long a connection may take, in its own time, before it counts as
// hanging.
const limit = time.Hour

// timeWait is how long an end stays to acknowledge the FIN of its peer again.
const timeWait = time.Minute

// judge says whether a connection ended as its scripts have it: both ends, every
// byte, no error unless a script aborts it, and no buffer left.
// seen is what accd did, nil if there is none; box says where it stands, and meant that
// it ended the connection on purpose.
func judge(hosts [2]*Host, seen *Observer, box string, meant bool, pool *buf.Pool) error {
	aborted := meant || hosts[0].Aborted || hosts[1].Aborted
	// A server that knows AccECN resets a handshake whose SYN came once with AE
	// and once without (RFC 9768, 3.1.5): accd died between the two.
	aborted = aborted || hosts[1].Conn.Stats().MixedSYN > 0
	for _, h := range hosts {
		aborted = aborted || errors.Is(h.Err, ErrUnanswered) // the network is that bad
	}
	for i, h := range hosts {
		name, want := nameOf(splice.Side(i)), hosts[1-i].app.Total()
		switch {
		case !h.Ended():
			return fmt.Errorf("the %s hangs; it has read %d bytes of %d and written %d of %d %s", name, h.Read(), want, h.Written(), h.app.Total(), box)
		case aborted:
		case errors.Is(h.Err, tcpstack.ErrReset) && leftAlone(h, hosts[1-i]) && (seen == nil || !seen.withheld(h.side, hosts[1-i].End, h.End)):
		case h.Err != nil:
			return fmt.Errorf("the %s's connection ended for no reason: %w %s", name, h.Err, box)
		case h.Read() != want:
			return fmt.Errorf("the %s read %d bytes of %d %s", name, h.Read(), want, box)
		}
	}
	hosts[0].Discard()
	hosts[1].Discard()
	if n := pool.InUse(); n != 0 {
		return fmt.Errorf("the hosts leak %d bytes of buffers", n)
	}
	return nil
}

// leftAlone reports that all an end lacked was the acknowledgment of its FIN, and
// its peer had waited for it as long as TCP does: every one was lost, or it asked
// too rarely for them (RFC 9293, 3.6.1).
func leftAlone(h, peer *Host) bool {
	return h.Read() == peer.app.Total() && peer.Read() == h.app.Total() && peer.Err == nil && h.End.Sub(peer.End) >= timeWait
}
