package netcfg

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// host is what a plan must know of the machine: facts, read once.
type host struct {
	forwards   []*family         // the families that are forwarded
	rpFilter   map[string]string // net.ipv4.conf.*.rp_filter
	rules      map[*family][]netlink.Rule
	flowtables []*nftables.Flowtable
}

// number of the family as routing has it.
func (f *family) af() int {
	if f == v4 {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}

// newHandle opens a connection to the kernel's routing.
func newHandle() (*netlink.Handle, error) {
	h, err := netlink.NewHandleWithOptions(netlink.HandleOptions{
		DisableVFInfoCollection: true,
		RetryInterrupted:        true, // a table that changes while it is read is read again
	}, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netcfg: netlink: %w", err)
	}
	return h, nil
}

func readHost(h *netlink.Handle) (*host, error) {
	x := &host{rpFilter: make(map[string]string), rules: make(map[*family][]netlink.Rule)}
	if readSetting("net/ipv4/ip_forward") == "1" {
		x.forwards = append(x.forwards, v4)
	}
	if readSetting("net/ipv6/conf/all/forwarding") == "1" && readSetting("net/ipv6/conf/all/disable_ipv6") == "0" {
		x.forwards = append(x.forwards, v6)
	}
	devices, err := os.ReadDir("/proc/sys/net/ipv4/conf")
	if err != nil {
		return nil, fmt.Errorf("netcfg: %w", err)
	}
	for _, d := range devices {
		x.rpFilter[d.Name()] = readSetting("net/ipv4/conf/" + d.Name() + "/rp_filter")
	}
	for _, f := range x.forwards {
		if x.rules[f], err = h.RuleList(f.af()); err != nil {
			return nil, fmt.Errorf("netcfg: ip rules of %s: %w", f.name, err)
		}
	}
	x.flowtables, err = listFlowtables()
	return x, err
}

func listFlowtables() ([]*nftables.Flowtable, error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("netcfg: flowtables: %w", err)
	}
	tables, err := conn.ListTables()
	if err != nil {
		return nil, nftError("list", err)
	}
	var all []*nftables.Flowtable
	for _, t := range tables {
		some, err := conn.ListFlowtables(t)
		// The kernel may have no flowtables at all, or the table may have
		// gone meanwhile.
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EOPNOTSUPP) {
			return nil, fmt.Errorf("netcfg: flowtables of %s: %w", t.Name, err)
		}
		all = append(all, some...)
	}
	return all, nil
}

// obstacles gives what speaks against bringing the plan to this host.
func (x *host) obstacles(p *Plan) error {
	var errs []error
	if len(x.forwards) == 0 {
		errs = append(errs, errors.New("netcfg: this host forwards nothing, and router mode needs a router: sysctl -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1"))
	}
	for _, f := range x.flowtables {
		for _, dev := range f.Devices {
			if p.covers(dev) {
				errs = append(errs, fmt.Errorf("netcfg: flowtable %s of table %s covers %s: its packets would pass accd by. Remove the device from the flowtable (nft list flowtables shows it), or offload only what accd passes", f.Name, f.Table.Name, dev))
			}
		}
	}
	for _, f := range x.forwards {
		errs = append(errs, x.ruleConflicts(p, f)...)
	}
	return errors.Join(errs...)
}

// covers says whether packets of a side may use a device.
func (p *Plan) covers(dev string) bool {
	named := slices.Concat(p.LAN.Interfaces, p.WAN.Interfaces)
	return len(named) == 0 || slices.Contains(named, dev)
}

// ruleConflicts finds the ip rules of others that would come before the local
// rule when that has moved behind ours, or stand among ours.
func (x *host) ruleConflicts(p *Plan, f *family) []error {
	var errs []error
	first, last := p.Preference, p.localPreference()
	if x.movesLocal(p, f) {
		first = 1
	} else {
		last--
	}
	for _, r := range x.rules[f] {
		if r.Protocol != routeProtocol && r.Priority >= first && r.Priority <= last {
			errs = append(errs, fmt.Errorf("netcfg: %s rule %d (%s) is in the way: accd wants its own rules at %d to %d, and nothing but them before the local rule. Move it behind %d, or set another rule preference",
				f.name, r.Priority, r, p.Preference, p.localPreference(), p.localPreference()))
		}
	}
	return errs
}

// movesLocal says whether the local rule stands where the kernel puts it, and so
// before ours.
func (x *host) movesLocal(p *Plan, f *family) bool {
	return slices.ContainsFunc(x.rules[f], isFirstLocal)
}

func isFirstLocal(r netlink.Rule) bool {
	return r.Priority == 0 && r.Table == unix.RT_TABLE_LOCAL
}

// strict gives the settings that keep the reverse path filter of every device as
// strict as it is, but not that of the taps: a device's effective value is the
// larger of its own and that of all, so what all says moves to the devices.
// Loose filtering (2) lets pass what comes out of a tap that has an address.
func (x *host) strict(p *Plan) []setting {
	if x.rpFilter["all"] != "1" {
		return nil
	}
	key := func(dev string) string { return "net/ipv4/conf/" + dev + "/rp_filter" }
	var out []setting
	for _, dev := range slices.Sorted(maps.Keys(x.rpFilter)) {
		own, err := strconv.Atoi(x.rpFilter[dev])
		if err == nil && own < 1 && dev != "all" && dev != p.ClientTap && dev != p.ServerTap {
			out = append(out, setting{key(dev), "1"})
		}
	}
	return append(out, setting{key("all"), "0"})
}
