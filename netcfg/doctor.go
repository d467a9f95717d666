package netcfg

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Status is the outcome of a check.
type Status string

// The outcomes.
const (
	OK   Status = "ok"
	Warn Status = "warn" // accd runs, but not for everything
	Fail Status = "fail" // accd does not run, or loses packets
)

// Check is one thing that doctor looked at.
type Check struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	Found  string `json:"found"`            // what is the case
	Remedy string `json:"remedy,omitempty"` // what to do about it; empty when ok
}

// Doctor examines the host for what keeps accd from working with a plan, whether
// accd runs or not. It changes nothing. It works in the namespace of the calling
// thread.
func Doctor(plan Plan) []Check {
	p := plan.withDefaults()
	d := &doctor{plan: &p}
	d.privileges()
	d.tunDevice()
	d.forwarding()
	d.interfaces()
	d.reversePath()
	d.ipRules()
	if capable(unix.CAP_NET_ADMIN) { // the kernel shows nobody else its tables
		d.nfTables()
		d.flowtables()
		d.foreignChains()
		d.shortcut()
	}
	d.conntrack()
	d.leftovers()
	return d.checks
}

type doctor struct {
	plan   *Plan
	checks []Check
}

func (d *doctor) add(name string, status Status, found, remedy string) {
	d.checks = append(d.checks, Check{name, status, found, remedy})
}

func (d *doctor) privileges() {
	switch admin, raw := capable(unix.CAP_NET_ADMIN), capable(unix.CAP_NET_RAW); {
	case !admin:
		d.add("privileges", Fail, "CAP_NET_ADMIN is missing; nf_tables, flowtables and firewall are not checked",
			"run as root, or give the service AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW")
	case !raw:
		d.add("privileges", Warn, "CAP_NET_RAW is missing: after a crash accd cannot reset the connections whose data was lost", "give it CAP_NET_RAW")
	default:
		d.add("privileges", OK, "CAP_NET_ADMIN and CAP_NET_RAW", "")
	}
}

func (d *doctor) tunDevice() {
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		d.add("tun", Fail, err.Error(), tunRemedy(err))
		return
	}
	f.Close()
	d.add("tun", OK, "/dev/net/tun can be opened", "")
}

// tunRemedy says what helps against an error of opening the device of taps.
func tunRemedy(err error) string {
	if errors.Is(err, fs.ErrPermission) {
		return "run as root; in a container pass --device /dev/net/tun; in a unit DeviceAllow=/dev/net/tun rw"
	}
	return "modprobe tun; in a container pass --device /dev/net/tun"
}

// nfTables loads the whole table: whether the kernel has every part of it is not to be
// known otherwise.
func (d *doctor) nfTables() {
	err := d.probe(func(p *Plan) *ruleset { return steering(p, [roles]int{loopback, loopback}, families, tracked) })
	if err != nil {
		d.add("nf_tables", Fail, err.Error(), "use a kernel of at least 5.12 with CONFIG_NF_TABLES_INET, NFT_CT, NFT_FIB_INET and NF_CONNTRACK")
		return
	}
	d.add("nf_tables", OK, "the kernel takes every rule of the table", "")
}

// probe loads a table of the plan, dormant, under a name of its own.
func (d *doctor) probe(table func(*Plan) *ruleset) error {
	p := *d.plan
	p.Table += "_doctor"
	rules := table(&p)
	t, err := openTable(rules.family, rules.table, !p.NoOwner)
	if err != nil {
		return err
	}
	t.table.Flags |= nftables.TableFlagDormant
	return errors.Join(t.install(rules), t.close())
}

func (d *doctor) forwarding() {
	keys := map[string]string{"forwarding IPv4": "net/ipv4/ip_forward", "forwarding IPv6": "net/ipv6/conf/all/forwarding"}
	some := false
	for _, key := range keys {
		some = some || readSetting(key) == "1"
	}
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		key := keys[name]
		switch v := readSetting(key); {
		case v == "1":
			d.add(name, OK, key+" is 1", "")
		case some:
			d.add(name, Warn, fmt.Sprintf("%s is %q: this family is not steered", key, v), "sysctl -w "+key+"=1, and for good in /etc/sysctl.d")
		default:
			d.add(name, Fail, fmt.Sprintf("%s is %q: router mode needs a family that is forwarded", key, v), "sysctl -w "+key+"=1, and for good in /etc/sysctl.d")
		}
	}
}

