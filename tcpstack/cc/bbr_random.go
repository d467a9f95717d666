package cc

// bbrRandom is what the path loses without a queue, so not to congestion. The
// bandwidth is what arrives: who sends no more than that over a path which loses a
// twentieth delivers a twentieth less. The draft makes up for it only while it
// probes. Ours: cruising does too, while there is no queue. Losses of cruising
// would confirm themselves where it is the pace that causes them, so it is those of
// Refill that count, which never sends more than the bandwidth.
type bbrRandom struct {
	randomLoss float64 // share of what Refill sends, smoothed
	clear      bool    // no queue stood through the last round trip

	upDelivered, upLost int64 // totals when Up began: what is told next is of Refill
}

// randomGain is the weight of one Refill.
const randomGain = 1. / 4

// refilled notes that Up begins, with the first ACK of what Refill sent.
func (b *bbr) refilled(a *Ack) { b.upDelivered, b.upLost = a.Delivered, a.LostTotal }

// learnRandom takes what became of all that Refill sent.
func (b *bbr) learnRandom(a *Ack) {
	lost := float64(a.LostTotal - b.upLost)
	share := min(lost/(lost+float64(a.Delivered-b.upDelivered)), b.lossThresh)
	if b.randomLoss == 0 {
		b.randomLoss = share
	}
	b.randomLoss += randomGain * (share - b.randomLoss)
}

// makeUp gives the factor on the pace that makes up for what is lost at random.
func (b *bbr) makeUp() float64 {
	if b.state != bbrCruise || !b.clear {
		return 1
	}
	return 1 / (1 - b.randomLoss)
}
