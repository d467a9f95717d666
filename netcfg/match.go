package netcfg

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The registers of nft rules: single values use reg1; keys of several parts
// start at key0, 4 bytes each, which is the same room; regLast is behind the
// longest of them.
const (
	reg1    = unix.NFT_REG_1
	key0    = unix.NFT_REG32_00
	regLast = unix.NFT_REG32_15
)

// family is one IP version, as rules see it.
type family struct {
	number    byte   // 4 or 6
	nfproto   byte   // of the kernel
	name      string // "ipv4", "ipv6": of meta nfproto
	ip        string // "ip", "ip6": of header fields
	icmp      byte   // protocol number of its ICMP
	icmpName  string
	addrLen   uint32 // bytes
	src, dst  uint32 // offsets of the addresses in the header
	addr      nftables.SetDatatype
	key       nftables.SetDatatype // client address . port . server address . port
	ctSrc     expr.CtKey
	ctDst     expr.CtKey
	errors    []byte // types of ICMP errors
	errorType nftables.SetDatatype
}

var (
	v4 = &family{
		number: 4, nfproto: unix.NFPROTO_IPV4, name: "ipv4", ip: "ip",
		icmp: unix.IPPROTO_ICMP, icmpName: "icmp", addrLen: 4, src: 12, dst: 16,
		addr:  nftables.TypeIPAddr,
		key:   nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetService, nftables.TypeIPAddr, nftables.TypeInetService),
		ctSrc: expr.CtKeySRCIP, ctDst: expr.CtKeyDSTIP,
		// RFC 792: destination unreachable, time exceeded, parameter problem.
		errors: []byte{3, 11, 12}, errorType: nftables.TypeICMPType,
	}
	v6 = &family{
		number: 6, nfproto: unix.NFPROTO_IPV6, name: "ipv6", ip: "ip6",
		icmp: unix.IPPROTO_ICMPV6, icmpName: "ipv6-icmp", addrLen: 16, src: 8, dst: 24,
		addr:  nftables.TypeIP6Addr,
		key:   nftables.MustConcatSetType(nftables.TypeIP6Addr, nftables.TypeInetService, nftables.TypeIP6Addr, nftables.TypeInetService),
		ctSrc: expr.CtKeySRCIP6, ctDst: expr.CtKeyDSTIP6,
		// RFC 4443, 2.1: unreachable, too big, time exceeded, parameter problem.
		errors: []byte{1, 2, 3, 4}, errorType: nftables.TypeICMP6Type,
	}
	families = []*family{v4, v6}
)

// Conditions.

func metaIs(key expr.MetaKey, text string, value ...byte) part {
	return part{text: text, exprs: []expr.Any{
		&expr.Meta{Key: key, Register: reg1},
		&expr.Cmp{Register: reg1, Data: value},
	}}
}

func iif(dev string) part {
	return metaIs(expr.MetaKeyIIFNAME, fmt.Sprintf("iifname %q", dev), nameBytes(dev)...)
}

func oif(dev string) part {
	return metaIs(expr.MetaKeyOIFNAME, fmt.Sprintf("oifname %q", dev), nameBytes(dev)...)
}

func notOif(dev string) part {
	p := oif(dev)
	p.text = fmt.Sprintf("oifname != %q", dev)
	p.exprs[1].(*expr.Cmp).Op = expr.CmpOpNeq
	return p
}

// nameBytes gives an interface name as the kernel compares it: with its zeros.
func nameBytes(dev string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, dev)
	return b
}

func (f *family) is() part {
	return metaIs(expr.MetaKeyNFPROTO, "meta nfproto "+f.name, f.nfproto)
}

// silent is a condition that nft implies, and prints, with the next one.
func silent(p part) part {
	p.text = ""
	return p
}

func l4(name string, proto byte) part {
	return metaIs(expr.MetaKeyL4PROTO, "meta l4proto "+name, proto)
}

func tcp() part { return l4("tcp", unix.IPPROTO_TCP) }

func notTCP() part {
	p := tcp()
	p.text = "meta l4proto != tcp"
	p.exprs[1].(*expr.Cmp).Op = expr.CmpOpNeq
	return p
}

// tcpFlags matches segments whose bits under a mask are as wanted.
func tcpFlags(text string, mask, want byte) part {
	return part{text: text, exprs: []expr.Any{
		&expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1, DestRegister: reg1},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 1, Mask: []byte{mask}, Xor: []byte{0}},
		&expr.Cmp{Register: reg1, Data: []byte{want}},
	}}
}

