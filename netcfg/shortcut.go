package netcfg

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ShortcutMAC gives the Ethernet source address of a frame out of the server tap
// by which its flow takes the shortcut from then on: see shortcut.
func ShortcutMAC() [6]byte { return shortcutWord }

// wayTimeout is how long a flow takes the shortcut before a packet of it goes the long
// way again, which must be while it is still steered: packets by the shortcut do not
// prolong that.
func (p *Plan) wayTimeout() time.Duration { return min(30*time.Second, p.FlowTimeout/2) }

// arrival is an interface whose packets may take the shortcut.
type arrival struct {
	name  string
	index int
	side  Side
}

// shortcut gives the nft table by which what arrives of known flows goes to the taps
// before the host looks at it, which saves a walk through its routes and chains. It is
// for hosts where nobody looks (see onlookers). What comes out of a tap goes
// the host's own way in any case.
//
// A flow is in the set of ways for wayTimeout after a frame of it with ShortcutMAC has
// come out of the server tap. Nothing that takes the shortcut refreshes that: the next
// packet of the client goes the long way then, which keeps the flow among those that are
// steered, and is the sign for such a frame. SYNs go the long way too, and so do fragments,
// IP options, errors, what has used up its hops, and frames that have a tag or another's
// address. A SYN ends the shortcut of a connection that had its addresses and ports.
func shortcut(p *Plan, from []arrival, taps [roles]int, on []*family) *ruleset {
	r := &ruleset{family: nftables.TableFamilyNetdev, table: p.Table, owner: p.owned()}
	r.sets = append(r.sets, &nftables.Set{
		Name: "alive", KeyType: nftables.TypeEtherType, HasTimeout: true, Dynamic: true, Timeout: p.BeatTimeout,
	})
	for _, f := range families {
		r.sets = append(r.sets, &nftables.Set{
			Name: f.ways(), KeyType: f.key, Concatenation: true, HasTimeout: true, Dynamic: true, Timeout: p.wayTimeout(), Size: uint32(p.Flows),
		})
	}

	// Chains that jump stand behind the chains they jump to.
	var to [roles]string
	for x := range to {
		to[x] = fmt.Sprintf("to_%v_tap", role(x))
		r.chains = append(r.chains, chain{name: to[x], to: &device{p.tap(role(x)), taps[x]}})
	}
	for _, f := range on {
		fromClient, fromServer := rule{f.tuple().in(f.ways())}, rule{f.reversed().in(f.ways())}
		if !p.Block {
			fromClient, fromServer = append(fromClient, atDevice.alive()), append(fromServer, atDevice.alive())
		}
		fromClient, fromServer = append(fromClient, goTo(to[client])), append(fromServer, goTo(to[server]))
		// More clients are in the LAN than in the WAN.
		r.chains = append(r.chains,
			chain{name: f.known(LAN), rules: []rule{fromClient, fromServer}},
			chain{name: f.known(WAN), rules: []rule{fromServer, fromClient}})
	}
	ingress := func(name, device string, rules ...rule) chain {
		return chain{
			name: name, kind: nftables.ChainTypeFilter, hook: nftables.ChainHookIngress, device: device, priority: beforeDefrag, rules: rules,
		}
	}
	for _, a := range from {
		var rules []rule
		for _, f := range on {
			whole := rule{f.untagged(), forUs(), f.plainHeader(), f.wholeTCP(), f.goesFurther()}
			rules = append(rules,
				slices.Concat(whole, rule{tcpFlags("tcp flags & syn == 0", syn, 0), goTo(f.known(a.side))}),
				slices.Concat(whole, rule{opens(), f.tuple().remove(f.ways())}))
		}
		r.chains = append(r.chains, ingress(fmt.Sprintf("from_%d", a.index), a.name, rules...))
	}
	var heard [roles][]rule
	heard[client] = []rule{{saysNothing(), accept()}, {l4(fmt.Sprint(beatProtocol), beatProtocol), atDevice.beat(p.BeatTimeout), accept()}}
	heard[server] = []rule{{saysNothing(), accept()}}
	for _, f := range families {
		gone := func(k key, what ...part) rule {
			return slices.Concat(rule{f.here()}, what, rule{k.remove(f.ways()), accept()})
		}
		heard[client] = append(heard[client],
			gone(f.farewell(), l4("udplite", farewellProtocol)),
			gone(f.reversed(), silent(tcp()), says(farewellWord)))
		heard[server] = append(heard[server],
			rule{f.here(), silent(tcp()), says(shortcutWord), f.tuple().update(f.ways(), p.wayTimeout()), accept()},
			gone(f.tuple(), silent(tcp()), says(farewellWord)))
	}
	for x := range heard {
		r.chains = append(r.chains, ingress(fmt.Sprintf("from_%v_tap", role(x)), p.tap(role(x)), heard[x]...))
	}
	return r
}

