package netcfg

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// key is where a packet holds its client's address and port and its server's.
type key struct {
	text  string
	exprs []expr.Any // load it into key0 and on
}

// tuple is the key of a packet from the client.
func (f *family) tuple() key {
	return key{
		text:  fmt.Sprintf("%s saddr . tcp sport . %[1]s daddr . tcp dport", f.ip),
		exprs: f.loads(expr.PayloadBaseNetworkHeader, f.src, 0, f.dst, 2),
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
		text:  fmt.Sprintf("%s daddr . tcp dport . %[1]s saddr . tcp sport", f.ip),
		exprs: f.loads(expr.PayloadBaseNetworkHeader, f.dst, 2, f.src, 0),
	}
}

// quoted is the key of an ICMP error that quotes a packet to the client.
func (f *family) quoted() key { return f.quote(f.dst, 2, f.src, 0) }

// quotedTuple is the key of an ICMP error that quotes a packet from the client.
func (f *family) quotedTuple() key { return f.quote(f.src, 0, f.dst, 2) }

// quote is the key of an ICMP error by the packet that it quotes, in whose headers the
// client's address and port and the server's are at these offsets.
func (f *family) quote(client, clientPort, server, serverPort uint32) key {
	ip := uint32(icmpLen)
	l4 := ip + 20
	if f == v6 {
		l4 = ip + 40
	}
	client, clientPort, server, serverPort = ip+client, l4+clientPort, ip+server, l4+serverPort
	place := func(offset, n uint32) string { return fmt.Sprintf("@th,%d,%d", offset*8, n*8) }
	return key{
		text:  strings.Join([]string{place(client, f.addrLen), place(clientPort, 2), place(server, f.addrLen), place(serverPort, 2)}, " . "),
		exprs: f.loads(expr.PayloadBaseTransportHeader, client, clientPort, server, serverPort),
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

// loads loads the client's address and port and the server's, each from its offset:
// addresses behind base, ports in the header of TCP or what quotes it.
func (f *family) loads(base expr.PayloadBase, client, clientPort, server, serverPort uint32) []expr.Any {
	load := func(base expr.PayloadBase, offset, n uint32, i int) expr.Any {
		return &expr.Payload{Base: base, Offset: offset, Len: n, DestRegister: f.register(i)}
	}
	const l4 = expr.PayloadBaseTransportHeader
	return []expr.Any{load(base, client, f.addrLen, 0), load(l4, clientPort, 2, 1), load(base, server, f.addrLen, 2), load(l4, serverPort, 2, 3)}
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
