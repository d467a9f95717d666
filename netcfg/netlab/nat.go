package netlab

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Masquerade gives connections that leave by dev the address of that device, as
// a home router does.
func (n *Namespace) Masquerade(dev string) error {
	err := n.nat(nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource,
		ifName(expr.MetaKeyOIFNAME, dev), []expr.Any{&expr.Masq{}})
	if err != nil {
		return fmt.Errorf("netlab: masquerade on %s in %s: %w", dev, n.Name, err)
	}
	return nil
}

// PortForward sends TCP connections that arrive for a port, by whatever device if
// dev is empty, on to another address and port.
func (n *Namespace) PortForward(dev string, port uint16, to netip.AddrPort) error {
	family, l3 := uint32(unix.NFPROTO_IPV4), byte(unix.NFPROTO_IPV4)
	if to.Addr().Is6() {
		family, l3 = unix.NFPROTO_IPV6, unix.NFPROTO_IPV6
	}
	var match []expr.Any
	if dev != "" {
		match = ifName(expr.MetaKeyIIFNAME, dev)
	}
	match = append(match,
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Register: 1, Data: []byte{l3}},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2, DestRegister: 1},
		&expr.Cmp{Register: 1, Data: binary.BigEndian.AppendUint16(nil, port)})
	act := []expr.Any{
		&expr.Immediate{Register: 1, Data: to.Addr().AsSlice()},
		&expr.Immediate{Register: 2, Data: binary.BigEndian.AppendUint16(nil, to.Port())},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: family, RegAddrMin: 1, RegProtoMin: 2, Specified: true},
	}
	if err := n.nat(nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest, match, act); err != nil {
		return fmt.Errorf("netlab: forward port %d of %q in %s to %s: %w", port, dev, n.Name, to, err)
	}
	return nil
}

// nat appends a rule to the table netlab of the namespace.
func (n *Namespace) nat(hook *nftables.ChainHook, prio *nftables.ChainPriority, match, act []expr.Any) error {
	return n.Do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		t := c.AddTable(&nftables.Table{Name: "netlab", Family: nftables.TableFamilyINet})
		ch := c.AddChain(&nftables.Chain{
			Name: fmt.Sprintf("nat%d", *hook), Table: t,
			Type: nftables.ChainTypeNAT, Hooknum: hook, Priority: prio,
		})
		c.AddRule(&nftables.Rule{Table: t, Chain: ch, Exprs: append(match, act...)})
		return c.Flush()
	})
}

func ifName(key expr.MetaKey, dev string) []expr.Any {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, dev)
	return []expr.Any{
		&expr.Meta{Key: key, Register: 1},
		&expr.Cmp{Register: 1, Data: name},
	}
}
