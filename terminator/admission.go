package terminator

import (
	"time"

	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// bucket limits how often something happens: rate times per second, with a
// burst of one second's worth.
type bucket struct {
	rate   int // per second; 0: no limit
	tokens time.Duration
	filled mono.Time
}

// take reports whether it may happen now, and if so counts it.
func (b *bucket) take(now mono.Time) bool {
	if b.rate == 0 {
		return true
	}
	price := time.Second / time.Duration(b.rate)
	b.tokens = min(b.tokens+now.Sub(b.filled), time.Second)
	b.filled = now
	if b.tokens < price {
		return false
	}
	b.tokens -= price
	return true
}

// Ours. As long as the steering rules remember a SYN.
const (
	openingTime = 10 * time.Second
	openingBits = 14
)

// openings counts the handshakes each client has begun and not completed within
// the last ten to twenty seconds. Clients share a fixed table by a hash: a flood
// from one address neither fills memory nor keeps others from opening, except
// for the few that meet it in a place.
type openings struct {
	limit  int // per client; 0: none
	seed   uint64
	places [1 << openingBits]opening
}

type opening struct {
	since mono.Time
	n     uint32
}

func (o *openings) at(client wire.Addr, now mono.Time) *opening {
	p := &o.places[hashAddr(&client, o.seed)>>(64-openingBits)]
	if age := now.Sub(p.since); age > 2*openingTime {
		*p = opening{since: now}
	} else if age > openingTime {
		*p = opening{now, p.n / 2}
	}
	return p
}

// begin reports whether the client may open one more, and if so counts it.
func (o *openings) begin(client wire.Addr, now mono.Time) bool {
	p := o.at(client, now)
	if o.limit > 0 && p.n >= uint32(o.limit) {
		return false
	}
	p.n++
	return true
}

// done says that a handshake of the client is complete.
func (o *openings) done(client wire.Addr, now mono.Time) {
	if p := o.at(client, now); p.n > 0 {
		p.n--
	}
}
