package netcfg

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// Priorities of our base chains (linux/netfilter_ipv4.h).
const (
	beforeDefrag = -450 // the last place where fragments are seen as such
	beforeTrack  = -300 // before conntrack: what is not tracked is said here
	afterNAT     = -90  // behind conntrack and destination NAT
)

// loopback is the index of lo in every namespace (LOOPBACK_IFINDEX of linux/net.h).
const loopback = 1

// beatProtocol is the IP protocol of the heartbeat's packets: no next header, in
// both families (RFC 8200, 4.7).
const beatProtocol = unix.IPPROTO_NONE

// steering gives the nft table that picks what goes to the taps, which have these
// indexes, for the families that the host forwards.
//
// From the client: the first segment of a connection that a clause accelerates
// puts its addresses and ports into a set for handshakes, an acknowledgement
// moves them to the set of flows, and what is in either goes to the client tap
// untracked, as if the kernel had never seen it. Towards the client: what
// conntrack knows as the reply direction of a connection whose original
// direction is in the set goes to the server tap, tracked and with NAT undone.
// So conntrack and NAT see only what is between accd and the server, and that is
// the binding they need when the flow goes on without accd.
//
// Where nobody on the host asks conntrack, our table does not either: what goes
// towards the client is known by its own addresses and ports.
//
// Each packet passes two base chains, twice: once as it arrives and once as it
// comes out of the other tap. Every expression counts, and calls of chains, lookups
// and names of interfaces most. So the taps are told by their indexes, which end with
// them, what most packets are is asked first, and the heartbeat only of what would be
// steered.
func steering(p *Plan, taps [roles]int, on []*family, track tracking) *ruleset {
	r := &ruleset{family: nftables.TableFamilyINet, table: p.Table, owner: p.owned()}
	r.sets = append(r.sets, &nftables.Set{
		Name: "alive", KeyType: nftables.TypeNFProto, HasTimeout: true, Dynamic: true, Timeout: p.BeatTimeout,
	})
	for _, f := range families {
		r.sets = append(r.sets,
			&nftables.Set{Name: f.openings(), KeyType: f.key, Concatenation: true, HasTimeout: true, Dynamic: true, Timeout: p.OpeningTimeout, Size: uint32(p.Openings)},
			&nftables.Set{Name: f.flows(), KeyType: f.key, Concatenation: true, HasTimeout: true, Dynamic: true, Timeout: p.FlowTimeout, Size: uint32(p.Flows)})
	}

	if !r.owner {
		r.filled = make(map[string][]nftables.SetElement)
		for _, f := range families {
			r.filled[f.flows()] = f.landmark()
		}
	}

	// Chains that jump stand behind the chains they jump to.
	fromTap := func(r role) part { return iifIndex(p.tap(r), taps[r]) }
	fromLoopback := iifIndex("lo", loopback)
	unseen := track.unseen()
	r.chains = append(r.chains, p.marked(taps[client], unseen), p.leg(client), p.leg(server),
		chain{name: "from_client_tap", rules: slices.Concat(
			[]rule{append(rule{goesOn()}, unseen...)},
			lastFrames((*family).reversed, unseen...),
			[]rule{
				{l4(fmt.Sprint(beatProtocol), beatProtocol), atIP.beat(p.BeatTimeout), drop()},
				v4.forgotten(),
				v6.forgotten(),
				unseen,
			})},
		chain{name: "from_server_tap", rules: slices.Concat([]rule{{goesOn(), accept()}}, lastFrames((*family).tuple, accept()))},
		chain{name: "own_client", rules: []rule{append(rule{p.setMark(p.mark(client, Unknown))}, unseen...)}})
	for _, f := range families {
		r.chains = append(r.chains,
			chain{name: f.chain("open"), rules: f.open(p)},
			chain{name: f.chain("new"), rules: f.newFlow(p)},
			chain{name: f.chain("quoted"), rules: f.quotedBy("client", track)},
			chain{name: f.chain("own_quoted"), rules: f.quotedBy("own_client", track)},
			chain{name: f.chain("opening"), rules: f.inOpening(p)},
			chain{name: f.chain("answers"), rules: f.answers(p)},
			chain{name: f.chain("from_client"), rules: f.fromClient(p, track)},
			chain{name: f.chain("arriving"), rules: f.arriving(p, track)})
		if track != untracked {
			r.chains = append(r.chains, chain{name: f.chain("to_client"), rules: f.toClient(p)})
		}
	}

	every := func(name string) (rules []rule) {
		for _, f := range on {
			rules = append(rules, rule{f.is(), goTo(f.chain(name))})
		}
		return rules
	}
	var ownErrors []rule
	for _, f := range on {
		ownErrors = append(ownErrors, slices.Concat(rule{f.is(), l4(f.icmpName, f.icmp)}, p.breathing(), rule{goTo(f.chain("own_quoted"))}))
	}
	// What the box itself sends: errors about packets that left the client tap, and
	// replies of its own servers and errors about packets that left the server tap.
	own := func(name string, priority nftables.ChainPriority, rules ...rule) chain {
		return chain{
			name: name, kind: nftables.ChainTypeRoute, hook: nftables.ChainHookOutput, priority: priority,
			rules: slices.Concat([]rule{{oifIndex("lo", loopback), accept()}}, rules),
		}
	}
	r.chains = append(r.chains, chain{
		name: "incoming", kind: nftables.ChainTypeFilter, hook: nftables.ChainHookPrerouting, priority: beforeDefrag,
		rules: slices.Concat([]rule{
			{fromTap(client), goTo("from_client_tap")},
			{fromTap(server), goTo("from_server_tap")},
			{fromLoopback, accept()},
		}, every("arriving")),
	})
	if track == untracked {
		r.chains = append(r.chains, own("own", beforeTrack, slices.Concat(ownErrors, every("answers"))...))
		return r
	}

	towardsClient := []rule{{reply(), goTo("replies")}, {invalid(), goTo("unbelieved")}}
	if track == joined {
		towardsClient[1] = rule{goTo("unbelieved")}
	}
	r.chains = append(r.chains,
		// What comes out of a tap is no reply here: from the client tap it is not
		// tracked, and from the server tap it has the direction of the SYN.
		chain{name: "replies", rules: every("to_client")},
		// Packets towards the client that conntrack does not know for such: where steering was
		// gone for a while, and nobody else needed conntrack, it has not seen what passed,
		// and takes answers to that for invalid. Where there is NAT somebody does, and these
		// have other addresses. Or it came later, and an answer was the first it saw.
		chain{name: "unbelieved", rules: slices.Concat([]rule{
			{fromTap(server), accept()},
			{fromTap(client), accept()},
			{fromLoopback, accept()},
		}, every("answers"))},
		chain{
			name: "tracked", kind: nftables.ChainTypeFilter, hook: nftables.ChainHookPrerouting, priority: afterNAT,
			rules: slices.Concat([]rule{{p.hasMark(p.fragmentMark()), p.setMark(0), accept()}}, towardsClient),
		},
		own("own", beforeTrack, ownErrors...),
		own("own_tracked", afterNAT, towardsClient...))
	return r
}