// interfaces checks those that the plan names.
func (d *doctor) interfaces() {
	named := slices.Concat(d.plan.LAN.Interfaces, d.plan.WAN.Interfaces)
	for _, c := range d.plan.Clauses {
		named = append(named, c.In...)
	}
	slices.Sort(named)
	var found []string
	for _, name := range slices.Compact(named) {
		dev, err := net.InterfaceByName(name)
		if err != nil {
			d.add("interface "+name, Warn, "does not exist now: what arrives by it is of no side until it does", "check the spelling: ip link")
			continue
		}
		found = append(found, fmt.Sprintf("%s MTU %d", name, dev.MTU))
		// Segments larger than what the other side takes cost a detour by
		// path MTU discovery, where that works at all.
		if dev.MTU < 1280 {
			d.add("interface "+name, Warn, fmt.Sprintf("MTU %d is too small for IPv6 (RFC 8200, 5)", dev.MTU), fmt.Sprintf("ip link set %s mtu 1280 or more", name))
		}
	}
	if len(found) > 0 {
		d.add("interfaces", OK, strings.Join(found, ", "), "")
	} else if len(named) == 0 {
		d.add("interfaces", Warn, "no side names an interface: each leg gets the profile of no side", "set sides.lan and sides.wan in the configuration")
	}
}

// reversePath checks the source filter: the kernel uses the larger of all and
// the device.
func (d *doctor) reversePath() {
	all, devices := readSetting("net/ipv4/conf/all/rp_filter"), []string{}
	dirs, _ := filepath.Glob("/proc/sys/net/ipv4/conf/*")
	for _, dir := range dirs {
		dev := filepath.Base(dir)
		if dev == "all" || dev == "default" || dev == d.plan.ClientTap || dev == d.plan.ServerTap {
			continue
		}
		conf := func(dev, key string) int {
			n, _ := strconv.Atoi(readSetting("net/ipv4/conf/" + dev + "/" + key))
			return n
		}
		strict := max(conf(dev, "rp_filter"), conf("all", "rp_filter")) == 1
		if strict && max(conf(dev, "src_valid_mark"), conf("all", "src_valid_mark")) == 1 {
			devices = append(devices, dev)
		}
	}
	if len(devices) > 0 {
		d.add("rp_filter", Fail, fmt.Sprintf("strict filtering with src_valid_mark on %s: steered packets would be dropped, because their mark has another way back", strings.Join(devices, ", ")),
			"sysctl -w net.ipv4.conf."+devices[0]+".rp_filter=2 (loose), or src_valid_mark=0 if no VPN needs it")
		return
	}
	for _, tap := range []string{d.plan.ClientTap, d.plan.ServerTap} {
		if v := readSetting("net/ipv4/conf/" + tap + "/rp_filter"); v == "1" || v != "" && all == "1" {
			d.add("rp_filter", Fail, "strict filtering came back while accd runs: what comes out of "+tap+" is dropped", "sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf."+tap+".rp_filter=0, and look who sets it (/etc/sysctl.d)")
			return
		}
	}
	if all == "1" {
		d.add("rp_filter", OK, "all is 1: while accd runs the devices have it each, and all is 0", "")
		return
	}
	d.add("rp_filter", OK, "all is "+all, "")
}

func (d *doctor) flowtables() {
	tables, err := listFlowtables()
	if err != nil {
		d.add("flowtables", Warn, err.Error(), "")
		return
	}
	for _, f := range tables {
		for _, dev := range f.Devices {
			if d.plan.covers(dev) {
				d.add("flowtables", Fail, fmt.Sprintf("flowtable %s of table %s covers %s: established connections pass accd by", f.Name, f.Table.Name, dev),
					fmt.Sprintf("remove %s from the flowtable", dev))
				return
			}
		}
	}
	d.add("flowtables", OK, "none covers an interface of a side", "")
}

// ipRules checks preferences and marks against the rules of others.
func (d *doctor) ipRules() {
	h, err := newHandle()
	if err != nil {
		d.add("ip rules", Warn, err.Error(), "")
		return
	}
	defer h.Close()
	p, bad := d.plan, false
	for _, f := range families {
		rules, err := h.RuleList(f.af())
		if err != nil {
			continue // no such family
		}
		x := &host{rules: map[*family][]netlink.Rule{f: rules}}
		for _, err := range x.ruleConflicts(p, f) {
			bad = true
			d.add("ip rules", Fail, err.Error(), "set steering.rule_preference to where 8 numbers are free")
		}
		for _, r := range rules {
			mask := ^uint32(0)
			if r.Mask != nil {
				mask = *r.Mask
			}
			if r.Protocol != routeProtocol && r.Mark != 0 && p.marksMeet(r.Mark, mask) {
				bad = true
				d.add("ip rules", Warn, fmt.Sprintf("%s rule %d matches mark %#x/%#x, which some of accd's marks satisfy", f.name, r.Priority, r.Mark, mask),
					"set steering.mark and mark_mask to bits that nobody uses")
			}
		}
	}
	if !bad {
		d.add("ip rules", OK, fmt.Sprintf("preferences %d to %d and marks %#x to %#x are free", p.Preference, p.localPreference(), p.Mark, p.mark(server, WAN)), "")
	}
}

