package netlab

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// LocalMark makes IPv4 packets with a mark the namespace's own, whatever their
// destination, as TPROXY needs it. The mark is also the number of a routing table.
// Twice does no harm.
func (n *Namespace) LocalMark(mark uint32) error {
	lo, err := n.links.LinkByName("lo")
	if err == nil {
		err = n.links.RouteReplace(&netlink.Route{
			Table: int(mark), Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST, LinkIndex: lo.Attrs().Index,
			Dst: everything(),
		})
	}
	if err == nil {
		r := netlink.NewRule()
		r.Mark = mark
		err = n.rule(r, int(mark))
	}
	if err != nil {
		return fmt.Errorf("netlab: packets with mark %d to %s itself: %w", mark, n.Name, err)
	}
	return nil
}

// Divert sends IPv4 packets that come in by one device out by another, which is
// set up without ARP, whatever their destination. The table is one that nobody
// else uses. It may be done again when the other device was replaced.
func (n *Namespace) Divert(from, to string, table int) error {
	link, err := n.links.LinkByName(to)
	if err == nil {
		err = errors.Join(n.links.LinkSetARPOff(link), n.links.LinkSetUp(link))
	}
	if err == nil {
		err = n.links.RouteReplace(&netlink.Route{
			Table: table, Scope: netlink.SCOPE_LINK, LinkIndex: link.Attrs().Index, Dst: everything(),
		})
	}
	if err == nil {
		r := netlink.NewRule()
		r.IifName = from
		err = n.rule(r, table)
	}
	if err != nil {
		return fmt.Errorf("netlab: packets from %s to %s in %s: %w", from, to, n.Name, err)
	}
	return nil
}

// rule adds an IPv4 rule that leads to a routing table, if it is not there.
func (n *Namespace) rule(r *netlink.Rule, table int) error {
	r.Table, r.Family = table, netlink.FAMILY_V4
	if err := n.links.RuleAdd(r); !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}

// everything is the destination of a default route.
func everything() *net.IPNet { return &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)} }
