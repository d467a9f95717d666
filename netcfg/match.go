package netcfg

import (
	"encoding/binary"
	"fmt"
	"strings"

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

// iifIndex and oifIndex match a device that exists already: a number is compared
// faster than a name, and no other device will have it.
func iifIndex(dev string, index int) part {
	return metaIs(expr.MetaKeyIIF, fmt.Sprintf("iif %q", dev), native32(uint32(index))...)
}

func oifIndex(dev string, index int) part {
	return metaIs(expr.MetaKeyOIF, fmt.Sprintf("oif %q", dev), native32(uint32(index))...)
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

// wholeTCP matches TCP that is no fragment and has its header right behind that of
// IP, by one comparison: nearly all packets.
func (f *family) wholeTCP() part {
	if f == v4 {
		// Flags and fragment offset, time to live, protocol (RFC 791, 3.1).
		return part{text: "@nh,48,32 & 0x3fff00ff == 0x00000006", exprs: []expr.Any{
			&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: 6, Len: 4, DestRegister: reg1},
			&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 4, Mask: []byte{0x3f, 0xff, 0, 0xff}, Xor: make([]byte, 4)},
			&expr.Cmp{Register: reg1, Data: []byte{0, 0, 0, unix.IPPROTO_TCP}},
		}}
	}
	return part{text: "@nh,48,8 0x06", exprs: []expr.Any{
		&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: 6, Len: 1, DestRegister: reg1},
		&expr.Cmp{Register: reg1, Data: []byte{unix.IPPROTO_TCP}},
	}}
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

// leadsTo matches when the route of the packet, its mark considered, is by a
// device.
func leadsTo(dev string, index int) part {
	return part{text: fmt.Sprintf("fib daddr . mark oif %q", dev), exprs: []expr.Any{
		&expr.Fib{Register: reg1, FlagDADDR: true, FlagMARK: true, ResultOIF: true},
		&expr.Cmp{Register: reg1, Data: native32(uint32(index))},
	}}
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