// Bits of the TCP header (RFC 9293, 3.1).
const (
	fin, syn, rst, ack = 0x01, 0x02, 0x04, 0x10
)

// opens matches the first segment of a connection, ECN setup included.
func opens() part {
	return tcpFlags("tcp flags & (fin | syn | rst | ack) == syn", fin|syn|rst|ack, syn)
}

// acknowledges matches a segment of an open connection that is no reset.
func acknowledges() part {
	return tcpFlags("tcp flags & (syn | rst | ack) == ack", syn|rst|ack, ack)
}

// tcpOption matches segments that carry an option.
func tcpOption(name string, kind uint8) part {
	return part{text: "tcp option " + name + " exists", exprs: []expr.Any{
		&expr.Exthdr{Op: expr.ExthdrOpTcpopt, Type: kind, Len: 1, Flags: 1, DestRegister: reg1},
		&expr.Cmp{Register: reg1, Data: []byte{1}},
	}}
}

// unsigned matches segments without the options that sign them (RFC 2385 and RFC
// 5925): what is signed may not be touched.
func unsigned() (parts []part) {
	for _, o := range []struct {
		name string
		kind uint8
	}{{"md5sig", 19}, {"29", 29}} {
		parts = append(parts, part{text: "tcp option " + o.name + " missing", exprs: []expr.Any{
			&expr.Exthdr{Op: expr.ExthdrOpTcpopt, Type: o.kind, Len: 1, Flags: 1, DestRegister: regLast},
			&expr.Cmp{Register: regLast, Data: []byte{0}},
		}})
	}
	return parts
}

// fragment matches a fragment before reassembly.
func (f *family) fragment() part {
	if f == v4 {
		return part{text: "ip frag-off & 0x3fff != 0", exprs: []expr.Any{
			&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: 6, Len: 2, DestRegister: reg1},
			&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 2, Mask: []byte{0x3f, 0xff}, Xor: []byte{0, 0}},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: reg1, Data: []byte{0, 0}},
		}}
	}
	return part{text: "exthdr frag exists", exprs: []expr.Any{
		&expr.Exthdr{Op: expr.ExthdrOpIpv6, Type: unix.IPPROTO_FRAGMENT, Len: 1, Flags: 1, DestRegister: reg1},
		&expr.Cmp{Register: reg1, Data: []byte{1}},
	}}
}

// isError matches the ICMP errors.
func (f *family) isError() part {
	p := part{exprs: []expr.Any{&expr.Payload{Base: expr.PayloadBaseTransportHeader, Len: 1, DestRegister: reg1}}}
	var words []string
	p.anon = &anonymousSet{key: f.errorType}
	for _, t := range f.errors {
		words = append(words, fmt.Sprint(t))
		p.anon.elements = append(p.anon.elements, nftables.SetElement{Key: []byte{t}})
	}
	name := "icmp"
	if f == v6 {
		name = "icmpv6"
	}
	p.text = fmt.Sprintf("%s type { %s }", name, strings.Join(words, ", "))
	return p
}

// raw matches bytes behind the start of the ICMP header.
func raw(offset uint32, want ...byte) part {
	text := fmt.Sprintf("@th,%d,%d %#x", offset*8, len(want)*8, want)
	return part{text: text, exprs: []expr.Any{
		&expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: uint32(len(want)), DestRegister: reg1},
		&expr.Cmp{Register: reg1, Data: want},
	}}
}

// quotesTCP matches an ICMP error that quotes a TCP packet whose IP header has
// no options.
func (f *family) quotesTCP() []part {
	if f == v4 {
		return []part{raw(icmpLen, 0x45), raw(icmpLen+9, unix.IPPROTO_TCP)}
	}
	return []part{raw(icmpLen+6, unix.IPPROTO_TCP)}
}

// icmpLen is the bytes of an ICMP error before the packet it quotes.
const icmpLen = 8

// related matches ICMP errors about a tracked TCP connection.
func related() part {
	return part{text: "ct state related ct original protocol tcp", exprs: []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: reg1},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 4, Mask: native32(expr.CtStateBitRELATED), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg1, Data: make([]byte, 4)},
		&expr.Ct{Key: expr.CtKeyPROTOCOL, OptDirection: true, Register: reg1},
		&expr.Cmp{Register: reg1, Data: []byte{unix.IPPROTO_TCP}},
	}}
}