func (f *family) openings() string { return fmt.Sprintf("opening%d", f.number) }
func (f *family) flows() string    { return fmt.Sprintf("flows%d", f.number) }

// chain gives the name of the family's chain of a kind.
func (f *family) chain(name string) string { return fmt.Sprintf("%s%d", name, f.number) }

// breathing matches while the heartbeat lasts: if it lapses, steering stops, of old
// flows as well as of new ones. To block, steering must go on.
func (p *Plan) breathing() []part {
	if p.Block {
		return nil
	}
	return []part{atIP.alive()}
}

// arriving takes packets that come from no tap, before anybody has put fragments
// together: a fragment is never steered, and as part of a packet it is known again
// by its mark.
func (f *family) arriving(p *Plan, track tracking) []rule {
	part := rule{silent(f.is()), f.fragment(), p.setMark(p.fragmentMark()), accept()}
	if track == untracked {
		part = rule{silent(f.is()), f.fragment(), accept()} // nobody puts them together
	}
	return []rule{
		{f.wholeTCP(), goTo(f.chain("from_client"))},
		part,
		{tcp(), goTo(f.chain("from_client"))}, // behind extension headers of IPv6
		slices.Concat(rule{l4(f.icmpName, f.icmp)}, p.breathing(), rule{goTo(f.chain("quoted"))}),
	}
}

