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
