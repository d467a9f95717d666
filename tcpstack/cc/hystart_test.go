package cc

import (
	"testing"
	"time"
)

// hyTest tells a story of round trips.
type hyTest struct {
	*testing.T
	h         hystart
	delivered int64
}

// round gives n samples of rtt, and what the last ACK said of growth.
func (t *hyTest) round(n int, rtt time.Duration) (divisor int) {
	began := t.delivered
	for range n {
		t.delivered += simMSS
		if divisor = t.h.acked(&Ack{Acked: simMSS, RTT: rtt, PriorDelivered: began, Delivered: t.delivered}); divisor == 0 {
			return 0
		}
	}
	return divisor
}

func (t *hyTest) want(what string, got, want int) {
	t.Helper()
	if got != want {
		t.Errorf("%s: divisor %d, want %d", what, got, want)
	}
}

const ms = time.Millisecond

// RFC 9406, 4.2: a round trip that grew by an eighth leads to CSS, and five
// rounds of CSS end slow start.
func TestHyStartLeavesSlowStart(tt *testing.T) {
	t := hyTest{T: tt}
	t.want("first round", t.round(10, 100*ms), 1)
	t.want("a little more", t.round(10, 110*ms), 1)
	t.want("an eighth more", t.round(10, 125*ms), hystartCSSGrowth)
	for range 4 {
		t.want("CSS", t.round(10, 125*ms), hystartCSSGrowth)
	}
	t.want("the fifth round is over", t.round(10, 125*ms), 0)
}

// RFC 9406, 4.2: growth that was jitter is forgiven.
func TestHyStartResumes(tt *testing.T) {
	t := hyTest{T: tt}
	t.round(10, 100*ms)
	t.want("jitter", t.round(10, 130*ms), hystartCSSGrowth)
	t.want("gone", t.round(10, 101*ms), 1)
	for range 10 {
		t.want("still slow start", t.round(10, 101*ms), 1)
	}
}

// RFC 9406, 4.2: a round with fewer than eight samples decides nothing, and one
// odd sample is not the round's smallest.
func TestHyStartNeedsSamples(tt *testing.T) {
	t := hyTest{T: tt}
	t.round(10, 100*ms)
	t.want("seven samples", t.round(7, 200*ms), 1)
	t.round(10, 100*ms)
	began := t.delivered
	for i := range 10 {
		rtt := 200 * ms
		if i == 3 {
			rtt = 100 * ms
		}
		t.delivered += simMSS
		t.want("one low sample among high ones", t.h.acked(&Ack{Acked: simMSS, RTT: rtt, PriorDelivered: began, Delivered: t.delivered}), 1)
	}
}

// RFC 9406, 4.2: the threshold is between 4 and 16 ms.
func TestHyStartThreshold(tt *testing.T) {
	for _, tc := range []struct{ rtt, stays, leaves time.Duration }{
		{1 * ms, 4900 * time.Microsecond, 5 * ms},
		{64 * ms, 71 * ms, 72 * ms},
		{400 * ms, 415 * ms, 416 * ms},
	} {
		t := hyTest{T: tt}
		t.round(10, tc.rtt)
		t.want("below "+tc.leaves.String(), t.round(10, tc.stays), 1)
		t = hyTest{T: tt}
		t.round(10, tc.rtt)
		t.want("at "+tc.leaves.String(), t.round(10, tc.leaves), hystartCSSGrowth)
	}
}

// The queue is seen while it grows, within a round, and when it has grown twice by
// the threshold slow start is over without five rounds of CSS.
func TestHyStartSeesAQueueGrow(tt *testing.T) {
	t := hyTest{T: tt}
	t.round(10, 100*ms)
	began := t.delivered
	var said []int
	for i := range 60 { // a round trip that becomes a millisecond longer with every ACK
		t.delivered += simMSS
		rtt := 100*ms + time.Duration(i)*ms
		said = append(said, t.h.acked(&Ack{Acked: simMSS, RTT: rtt, PriorDelivered: began, Delivered: t.delivered}))
	}
	// The smallest of eight samples lags by seven: 12.5 ms is at 20, and 14 more
	// than the 113 there at 34.
	t.want("before the first threshold", said[19], 1)
	t.want("at it", said[20], hystartCSSGrowth)
	t.want("before the second", said[34], hystartCSSGrowth)
	t.want("at it", said[35], 0)
}
