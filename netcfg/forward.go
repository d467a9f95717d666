package netcfg

import (
	"encoding/binary"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// forward adds the one rule of a chain that hands every packet to a device. The
// library for nft tables does not know the expression fwd, so it is a transaction of its
// own, and on the same socket, since that may own the table.
func (t *nftTable) forward(c *chain) error {
	family := byte(t.table.Family)
	load, err := expr.Marshal(family, &expr.Immediate{Register: reg1, Data: native32(uint32(c.to.index))})
	if err != nil {
		return err
	}
	e := netlink.NewAttributeEncoder()
	e.ByteOrder = binary.BigEndian
	e.String(unix.NFTA_RULE_TABLE, t.table.Name)
	e.String(unix.NFTA_RULE_CHAIN, c.name)
	e.Nested(unix.NFTA_RULE_EXPRESSIONS, func(e *netlink.AttributeEncoder) error {
		e.Bytes(unix.NLA_F_NESTED|unix.NFTA_LIST_ELEM, load)
		e.Nested(unix.NFTA_LIST_ELEM, func(e *netlink.AttributeEncoder) error {
			e.String(unix.NFTA_EXPR_NAME, "fwd")
			e.Nested(unix.NFTA_EXPR_DATA, func(e *netlink.AttributeEncoder) error {
				e.Uint32(unix.NFTA_FWD_SREG_DEV, reg1)
				return nil
			})
			return nil
		})
		return nil
	})
	rule, err := e.Encode()
	if err != nil {
		return err
	}
	const subsystem = unix.NFNL_SUBSYS_NFTABLES
	batch := func(kind netlink.HeaderType) netlink.Message {
		// struct nfgenmsg: family, version, resource.
		return netlink.Message{Header: netlink.Header{Type: kind, Flags: netlink.Request}, Data: []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, subsystem}}
	}
	_, err = t.socket.SendMessages([]netlink.Message{
		batch(unix.NFNL_MSG_BATCH_BEGIN),
		{
			Header: netlink.Header{
				Type:  subsystem<<8 | unix.NFT_MSG_NEWRULE,
				Flags: netlink.Request | netlink.Create | netlink.Append | netlink.Acknowledge,
			},
			Data: append([]byte{family, unix.NFNETLINK_V0, 0, 0}, rule...),
		},
		batch(unix.NFNL_MSG_BATCH_END),
	})
	if err == nil {
		_, err = t.socket.Receive()
	}
	if err != nil {
		return fmt.Errorf("rule fwd to %s: %w", c.to.name, err)
	}
	return nil
}

// keepSocket has the connection remember its socket, for forward.
func (t *nftTable) keepSocket() nftables.ConnOption {
	return nftables.WithSockOptions(func(c *netlink.Conn) error {
		t.socket = c
		return nil
	})
}