// invalid matches packets that conntrack takes for part of no connection, and
// NAT therefore leaves as they are.
func invalid() part {
	return part{text: "ct state invalid", exprs: []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: reg1},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 4, Mask: native32(expr.CtStateBitINVALID), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg1, Data: make([]byte, 4)},
	}}
}

// reply matches packets against the direction of the connection's SYN.
func reply() part {
	return part{text: "ct direction reply", exprs: []expr.Any{
		&expr.Ct{Key: expr.CtKeyDIRECTION, Register: reg1},
		&expr.Cmp{Register: reg1, Data: []byte{expr.CtDirReply}},
	}}
}

// alive matches while the heartbeat lasts.
func alive() part {
	return part{text: "meta nfproto @alive", exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: reg1},
		&expr.Lookup{SourceRegister: reg1, SetName: "alive"},
	}}
}

// leadsTo matches when the route of the packet, its mark considered, is by a
// device.
func leadsTo(dev string) part {
	return part{text: fmt.Sprintf("fib daddr . mark oifname %q", dev), exprs: []expr.Any{
		&expr.Fib{Register: reg1, FlagDADDR: true, FlagMARK: true, ResultOIFNAME: true},
		&expr.Cmp{Register: reg1, Data: nameBytes(dev)},
	}}
}

// Keys of flows: where a packet holds its client's address and port and its
// server's.

type key struct {
	text  string
	exprs []expr.Any // load it into key0 and on
}

// tuple is the key of a packet from the client.
func (f *family) tuple() key {
	return key{
		text: fmt.Sprintf("%s saddr . tcp sport . %[1]s daddr . tcp dport", f.ip),
		exprs: []expr.Any{
			f.load(expr.PayloadBaseNetworkHeader, f.src, f.addrLen, 0),
			f.load(expr.PayloadBaseTransportHeader, 0, 2, 1),
			f.load(expr.PayloadBaseNetworkHeader, f.dst, f.addrLen, 2),
			f.load(expr.PayloadBaseTransportHeader, 2, 2, 3),
		},
	}
}

// farewell is the key of a packet that ends the steering of a flow.
func (f *family) farewell() key {
	k := f.tuple()
	k.text = fmt.Sprintf("%s saddr . udplite sport . %[1]s daddr . udplite dport", f.ip)
	return k
}

// reversed is the key of a packet towards the client whose addresses nobody has
// changed.
func (f *family) reversed() key {
	return key{
		text: fmt.Sprintf("%s daddr . tcp dport . %[1]s saddr . tcp sport", f.ip),
		exprs: []expr.Any{
			f.load(expr.PayloadBaseNetworkHeader, f.dst, f.addrLen, 0),
			f.load(expr.PayloadBaseTransportHeader, 2, 2, 1),
			f.load(expr.PayloadBaseNetworkHeader, f.src, f.addrLen, 2),
			f.load(expr.PayloadBaseTransportHeader, 0, 2, 3),
		},
	}
}

// quoted is the key of an ICMP error that quotes a packet to the client.
func (f *family) quoted() key {
	ip := uint32(icmpLen)
	l4 := ip + 20
	if f == v6 {
		l4 = ip + 40
	}
	place := func(offset, n uint32) string { return fmt.Sprintf("@th,%d,%d", offset*8, n*8) }
	return key{
		text: strings.Join([]string{place(ip+f.dst, f.addrLen), place(l4+2, 2), place(ip+f.src, f.addrLen), place(l4, 2)}, " . "),
		exprs: []expr.Any{
			f.load(expr.PayloadBaseTransportHeader, ip+f.dst, f.addrLen, 0),
			f.load(expr.PayloadBaseTransportHeader, l4+2, 2, 1),
			f.load(expr.PayloadBaseTransportHeader, ip+f.src, f.addrLen, 2),
			f.load(expr.PayloadBaseTransportHeader, l4, 2, 3),
		},
	}
}

// original is the key of a tracked packet of either direction: the addresses and
// ports of the connection's SYN as the client sent it, whatever NAT does.
func (f *family) original() key {
	load := func(k expr.CtKey, i int) expr.Any {
		return &expr.Ct{Key: k, Direction: expr.CtDirOriginal, Register: f.register(i)}
	}
	return key{
		text: fmt.Sprintf("ct original %s saddr . ct original proto-src . ct original %[1]s daddr . ct original proto-dst", f.ip),
		exprs: []expr.Any{
			load(f.ctSrc, 0), load(expr.CtKeyPROTOSRC, 1), load(f.ctDst, 2), load(expr.CtKeyPROTODST, 3),
		},
	}
}

