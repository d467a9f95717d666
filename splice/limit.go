package splice

// How much custody may hold, and how long its ACKs wait. docs/custody.md, Custody,
// "Limit by time", "Slow reader", "Own queue" and "ACKs ride", is to be read first.

import (
	"time"

	"accd/tcpstack"
	"accd/tcpstack/mono"
)

// Ours.
const (
	maxHeld   = 64 << 20              // bytes, when Terms leave it open
	ownTime   = 4 * time.Millisecond  // so much of a round trip may be accd's own doing
	mostShare = 3 << 20               // bytes that may wait beyond what the paths take
	paceTime  = time.Second           // what a far end takes is counted for so long, or for four round trips
	paceLate  = 10 * time.Millisecond // and two round trips without taking any, and it counts as slow
	maxRide   = time.Millisecond      // an ACK waits for data so long
)

// pace is how much a far end takes of what waits for it.
type pace struct {
	since mono.Time // the time that is counted began
	acked uint64    // what it had taken then
	took  uint64    // what it took in one, of late
	slow  mono.Time // it took nothing for a while then; 0: never
}

// held gives the bytes that may be held per direction, at most.
func (t *Terms) held() int {
	if t.MaxBuffer == 0 {
		return maxHeld
	}
	return max(t.MaxBuffer, minHeld)
}

// limit bounds what is held towards far by time, not only size: a drain is to
// take a few round trips, of which rtt is that of both legs. What is in flight counts as
// the rate that is about to be, so that the limit does not hold a growing window back.
func (f *Flow) limit(now mono.Time, far Side, rtt time.Duration) {
	c := f.c
	conn, sender := &c.conn[far], &c.conn[far.Other()]
	rate := conn.DeliveryRate()
	srtt, _ := conn.RTT()
	if srtt > 0 {
		_, inFlight, _ := conn.Congestion()
		rate = max(rate, int64(float64(inFlight)/srtt.Seconds()))
	}
	paths := bytesIn(rate, 2*(pathRTT(conn)+pathRTT(sender)))
	n := min(bytesIn(rate, 2*rtt), paths+f.env.share())
	most := f.terms.held()
	if p := f.env.Pool; p.Budget > 0 && p.InUse() > p.Budget/4*3 {
		most = minHeld // overload: held flows see a smaller window
	}
	n = min(max(n, minHeld), most)
	if c.split.on {
		sender.SetBuffer(n)
		return
	}
	sender.SetAckLimit(n)
	sender.SetRide(rideOn(conn))
	// What was offered before is acknowledged all the same: else its sender's timer would
	// expire for what has arrived.
	if enough, slow := c.pace(now, far, rtt); slow {
		n = min(n, enough)
	}
	sender.SetBuffer(n)
}

// pace counts what the far end takes. It gives whether it is that end that is slow, and not
// the path: it took nothing of what waits for longer than an ACK takes to come. Then rates
// are those of bursts, and round trips those of ACKs that it delays, and enough to keep it
// busy is a part more than it took in such a time, of which a pause lets a quarter be
// forgotten. docs/custody.md, Slow reader.
func (c *custody) pace(now mono.Time, far Side, rtt time.Duration) (enough int, slow bool) {
	conn, p := &c.conn[far], &c.leg[far].pace
	acked, period := conn.Stats().BytesAcked, max(paceTime, 4*rtt)
	if now.Sub(p.since) >= period {
		p.since, p.acked, p.took = now, acked, max(acked-p.acked, p.took/4*3)
	}
	onWay := conn.SndNxt().Sub(conn.SndUna())
	srtt, _ := conn.RTT()
	if c.stream[far.Other()].Len() > onWay && c.still(now, far) >= 2*srtt+paceLate {
		p.slow = now
	}
	return int(max(p.took, acked-p.acked)/2*3) + onWay + minHeld, now.Sub(c.began) >= period && !p.slow.IsZero() && now.Sub(p.slow) < period
}

// share gives how many bytes of a flow may wait beyond what its paths take. They wait for
// accd itself, or at the sender, whose kernel makes room for twice as much as was ever in
// flight. They make round trips longer, which would allow still more, and drive bytes
// on their way out of the processor's caches before they are copied again.
func (e *Env) share() int {
	if e.Share > 0 {
		return min(e.Share, mostShare)
	}
	return mostShare
}

// pathRTT gives the round trip of a leg without what of it may be accd's own.
func pathRTT(c *tcpstack.Conn) time.Duration {
	srtt, least := c.RTT()
	return max(srtt-ownTime, least)
}

// bytesIn gives what rate, in bytes per second, brings in d.
func bytesIn(rate int64, d time.Duration) int { return int(float64(rate) * d.Seconds()) }

// rideOn gives how long the ACK to an endpoint waits for what the one behind far says:
// not at all if that cannot come so soon.
func rideOn(far *tcpstack.Conn) time.Duration {
	if srtt, _ := far.RTT(); srtt >= maxRide {
		return 0
	}
	return maxRide
}
