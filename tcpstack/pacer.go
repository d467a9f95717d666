package tcpstack

import (
	"time"

	"accd/tcpstack/mono"
)

// pacerCredit is how far the pacer may run behind: what a late wake-up may send
// at once. Without it every late timer would cost rate.
const pacerCredit = time.Millisecond

// pacer spreads packets over time.
type pacer struct {
	next mono.Time // the next packet may leave then
}

// sent books a packet of n bytes at rate bytes per second; rate 0 is unpaced.
func (p *pacer) sent(now mono.Time, n int, rate int64) {
	if rate <= 0 {
		p.next = now
		return
	}
	p.next = max(p.next, now.Add(-pacerCredit)) + mono.Time(int64(n)*int64(time.Second)/rate)
}

// ready reports whether a packet may leave now.
func (p *pacer) ready(now mono.Time) bool { return p.next <= now }

// burst gives the payload of one superpacket: a millisecond of the pacing rate,
// more where the round trip is short (Linux's tcp_tso_autosize), two segments
// at least.
func (c *Conn) burst() int {
	if _, urgent := c.out.Urgent(); urgent || c.cfg.NoSegmentation || c.ecn.single() {
		return c.mss // the pointer is right for one segment only
	}
	n := maxPayload
	if rate := c.pacingRate(); rate > 0 {
		n = int(min(rate/1000, maxPayload))
		if c.rtt.min > 0 {
			n += maxPayload >> min(c.rtt.min/(512*time.Microsecond), 62)
		}
		n = min(max(n, 2*c.mss), maxPayload)
	}
	return n - n%c.mss
}

// pacingRate gives the controller's rate, a segment per RTO at least, or, where it
// leaves that open, the window over the round trip with Linux's headroom: twice in
// slow start, 1.2 times after it. 0: unpaced.
func (c *Conn) pacingRate() int64 {
	if c.cfg.Unpaced {
		return 0
	}
	rate := c.control.Rate()
	if rate == 0 && c.rtt.srtt > 0 {
		w := int64(c.control.Window())
		if s := c.control.Memory().Ssthresh; s == 0 || int(w) < s/2 {
			w *= 2
		} else {
			w += w / 5
		}
		rate = int64(float64(w) * float64(time.Second) / float64(c.rtt.srtt))
	} else if rate > 0 {
		// No window is smaller than a segment (RFC 5681, 3.1), whatever a controller
		// makes of a path of which it has seen one byte.
		rate = max(rate, int64(float64(c.mss)*float64(time.Second)/float64(c.rtt.base())))
	}
	if c.cfg.MaxRate > 0 && (rate == 0 || rate > c.cfg.MaxRate) {
		rate = c.cfg.MaxRate
	}
	return rate
}
