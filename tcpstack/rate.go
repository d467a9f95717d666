package tcpstack

import (
	"time"

	"accd/tcpstack/cc"
	"accd/tcpstack/mono"
)

// rateState measures how fast bytes are delivered
// (draft-ietf-ccwg-bbr, 4.1: delivery rate samples).
type rateState struct {
	delivered   int64     // C.delivered, bytes
	deliveredAt mono.Time // C.delivered_time
	firstSent   mono.Time // C.first_sent_time
	lost        int64     // bytes marked lost
	appLimited  int64     // C.app_limited: limited until this much is delivered; 0: not
	recent      int64     // last valid sample, bytes per second, smoothed
	jumped      int64     // delivered after the last ACK that told late of much

	// The packet sent last among those this ACK delivers.
	prior     departure
	havePrior bool
}

// departure is what was known when a packet was sent last.
type departure struct {
	appLimited  bool      // P.is_app_limited
	at          mono.Time // now
	firstSent   mono.Time // start of the rate sample's send interval (P.first_sent_time)
	deliveredAt mono.Time // P.delivered_time
	delivered   int64     // P.delivered: bytes delivered by then
	lostTotal   int64     // bytes marked lost by then
	inFlight    int       // bytes in flight, with the packet
}

// sent notes in p what the sample will need when p is delivered.
func (r *rateState) sent(now mono.Time, p *sent, inFlight int) {
	if inFlight == 0 {
		r.firstSent, r.deliveredAt = now, now
	}
	p.at = now
	p.firstSent, p.deliveredAt = r.firstSent, r.deliveredAt
	p.delivered, p.lostTotal = r.delivered, r.lost
	p.inFlight = inFlight + p.len()
	p.appLimited = r.appLimited != 0
}

// got counts n bytes of p as delivered.
func (r *rateState) got(now mono.Time, p *sent, n int) {
	r.delivered += int64(n)
	r.deliveredAt = now
	if !r.havePrior || p.delivered > r.prior.delivered || p.delivered == r.prior.delivered && p.at >= r.prior.at {
		r.prior, r.havePrior = p.departure, true
	}
}

// late notes that an ACK told of what the peer had long before, as the ACK of a hole
// does without SACK: no sample from before it to after it measures the path.
func (r *rateState) late() { r.jumped = r.delivered }

// sample fills a's rate sample after all records of an ACK went through got.
func (r *rateState) sample(now mono.Time, minRTT time.Duration, a *cc.Ack) {
	if r.appLimited != 0 && r.delivered > r.appLimited {
		r.appLimited = 0
	}
	a.Delivered, a.LostTotal = r.delivered, r.lost
	if !r.havePrior {
		return
	}
	r.havePrior = false
	p := &r.prior
	r.firstSent = p.at
	a.PriorDelivered, a.PriorLost, a.TxInFlight, a.AppLimited = p.delivered, p.lostTotal, p.inFlight, p.appLimited
	interval := max(p.at.Sub(p.firstSent), now.Sub(p.deliveredAt))
	a.Interval = interval
	if interval <= 0 || interval < minRTT || interval > rtoMax || p.delivered < r.jumped {
		// A sample shorter than a round trip is a burst, not a rate; in a longer one
		// than any path takes the clock has leapt.
		return
	}
	a.Rate = int64(float64(r.delivered-p.delivered) * float64(time.Second) / float64(interval))
	if !a.AppLimited || a.Rate > r.recent {
		if r.recent == 0 {
			r.recent = a.Rate
		} else {
			r.recent += (a.Rate - r.recent) / 8
		}
	}
}