// marksMeet says whether a packet with one of our marks may satisfy a match of
// somebody else.
func (p *Plan) marksMeet(mark, mask uint32) bool {
	for r := client; r < roles; r++ {
		for s := Unknown; s < sides; s++ {
			if common := mask & p.MarkMask; common != 0 && mark&^p.MarkMask == 0 && p.mark(r, s)&common == mark&common {
				return true
			}
		}
	}
	return false
}

// shortcut says how packets come to accd. The long way is no fault.
func (d *doctor) shortcut() {
	say := func(found string) { d.add("shortcut", OK, found, "") }
	if d.plan.NoShortcut {
		say("off: all packets go by the host's routes and chains")
		return
	}
	h, err := newHandle()
	if err != nil {
		d.add("shortcut", Warn, err.Error(), "")
		return
	}
	defer h.Close()
	others, err := openOnlookers(d.plan.Names)
	if err != nil {
		d.add("shortcut", Warn, err.Error(), "")
		return
	}
	defer others.close()
	who, err := others.look()
	from := ways{from: d.plan.arrivals(h)}
	switch {
	case err != nil:
		d.add("shortcut", Warn, err.Error(), "")
	case who != "":
		say("none, because somebody looks at packets, who sees all of them: " + who)
	case len(from.from) == 0:
		say("none: no interface of a side is there, of Ethernet, a part of no other one, and without strict reverse path filter")
	default:
		if err := d.probe(shortcutOnLoopback); err != nil {
			d.add("shortcut", Warn, err.Error(), "use a kernel with CONFIG_NF_TABLES_NETDEV and NFT_FWD_NETDEV, or nothing: all packets go by the host's routes and chains")
			return
		}
		say("packets of known flows come to accd before routes and chains, from " + from.String())
	}
}

// shortcutOnLoopback is the table of the shortcut on a device that is there.
func shortcutOnLoopback(p *Plan) *ruleset {
	p.ClientTap, p.ServerTap = "lo", "lo"
	return shortcut(p, []arrival{{"lo", loopback, LAN}}, [roles]int{loopback, loopback}, families)
}

// conntrack checks that there is room for the server legs.
func (d *doctor) conntrack() {
	limit, err1 := strconv.Atoi(readSetting("net/netfilter/nf_conntrack_max"))
	count, err2 := strconv.Atoi(readSetting("net/netfilter/nf_conntrack_count"))
	switch {
	case err1 != nil || err2 != nil:
		d.add("conntrack", Warn, "no conntrack here yet; accd's table brings it", "modprobe nf_conntrack if nf_tables fails above")
	case count > limit/10*9:
		d.add("conntrack", Warn, fmt.Sprintf("%d of %d entries are in use", count, limit), "sysctl -w net.netfilter.nf_conntrack_max="+strconv.Itoa(2*limit))
	default:
		d.add("conntrack", OK, fmt.Sprintf("%d of %d entries are in use", count, limit), "")
	}
}

// leftovers looks for what a dead process has left, or a live one has in hand.
func (d *doctor) leftovers() {
	name, err := namespaceName()
	if err != nil {
		d.add("leftovers", Warn, err.Error(), "")
		return
	}
	path := filepath.Join(d.plan.StateDir, "net-"+name+".journal")
	if f, err := os.OpenFile(path, os.O_RDWR, 0); err == nil {
		err = control(f, func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			d.add("leftovers", OK, "accd is running", "")
			return
		}
		d.add("leftovers", Warn, "a process died and left the host changed: "+path, "accd cleanup, or just start accd")
		return
	}
	var left []string
	for _, tap := range []string{d.plan.ClientTap, d.plan.ServerTap} {
		if _, err := net.InterfaceByName(tap); err == nil {
			left = append(left, "device "+tap)
		}
	}
	if len(left) > 0 {
		d.add("leftovers", Fail, strings.Join(left, ", ")+": not of a running accd of this namespace", "accd cleanup; or give the taps other names")
		return
	}
	d.add("leftovers", OK, "none", "")
}