func (f *family) load(base expr.PayloadBase, offset, n uint32, i int) expr.Any {
	return &expr.Payload{Base: base, Offset: offset, Len: n, DestRegister: f.register(i)}
}

// register gives the first register of part i of a key: address, port, address,
// port.
func (f *family) register(i int) uint32 {
	words := f.addrLen / 4
	return key0 + [...]uint32{0, words, words + 1, 2*words + 1}[i]
}

// in matches when the key is in a set of flows.
func (k key) in(set string) part {
	return part{text: k.text + " @" + set, exprs: append(slices.Clone(k.exprs),
		&expr.Lookup{SourceRegister: key0, SetName: set})}
}

// Prefixes and ports.

// addresses matches packets whose source or destination is in one of some
// prefixes of the family, or in none of them.
func (f *family) addresses(field string, prefixes []netip.Prefix, invert bool) part {
	offset := f.src
	if field == "daddr" {
		offset = f.dst
	}
	var all []interval
	for _, p := range prefixes {
		if p.Addr().Is4() == (f == v4) {
			all = append(all, prefixInterval(p))
		}
	}
	text, elements := f.elements(merge(all))
	op := ""
	if invert {
		op = "!= "
	}
	return part{
		text:  fmt.Sprintf("%s %s %s{ %s }", f.ip, field, op, text),
		exprs: []expr.Any{&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: f.addrLen, DestRegister: reg1}},
		anon:  &anonymousSet{key: f.addr, interval: true, elements: elements, invert: invert},
	}
}

// interval is first to last, both included.
type interval struct{ first, last netip.Addr }

func prefixInterval(p netip.Prefix) interval {
	p = p.Masked()
	last := p.Addr().AsSlice()
	for i := p.Bits(); i < len(last)*8; i++ {
		last[i/8] |= 0x80 >> (i % 8)
	}
	end, _ := netip.AddrFromSlice(last)
	return interval{p.Addr(), end}
}

// merge sorts intervals and joins those that overlap or touch: the kernel wants
// them disjoint.
func merge(all []interval) []interval {
	slices.SortFunc(all, func(a, b interval) int { return a.first.Compare(b.first) })
	var out []interval
	for _, v := range all {
		if n := len(out); n > 0 {
			if after := out[n-1].last.Next(); !after.IsValid() || v.first.Compare(after) <= 0 {
				if out[n-1].last.Compare(v.last) < 0 {
					out[n-1].last = v.last
				}
				continue
			}
		}
		out = append(out, v)
	}
	return out
}

// elements gives intervals as text and as the kernel takes them: each start, and
// the first address after it unless there is none.
func (f *family) elements(all []interval) (string, []nftables.SetElement) {
	var words []string
	var elements []nftables.SetElement
	for _, v := range all {
		words = append(words, fmt.Sprintf("%s-%s", v.first, v.last))
		elements = append(elements, nftables.SetElement{Key: v.first.AsSlice()})
		if after := v.last.Next(); after.IsValid() {
			elements = append(elements, nftables.SetElement{Key: after.AsSlice(), IntervalEnd: true})
		}
	}
	return strings.Join(words, ", "), elements
}

// toPorts matches the destination port.
func toPorts(ranges []PortRange) part {
	ranges = slices.Clone(ranges)
	slices.SortFunc(ranges, func(a, b PortRange) int { return int(a.First) - int(b.First) })
	var merged []PortRange
	for _, r := range ranges {
		if n := len(merged); n > 0 && int(r.First) <= int(merged[n-1].Last)+1 {
			merged[n-1].Last = max(merged[n-1].Last, r.Last)
			continue
		}
		merged = append(merged, r)
	}
	var words []string
	set := &anonymousSet{key: nftables.TypeInetService, interval: true}
	for _, r := range merged {
		words = append(words, fmt.Sprintf("%d-%d", r.First, r.Last))
		set.elements = append(set.elements, nftables.SetElement{Key: binary.BigEndian.AppendUint16(nil, r.First)})
		if r.Last != 0xffff {
			set.elements = append(set.elements, nftables.SetElement{Key: binary.BigEndian.AppendUint16(nil, r.Last+1), IntervalEnd: true})
		}
	}
	return part{
		text:  fmt.Sprintf("tcp dport { %s }", strings.Join(words, ", ")),
		exprs: []expr.Any{&expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2, DestRegister: reg1}},
		anon:  set,
	}
}

