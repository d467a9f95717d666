package terminator

import (
	"crypto/rand"
	"time"

	"accd/policy"
	"accd/splice"
	"accd/tcpstack"
	"accd/tcpstack/cc"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// earlyBacklog is how many clients of one rule a shard answers at once that have
// not answered themselves; others get SYN cookies. Ours.
const earlyBacklog = 128

// ecnPolicies gives what the words of a profile mean.
var ecnPolicies = map[string]tcpstack.ECNPolicy{
	"grant": tcpstack.ECNGrant, "off": tcpstack.ECNOff, "classic": tcpstack.ECNClassic, "accurate": tcpstack.ECNAccurate,
}

// newSecret makes a secret that nobody else knows.
func newSecret() tcpstack.Secret {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return tcpstack.SecretOf(b)
}

// terms remembers what verdicts mean for flows, so that a new flow allocates
// nothing.
type terms struct {
	mtu      [3]int // by network
	offload  bool
	idle     time.Duration // how long steering remembers a flow without packets
	known    map[termsKey]uint32
	rulings  []ruling
	free     []uint32           // rulings not in use
	cookieAt mono.Time          // when a Listener that is gone sent its last cookie; 0: none did
	secret   [2]tcpstack.Secret // of sequence numbers, and of cookies
}

// ruling is a verdict and what it means for flows between two networks. Places, which
// hold no pointers, name it by its number. It stays as long as the table of
// verdicts, or a flow it was made for.
type ruling struct {
	verdict *policy.Verdict
	terms   *splice.Terms // nil: not in use
	flows   int
	current bool // of the table of verdicts that new flows obey
}

type termsKey struct {
	verdict        *policy.Verdict
	client, server policy.Network
	split          bool
}

func (t *terms) init(cfg *Config, offload bool) {
	t.offload, t.idle = offload, cfg.Idle
	t.secret = [2]tcpstack.Secret{newSecret(), newSecret()}
	for n, mtu := range cfg.MTU {
		if mtu == 0 {
			mtu = 1500
		}
		t.mtu[n] = mtu
	}
	t.forget()
}

// forget drops what is remembered: the table of verdicts has changed. Cookies that
// were sent meanwhile are still good.
func (t *terms) forget() {
	for _, n := range t.known {
		r := &t.rulings[n]
		if l := r.terms.Early; l != nil {
			t.cookieAt = max(t.cookieAt, l.CookieAt())
		}
		r.current = false
		t.drop(n)
	}
	t.known = make(map[termsKey]uint32)
}

// at gives a ruling in use.
func (t *terms) at(n uint32) *ruling { return &t.rulings[n] }

// bind counts one more flow that a ruling was made for.
func (t *terms) bind(n uint32) { t.rulings[n].flows++ }

// unbind counts one less.
func (t *terms) unbind(n uint32) {
	t.rulings[n].flows--
	t.drop(n)
}

// drop forgets a ruling that nobody needs any more.
func (t *terms) drop(n uint32) {
	if r := &t.rulings[n]; !r.current && r.flows == 0 {
		*r = ruling{}
		t.free = append(t.free, n)
	}
}

// of gives the ruling for flows between two networks.
func (t *terms) of(v *policy.Verdict, client, server policy.Network, split bool) (n uint32) {
	k := termsKey{v, client, server, split}
	if known, ok := t.known[k]; ok {
		return known
	}
	a, b := v.Profile(client), v.Profile(server)
	made := &splice.Terms{
		Rule:      v.Rule,
		Leg:       [2]*tcpstack.Config{t.leg(a, client), t.leg(b, server)},
		Split:     split,
		MaxBuffer: max(a.MaxBuffer, b.MaxBuffer),
		Oblivious: !v.PathMemory,
	}
	profiles := [2]*policy.Profile{a, b}
	for i, leg := range made.Leg {
		leg.Relay, leg.HoldFIN = !split, split
		if split {
			// A split flow that steering forgets is lost: its ends are asked
			// before that, and one that is gone is noticed.
			leg.WindowScale = made.WindowScale()
			leg.UserTimeout = profiles[i].UserTimeout
			leg.ECN = ecnPolicies[profiles[i].ECN]
			leg.KeepAlive = tcpstack.KeepAlive{On: true, Idle: t.idle / 2, Interval: t.idle / 20}
		}
	}
	if split && v.Handshake == policy.Early {
		made.Early = tcpstack.NewListener(earlyBacklog, t.secret[0], t.secret[1], made.Leg[0])
		made.Early.Expect(t.cookieAt)
	}
	if last := len(t.free) - 1; last >= 0 {
		n, t.free = t.free[last], t.free[:last]
	} else {
		n = uint32(len(t.rulings))
		t.rulings = append(t.rulings, ruling{})
	}
	t.rulings[n] = ruling{verdict: v, terms: made, current: true}
	t.known[k] = n
	return n
}

func (t *terms) leg(p *policy.Profile, n policy.Network) *tcpstack.Config {
	c := &tcpstack.Config{
		InitialWindow: p.InitialWindow,
		MTU:           t.mtu[n],
		MaxRate:       p.MaxRate,
	}
	if !t.offload {
		c.NoSegmentation = true // the device cannot cut superpackets
	}
	var err error
	if c.NewController, err = cc.Constructor(p.Congestion, p.Parameters); err != nil {
		panic("BUG: terminator: the policy lets through: " + err.Error())
	}
	return c
}

// carries gives the largest MSS that a network carries.
func (t *terms) carries(n policy.Network, is6 bool) int { return t.mtu[n] - wire.HeadersLen(!is6) }

// clamp gives the largest MSS that all networks carry.
func (t *terms) clamp(is6 bool) int {
	return min(t.mtu[0], t.mtu[1], t.mtu[2]) - wire.HeadersLen(!is6)
}