// fromClient takes TCP before conntrack. What is not taken ends accepted. A
// packet that is in no set, as those of the other direction are, comes through
// two lookups and no more.
func (f *family) fromClient(p *Plan, track tracking) []rule {
	k := f.tuple()
	in := func(set string, parts ...part) rule {
		return slices.Concat(rule{silent(f.is()), silent(tcp()), k.in(set)}, p.breathing(), unsigned(), parts)
	}
	rules := []rule{
		slices.Concat(rule{silent(tcp()), opens()}, p.breathing(), rule{goTo(f.chain("new"))}),
		in(f.flows(), k.updateLoaded(f.flows(), p.FlowTimeout), goTo("client")),
		in(f.openings(), goTo(f.chain("opening"))),
	}
	if track == untracked {
		rules = append(rules, rule{goTo(f.chain("answers"))})
	}
	return rules
}

// inOpening takes what the client says after its SYN: with an acknowledgement
// the handshake is a flow, if there is room for one.
func (f *family) inOpening(p *Plan) []rule {
	k := f.tuple()
	return []rule{
		{silent(tcp()), acknowledges(), silent(f.is()), k.update(f.flows(), p.FlowTimeout), k.removeLoaded(f.openings()), goTo("client")},
		{goTo("client")},
	}
}

// newFlow asks the clauses about a SYN. One from the server of a connection that is
// known opens no other, forged as it most likely is: what this server says would be taken for a
// client's.
func (f *family) newFlow(p *Plan) []rule {
	k := f.reversed()
	rules := []rule{
		{silent(f.is()), silent(tcp()), k.in(f.flows()), goTo("server")},
		{silent(f.is()), silent(tcp()), k.in(f.openings()), goTo("server")},
		// RFC 2385 and RFC 5925: what is signed may not be touched.
		{silent(tcp()), tcpOption("md5sig", 19), accept()},
		{silent(tcp()), tcpOption("29", 29), accept()},
		// RFC 8684, 3.1: endpoints that would use MPTCP are not accelerated.
		{silent(tcp()), tcpOption("mptcp", 30), accept()},
	}
	for _, c := range p.Clauses {
		rules = append(rules, f.clause(&c)...)
	}
	return rules
}

// open enters a SYN into the set of handshakes. When the set is full the
// connection is native.
func (f *family) open(p *Plan) []rule {
	return []rule{{silent(f.is()), silent(tcp()), f.tuple().update(f.openings(), p.OpeningTimeout), goTo("client")}}
}

// clause gives the rules of one clause: one for each pair of an interface and a
// DSCP, or none if it cannot match in this family.
func (f *family) clause(c *Clause) []rule {
	only := func(all []netip.Prefix) (mine []netip.Prefix, everything bool) {
		for _, p := range all {
			if p.Addr().Is4() == (f == v4) {
				mine = append(mine, p)
				everything = everything || p.Bits() == 0
			}
		}
		return mine, everything
	}
	var match rule
	for _, side := range []struct {
		field     string
		in, notIn []netip.Prefix
	}{{"saddr", c.From, c.NotFrom}, {"daddr", c.To, c.NotTo}} {
		in, all := only(side.in)
		notIn, none := only(side.notIn)
		if none || len(side.in) > 0 && len(in) == 0 {
			return nil
		}
		if len(in) > 0 && !all {
			match = append(match, f.addresses(side.field, in, false))
		}
		if len(notIn) > 0 {
			match = append(match, f.addresses(side.field, notIn, true))
		}
	}
	if len(match) > 0 {
		match = slices.Insert(match, 0, silent(f.is()))
	}
	if len(c.Ports) > 0 {
		match = append(match, silent(tcp()), toPorts(c.Ports))
	}

	verdict := accept()
	if c.Accelerate {
		verdict = goTo(f.chain("open"))
	}
	ins := []rule{nil}
	if len(c.In) > 0 {
		ins = nil
		for _, dev := range c.In {
			ins = append(ins, rule{iif(dev)})
		}
	}
	dscps := []rule{nil}
	if len(c.DSCP) > 0 {
		dscps = nil
		for _, d := range c.DSCP {
			dscps = append(dscps, rule{silent(f.is()), f.dscp(d)})
		}
	}
	var rules []rule
	for _, in := range ins {
		for _, d := range dscps {
			rules = append(rules, slices.Concat(in, d, match, rule{verdict}))
		}
	}
	return rules
}

