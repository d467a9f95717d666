package netcfg

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// foreignChains looks for firewall rules that would stop or miss steered
// packets: they cross the forward hook twice, once by each tap.
func (d *doctor) foreignChains() {
	conn, err := nftables.New()
	if err != nil {
		d.add("firewall", Warn, err.Error(), "")
		return
	}
	chains, err := conn.ListChains()
	if err != nil {
		d.add("firewall", Warn, err.Error(), "")
		return
	}
	bad := false
	for _, c := range chains {
		if c.Table.Name == d.plan.Table || c.Hooknum == nil {
			continue
		}
		rules, err := conn.GetRules(c.Table, c)
		if err != nil {
			continue // gone meanwhile
		}
		forward := *c.Hooknum == *nftables.ChainHookForward && c.Table.Family != nftables.TableFamilyBridge &&
			c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop
		if forward && !(mentions(rules, d.plan.ClientTap) && mentions(rules, d.plan.ServerTap)) {
			bad = true
			d.add("firewall", Fail, fmt.Sprintf("chain %s of table %s drops what it does not know, and does not know the taps: steered connections fail", c.Name, c.Table.Name), d.admission(c))
		}
		nat := c.Type == nftables.ChainTypeNAT && *c.Hooknum == *nftables.ChainHookPrerouting
		if nat && matchesArrival(rules) && !mentions(rules, d.plan.ServerTap) {
			bad = true
			d.add("firewall", Warn, fmt.Sprintf("chain %s of table %s translates by arrival interface: connections that are steered arrive by %s", c.Name, c.Table.Name, d.plan.ServerTap),
				fmt.Sprintf("add %q to the interfaces of those rules", d.plan.ServerTap))
		}
	}
	if b, err := os.ReadFile("/proc/thread-self/net/ip_tables_names"); err == nil && slices.Contains(strings.Fields(string(b)), "filter") {
		bad = true
		d.add("firewall", Warn, "legacy iptables has a filter table, which this check cannot read", "if its FORWARD chain drops by default: "+d.iptables())
	}
	if !bad {
		d.add("firewall", OK, "no chain drops or misses what the taps carry", "")
	}
}

// admission is the command that admits the taps to a chain. What goes into a tap
// comes out of the other, so it is let in; what comes out of the client tap
// answers a client. What comes out of the server tap opens connections: it is
// admitted towards the wan only, or the host would let in from the wan whatever
// is steered.
func (d *doctor) admission(c *nftables.Chain) string {
	if c.Name == "FORWARD" { // iptables on nf_tables
		return d.iptables()
	}
	family := map[nftables.TableFamily]string{nftables.TableFamilyINet: "inet", nftables.TableFamilyIPv4: "ip", nftables.TableFamilyIPv6: "ip6"}[c.Table.Family]
	at := fmt.Sprintf("nft insert rule %s %s %s", family, c.Table.Name, c.Name)
	var outs []string
	for _, dev := range d.outwards() {
		outs = append(outs, strconv.Quote(dev))
	}
	return fmt.Sprintf("%[1]s oifname { %[2]q, %[3]q } accept; %[1]s iifname %[2]q accept; %[1]s iifname %[3]q oifname { %[4]s } accept%[5]s",
		at, d.plan.ClientTap, d.plan.ServerTap, strings.Join(outs, ", "), d.inwards())
}

func (d *doctor) iptables() string {
	all := []string{"iptables -I FORWARD -i " + d.plan.ClientTap + " -j ACCEPT"}
	for _, tap := range []string{d.plan.ClientTap, d.plan.ServerTap} {
		all = append(all, "iptables -I FORWARD -o "+tap+" -j ACCEPT")
	}
	for _, dev := range d.outwards() {
		all = append(all, "iptables -I FORWARD -i "+d.plan.ServerTap+" -o "+dev+" -j ACCEPT")
	}
	return strings.Join(all, "; ") + " (and ip6tables)" + d.inwards()
}

// outwards gives the interfaces by which connections may leave.
func (d *doctor) outwards() []string {
	if len(d.plan.WAN.Interfaces) == 0 {
		return []string{"WAN"}
	}
	return d.plan.WAN.Interfaces
}

// inwards says what else may be wanted.
func (d *doctor) inwards() string {
	return fmt.Sprintf(" # and for what may come in from the wan, its rules again with %s as the arrival interface", d.plan.ServerTap)
}

// firewall says what would drop steered packets.
func (p *Plan) firewall() error {
	d := &doctor{plan: p}
	d.foreignChains()
	var errs []error
	for _, c := range d.checks {
		if c.Status == Fail {
			errs = append(errs, fmt.Errorf("netcfg: %s: %s", c.Found, c.Remedy))
		}
	}
	return errors.Join(errs...)
}

// mentions says whether a rule compares something with a name, or a part of it
// that ends in a wildcard, or looks it up.
func mentions(rules []*nftables.Rule, name string) bool {
	for _, r := range rules {
		for _, e := range r.Exprs {
			if c, ok := e.(*expr.Cmp); ok && len(c.Data) >= 2 {
				text := strings.TrimRight(string(c.Data), "\x00")
				if text == name || len(c.Data) < unix.IFNAMSIZ && text != "" && strings.HasPrefix(name, text) {
					return true
				}
			}
			// What is in a set is not read: whoever uses sets of
			// interfaces is believed.
			if l, ok := e.(*expr.Lookup); ok && loadsName(r.Exprs, l.SourceRegister) {
				return true
			}
		}
	}
	return false
}

// loadsName says whether a register holds an interface name.
func loadsName(exprs []expr.Any, register uint32) bool {
	return slices.ContainsFunc(exprs, func(e expr.Any) bool {
		m, ok := e.(*expr.Meta)
		return ok && m.Register == register && (m.Key == expr.MetaKeyIIFNAME || m.Key == expr.MetaKeyOIFNAME)
	})
}

// matchesArrival says whether a rule asks for the interface a packet came by.
func matchesArrival(rules []*nftables.Rule) bool {
	for _, r := range rules {
		for _, e := range r.Exprs {
			if m, ok := e.(*expr.Meta); ok && (m.Key == expr.MetaKeyIIFNAME || m.Key == expr.MetaKeyIIF) {
				return true
			}
		}
	}
	return false
}
