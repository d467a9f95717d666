package terminator

import (
	"testing"

	"accd/policy"
	"accd/tcpstack"
	"accd/tcpstack/cc"
)

// A rule gives each network its profile; which leg crosses it depends on the flow.
func TestTermsFollowTheNetworks(t *testing.T) {
	p := table(t, `
version: 1
steering: { mode: router }
sides:
  wan: { interfaces: [eth0] }
  lan: { interfaces: [eth1] }
profiles:
  sat: { congestion: bbr, initial_window: 32, buffer: { max: 8MiB }, pacing: 20mbit }
rules:
  - { name: all, action: accelerate, wan: { profile: sat }, lan: { congestion: reno } }
`)
	var x terms
	x.init(&Config{MTU: [3]int{1500, 9000, 1400}}, true)
	v := p.Decide(web4, policy.Meta{})
	first := x.of(v, policy.LAN, policy.WAN, false)
	out, in := x.at(first).terms, x.at(x.of(v, policy.WAN, policy.LAN, false)).terms
	if out.Rule != "all" || out.MaxBuffer != 8<<20 || !out.Leg[0].Relay || out.Leg[1].NoSegmentation {
		t.Errorf("terms %+v", out)
	}
	lan, wan := out.Leg[0], out.Leg[1]
	if wan.InitialWindow != 32 || wan.MaxRate != 20e6/8 || wan.MTU != 1400 || lan.MTU != 9000 || lan.InitialWindow != 0 {
		t.Errorf("lan %+v, wan %+v", lan, wan)
	}
	if in.Leg[0].InitialWindow != 32 || in.Leg[1].InitialWindow != 0 {
		t.Error("the other way round the legs are the same")
	}
	if a, b := lan.NewController(cc.Config{MSS: 1448}), wan.NewController(cc.Config{MSS: 1448}); a == nil || b == nil || a.State() == b.State() {
		t.Errorf("congestion controls: %v and %v", a, b)
	}
	if x.of(v, policy.LAN, policy.WAN, false) != first || testing.AllocsPerRun(10, func() { x.of(v, policy.LAN, policy.WAN, false) }) != 0 {
		t.Error("terms are made anew")
	}
	if x.clamp(false) != 1360 || x.clamp(true) != 1340 {
		t.Errorf("MSS clamped to %d and %d", x.clamp(false), x.clamp(true))
	}
	x.init(&Config{}, false)
	if l := x.at(x.of(v, policy.LAN, policy.WAN, false)).terms.Leg[1]; !l.NoSegmentation || l.MTU != 1500 {
		t.Errorf("without offload %+v", l)
	}
}

// A split leg asks for the ECN that its profile says; every word means something of
// its own, and a relayed leg is left to its endpoints.
func TestTermsFollowTheProfilesECN(t *testing.T) {
	seen := map[tcpstack.ECNPolicy]bool{}
	for _, word := range policy.ECNWords {
		p := table(t, `
version: 1
sides:
  wan: { interfaces: [eth0] }
rules:
  - { name: all, action: accelerate, handshake: split, wan: { ecn: `+word+` } }
`)
		var x terms
		x.init(&Config{}, true)
		v := p.Decide(web4, policy.Meta{})
		legs := x.at(x.of(v, policy.Unknown, policy.WAN, true)).terms.Leg
		if legs[0].ECN != tcpstack.ECNGrant || seen[legs[1].ECN] {
			t.Errorf("%s: client leg %v, server leg %v, seen %v", word, legs[0].ECN, legs[1].ECN, seen)
		}
		seen[legs[1].ECN] = true
		if relayed := x.at(x.of(v, policy.Unknown, policy.WAN, false)).terms.Leg[1].ECN; relayed != tcpstack.ECNGrant {
			t.Errorf("%s: a relayed leg has %v", word, relayed)
		}
	}
}

// A ruling outlives the table of verdicts as long as a flow was made under it.
func TestRulingsStayWhileFlowsNeedThem(t *testing.T) {
	var x terms
	x.init(&Config{}, true)
	v := table(t, config).Decide(web4, policy.Meta{})
	of := func() uint32 { return x.of(v, policy.LAN, policy.WAN, false) }
	old := of()
	x.bind(old)
	x.bind(old)
	x.forget()
	next := of()
	if next == old || x.at(old).verdict != v || x.at(old).current || !x.at(next).current {
		t.Fatalf("ruling %d, then %d", old, next)
	}
	x.unbind(old)
	if x.at(old).terms == nil {
		t.Error("forgotten with a flow left")
	}
	x.unbind(old)
	if x.at(old).terms != nil {
		t.Error("kept without a flow")
	}
	for range 10 {
		x.forget()
		of()
	}
	if len(x.rulings) != 2 {
		t.Errorf("%d rulings after ten reloads", len(x.rulings))
	}
}