// dscp matches the differentiated services field (RFC 2474, 3).
func (f *family) dscp(value uint8) part {
	offset, mask, want := uint32(1), []byte{0xfc}, []byte{value << 2}
	if f == v6 {
		offset, mask, want = 0, []byte{0x0f, 0xc0}, []byte{value >> 2, value << 6}
	}
	n := uint32(len(mask))
	return part{text: fmt.Sprintf("%s dscp %d", f.ip, value), exprs: []expr.Any{
		&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: n, DestRegister: reg1},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: n, Mask: mask, Xor: make([]byte, n)},
		&expr.Cmp{Register: reg1, Data: want},
	}}
}

// Actions.

// update puts the key into a set, or gives its element its whole time again. It
// ends the rule when the set is full.
func (k key) update(set string, timeout time.Duration) part {
	p := k.updateLoaded(set, timeout)
	p.exprs = append(slices.Clone(k.exprs), p.exprs...)
	return p
}

// updateLoaded is update in a rule that has looked the key up already.
func (k key) updateLoaded(set string, timeout time.Duration) part {
	return part{
		text: fmt.Sprintf("update @%s { %s timeout %s }", set, k.text, timeText(timeout)),
		exprs: []expr.Any{
			&expr.Dynset{SrcRegKey: key0, SetName: set, Operation: unix.NFT_DYNSET_OP_UPDATE, Timeout: timeout},
		},
	}
}

// removeLoaded takes the key, which the rule has loaded already, out of a set.
func (k key) removeLoaded(set string) part {
	return part{
		text:  fmt.Sprintf("delete @%s { %s }", set, k.text),
		exprs: []expr.Any{&expr.Dynset{SrcRegKey: key0, SetName: set, Operation: dynsetDelete}},
	}
}

// remove takes the key out of a set.
func (k key) remove(set string) part {
	p := k.removeLoaded(set)
	p.exprs = append(slices.Clone(k.exprs), p.exprs...)
	return p
}

// dynsetDelete is NFT_DYNSET_OP_DELETE (linux/netfilter/nf_tables.h).
const dynsetDelete = 2

// beat refreshes the family of the packet in the set alive.
func beat(timeout time.Duration) part {
	return part{
		text: fmt.Sprintf("update @alive { meta nfproto timeout %s }", timeText(timeout)),
		exprs: []expr.Any{
			&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: reg1},
			&expr.Dynset{SrcRegKey: reg1, SetName: "alive", Operation: unix.NFT_DYNSET_OP_UPDATE, Timeout: timeout},
		},
	}
}

// setMark writes a value to the bits of the packet mark under our mask and
// leaves the others alone.
func (n *Names) setMark(value uint32) part {
	text := fmt.Sprintf("meta mark set meta mark & %#08x", ^n.MarkMask)
	if value != 0 {
		text += fmt.Sprintf(" | %#08x", value)
	}
	return part{text: text, exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: reg1},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 4, Mask: native32(^n.MarkMask), Xor: native32(value)},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: reg1},
	}}
}

// hasMark matches a value under our mask.
func (n *Names) hasMark(value uint32) part {
	return part{text: fmt.Sprintf("meta mark & %#08x == %#08x", n.MarkMask, value), exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: reg1},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 4, Mask: native32(n.MarkMask), Xor: make([]byte, 4)},
		&expr.Cmp{Register: reg1, Data: native32(value)},
	}}
}

// hasMarkOf matches the marks of packets for a leg's tap, which follow each other.
func (n *Names) hasMarkOf(r role) part {
	first, last := n.mark(r, Unknown), n.mark(r, sides-1)
	big := func(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }
	return part{text: fmt.Sprintf("meta mark & %#08x %#08x-%#08x", n.MarkMask, first, last), exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: reg1},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 4, Mask: native32(n.MarkMask), Xor: make([]byte, 4)},
		&expr.Byteorder{SourceRegister: reg1, DestRegister: reg1, Op: expr.ByteorderHton, Len: 4, Size: 4},
		&expr.Range{Op: expr.CmpOpEq, Register: reg1, FromData: big(first), ToData: big(last)},
	}}
}

func native32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

func notrack() part { return part{text: "notrack", exprs: []expr.Any{&expr.Notrack{}}} }
func accept() part {
	return part{text: "accept", exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}}
}
func drop() part {
	return part{text: "drop", exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}}
}

func goTo(chain string) part {
	return part{text: "goto " + chain, exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}}}
}