func (f *family) ways() string { return fmt.Sprintf("ways%d", f.number) }

// known names the chain for what arrives from a side.
func (f *family) known(s Side) string { return fmt.Sprintf("known%d_%v", f.number, s) }

// etherType is the family's, as Ethernet has it.
func (f *family) etherType() []byte {
	if f == v4 {
		return binary.BigEndian.AppendUint16(nil, unix.ETH_P_IP)
	}
	return binary.BigEndian.AppendUint16(nil, unix.ETH_P_IPV6)
}

// here matches the family at a hook of family netdev.
func (f *family) here() part {
	return metaIs(expr.MetaKeyPROTOCOL, "meta protocol "+f.ip, f.etherType()...)
}

// untagged matches frames of the family without a VLAN tag, which would belong to
// another interface.
func (f *family) untagged() part {
	return part{text: fmt.Sprintf("@ll,96,16 %#x", f.etherType()), exprs: []expr.Any{
		&expr.Payload{Base: expr.PayloadBaseLLHeader, Offset: 12, Len: 2, DestRegister: reg1},
		&expr.Cmp{Register: reg1, Data: f.etherType()},
	}}
}

// plainHeader matches IP headers without options. Of IPv6, wholeTCP asks that.
func (f *family) plainHeader() part {
	if f == v6 {
		return part{}
	}
	return part{text: "@nh,0,8 0x45", exprs: []expr.Any{
		&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: 0, Len: 1, DestRegister: reg1},
		&expr.Cmp{Register: reg1, Data: []byte{0x45}},
	}}
}

// goesFurther matches what a router does not drop for its hops.
func (f *family) goesFurther() part {
	hops := uint32(8) // in the header (RFC 791, 3.1)
	if f == v6 {
		hops = 7 // RFC 8200, 3
	}
	return part{text: fmt.Sprintf("@nh,%d,8 > 1", 8*hops), exprs: []expr.Any{
		&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: hops, Len: 1, DestRegister: reg1},
		&expr.Cmp{Op: expr.CmpOpGt, Register: reg1, Data: []byte{1}},
	}}
}

// forUs matches frames that are addressed to the interface (PACKET_HOST of
// linux/if_packet.h).
func forUs() part { return metaIs(expr.MetaKeyPKTTYPE, "meta pkttype host", unix.PACKET_HOST) }

// arrivals gives the interfaces of the plan by which packets may take the shortcut:
// those of Ethernet that are there, are no part of another one, and do not look where a
// packet's source address is (strict reverse path filtering).
func (p *Plan) arrivals(h *netlink.Handle) (all []arrival) {
	for _, n := range []struct {
		names []string
		side  Side
	}{{p.LAN.Interfaces, LAN}, {p.WAN.Interfaces, WAN}} {
		for _, name := range n.names {
			link, err := h.LinkByName(name)
			if err != nil {
				continue // it may come
			}
			if a := link.Attrs(); a.EncapType == "ether" && a.MasterIndex == 0 && !filtersStrictly(name) {
				all = append(all, arrival{name, a.Index, n.side})
			}
		}
	}
	return all
}