// quotedBy takes ICMP errors about packets that went to the client, by the packet
// they quote: they are the client leg's, and conntrack must not see them, because
// it would undo NAT that this leg never had.
//
// Errors about packets that went to the server are known in the same way where conntrack
// has not seen how the flow began.
func (f *family) quotedBy(target string, track tracking) []rule {
	about := func(k key, set, target string) rule {
		return slices.Concat(rule{silent(f.is()), silent(l4(f.icmpName, f.icmp)), f.isError()}, f.quotesTCP(),
			rule{k.in(set), goTo(target)})
	}
	rules := []rule{about(f.quoted(), f.flows(), target), about(f.quoted(), f.openings(), target)}
	if track != tracked {
		rules = append(rules, about(f.quotedTuple(), f.flows(), "server"), about(f.quotedTuple(), f.openings(), "server"))
	}
	return rules
}

// toClient takes packets of the reply direction, and errors about those of the
// original one. They do not keep the flow's element alive: what the client
// acknowledges does.
func (f *family) toClient(p *Plan) []rule {
	k := f.original()
	about := func(set string, what ...part) rule {
		return slices.Concat(what, rule{k.in(set)}, p.breathing(), rule{goTo("server")})
	}
	return []rule{
		about(f.flows(), tcp()),
		about(f.openings(), tcp()),
		about(f.flows(), l4(f.icmpName, f.icmp), related()),
		about(f.openings(), l4(f.icmpName, f.icmp), related()),
	}
}

// answers takes packets towards the client by their own addresses and ports.
func (f *family) answers(p *Plan) []rule {
	k := f.reversed()
	answer := func(set string) rule {
		return slices.Concat(rule{silent(f.is()), silent(tcp()), k.in(set)}, p.breathing(), rule{goTo("server")})
	}
	return []rule{answer(f.flows()), answer(f.openings())}
}

// leg marks a packet for the tap of a leg by the side it arrived from. An
// interface beats the prefixes, and the longest prefix the shorter ones. More
// clients are in the LAN than in the WAN.
func (p *Plan) leg(r role) chain {
	marked := accept()
	if r == client {
		marked = goTo("marked")
	}
	var rules []rule
	type sided struct {
		prefix netip.Prefix
		side   Side
	}
	var prefixes []sided
	networks := []struct {
		Network
		side Side
	}{{p.LAN, LAN}, {p.WAN, WAN}}
	if r == server {
		slices.Reverse(networks)
	}
	for _, n := range networks {
		for _, dev := range n.Interfaces {
			rules = append(rules, rule{iif(dev), p.setMark(p.mark(r, n.side)), marked})
		}
		for _, x := range n.Prefixes {
			prefixes = append(prefixes, sided{x.Masked(), n.side})
		}
	}
	slices.SortFunc(prefixes, func(a, b sided) int {
		return cmp.Or(b.prefix.Bits()-a.prefix.Bits(), int(a.side)-int(b.side))
	})
	for _, x := range prefixes {
		f := v4
		if x.prefix.Addr().Is6() {
			f = v6
		}
		match := rule{f.is()}
		if x.prefix.Bits() > 0 {
			match = rule{silent(f.is()), f.addresses("saddr", []netip.Prefix{x.prefix}, false)}
		}
		rules = append(rules, append(match, p.setMark(p.mark(r, x.side)), marked))
	}
	return chain{name: r.String(), rules: append(rules, rule{p.setMark(p.mark(r, Unknown)), marked})}
}

// marked sends what is marked for the client tap there untracked. A tap that is
// dying is no route any more: what was marked for it must be tracked, or it would
// leave without NAT. One that dies behind this rule leaves its blackhole (see
// desired), and the packet's sender repeats it.
func (p *Plan) marked(tap int, unseen rule) chain {
	rules := []rule{append(rule{leadsTo(p.ClientTap, tap)}, unseen...)}
	if p.Block {
		rules = append(rules, rule{drop()})
	} else {
		rules = append(rules, rule{p.setMark(0)})
	}
	return chain{name: "marked", rules: rules}
}
