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
	known    map[termsKey]*splice.Terms
	cookieAt mono.Time          // when a Listener that is gone sent its last cookie; 0: none did
	secret   [2]tcpstack.Secret // of sequence numbers, and of cookies
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
	for _, known := range t.known {
		if l := known.Early; l != nil {
			t.cookieAt = max(t.cookieAt, l.CookieAt())
		}
	}
	t.known = make(map[termsKey]*splice.Terms)
}

// of gives the terms of a flow between two networks.
func (t *terms) of(v *policy.Verdict, client, server policy.Network, split bool) *splice.Terms {
	k := termsKey{v, client, server, split}
	if known := t.known[k]; known != nil {
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
	t.known[k] = made
	return made
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
