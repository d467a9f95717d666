package netcfg

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// blackholeMetric puts the blackhole behind the route to the tap.
const blackholeMetric = 1 << 20

// apply brings a tap that exists to its state and sets it up.
func (t *tapState) apply(h *netlink.Handle) error {
	link, err := h.LinkByName(t.name)
	if err != nil {
		return fmt.Errorf("netcfg: tap %s: %w", t.name, err)
	}
	for _, s := range t.settings {
		// Not every kernel has every key; what it has not it does not do.
		if err := s.write(); err != nil && readSetting(s.key) != "" {
			return err
		}
	}
	if err := t.unqueued(h, link); err != nil {
		return err
	}
	if err := h.LinkSetARPOff(link); err != nil {
		return fmt.Errorf("netcfg: tap %s: arp off: %w", t.name, err)
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("netcfg: tap %s: up: %w", t.name, err)
	}
	addr := &netlink.Addr{IPNet: ipNet(t.address), Scope: unix.RT_SCOPE_LINK}
	if err := h.AddrReplace(link, addr); err != nil {
		return fmt.Errorf("netcfg: tap %s: address %s: %w", t.name, t.address, err)
	}
	for _, r := range t.routes {
		if err := r.apply(h, link.Attrs().Index); err != nil {
			return err
		}
	}
	return nil
}

// unqueued takes the queueing discipline away: a tap never holds up its sender, so
// frames would pass through it only to wait, or be dropped, in the tap's own ring.
func (t *tapState) unqueued(h *netlink.Handle, link netlink.Link) error {
	err := h.QdiscReplace(&netlink.GenericQdisc{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Parent: netlink.HANDLE_ROOT},
		QdiscType:  "noqueue",
	})
	// A kernel without disciplines has none that could be in the way.
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("netcfg: tap %s: queueing discipline noqueue: %w", t.name, err)
	}
	return nil
}

// apply makes the neighbour and the route to it.
func (r *route) apply(h *netlink.Handle, index int) error {
	mac := NeighbourMAC(r.side)
	err := h.NeighSet(&netlink.Neigh{
		LinkIndex: index, Family: r.family.af(), State: netlink.NUD_PERMANENT,
		IP: r.via.AsSlice(), HardwareAddr: net.HardwareAddr(mac[:]),
	})
	if err != nil {
		return fmt.Errorf("netcfg: neighbour %s on %s: %w", r.via, r.dev, err)
	}
	err = h.RouteReplace(&netlink.Route{
		Family: r.family.af(), LinkIndex: index, Table: r.table, Protocol: routeProtocol,
		Dst: ipNet(r.family.everything()), Gw: r.via.AsSlice(), Flags: int(netlink.FLAG_ONLINK),
	})
	if err == nil && r.blackhole {
		err = h.RouteReplace(&netlink.Route{
			Family: r.family.af(), Table: r.table, Protocol: routeProtocol, Type: unix.RTN_BLACKHOLE,
			Dst: ipNet(r.family.everything()), Priority: blackholeMetric,
		})
	}
	if err != nil {
		return fmt.Errorf("netcfg: route by %s in table %d: %w%s", r.dev, r.table, err, tablesHint(err))
	}
	return nil
}

// tablesHint names the kernel option without which there is no second table.
func tablesHint(err error) string {
	if err == unix.EOPNOTSUPP || err == unix.EINVAL {
		return "; the kernel needs CONFIG_IP_MULTIPLE_TABLES and CONFIG_IPV6_MULTIPLE_TABLES"
	}
	return ""
}

// everything is the prefix of all addresses.
func (f *family) everything() netip.Prefix {
	if f == v4 {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

// apply adds or deletes the rule.
func (r *ipRule) apply(h *netlink.Handle) error {
	x := netlink.NewRule()
	x.Family, x.Priority, x.Table = r.family.af(), r.preference, r.table
	x.Protocol = routeProtocol
	if r.kernel {
		x.Protocol = unix.RTPROT_KERNEL
	}
	if r.mask != 0 {
		x.Mark, x.Mask = r.mark, &r.mask
	}
	if r.next != 0 {
		x.Goto = r.next
	}
	do := h.RuleAdd
	if r.delete {
		// Who made a rule does not matter to find it, and older kernels
		// did not say so.
		x.Protocol = 0
		do = h.RuleDel
	}
	if err := do(x); err != nil {
		return fmt.Errorf("netcfg: %s: %w%s", r, err, tablesHint(err))
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// needPrivileges says early and plainly what would otherwise fail in the middle.
func needPrivileges() error {
	if !capable(unix.CAP_NET_ADMIN) {
		return fmt.Errorf("netcfg: no CAP_NET_ADMIN (uid %d): run as root, or give the capability (AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW in a unit)", os.Geteuid())
	}
	return nil
}

// capable says whether the calling thread has a capability.
func capable(bit uint) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return false
	}
	return data[bit/32].Effective&(1<<(bit%32)) != 0
}
