package lab

import "math/rand/v2"

// losses decides which segments a line loses. With bursts it is Gilbert's
// model: a good state that loses nothing, a bad one that loses everything.
type losses struct {
	toBad, toGood float64 // probability per segment to change state; without bursts toBad is the loss itself
	burst, bad    bool
	from          int64
	lose          []int64 // still to come
	rng           *rand.Rand
}

func (l *losses) init(p *Path) {
	*l = losses{toBad: p.Loss, from: p.LossFrom, lose: p.Lose, rng: rand.New(rand.NewPCG(p.Seed, 1))}
	if p.Burst > 1 && p.Loss > 0 {
		// In the long run the share of time in the bad state is
		// toBad/(toBad+toGood), and a stay in it lasts 1/toGood.
		l.burst = true
		l.toGood = 1 / p.Burst
		l.toBad = min(1, p.Loss*l.toGood/(1-p.Loss))
	}
}

// lost says whether segment number n is lost. It is asked once for each
// segment, in order.
func (l *losses) lost(n int64) bool {
	hit := l.toBad > 0 && n >= l.from && l.random()
	if len(l.lose) > 0 && l.lose[0] == n {
		l.lose = l.lose[1:]
		return true
	}
	return hit
}

func (l *losses) random() bool {
	x := l.rng.Float64()
	switch {
	case !l.burst:
		return x < l.toBad
	case l.bad:
		l.bad = x >= l.toGood
	default:
		l.bad = x < l.toBad
	}
	return l.bad
}
