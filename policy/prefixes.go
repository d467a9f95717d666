package policy

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/gaissmai/bart"
	"go.yaml.in/yaml/v4"
)

// prefixes is a set of addresses: those in one of only (all addresses if there
// is none) but for those in one of not.
type prefixes struct {
	only, not         []netip.Prefix
	onlyTree, notTree bart.Lite
}

// contains reports whether a is in the set.
func (p *prefixes) contains(a netip.Addr) bool {
	if len(p.only) > 0 && !p.onlyTree.Lookup(a) {
		return false
	}
	return len(p.not) == 0 || !p.notTree.Lookup(a)
}

func (p *prefixes) all() bool { return len(p.only) == 0 && len(p.not) == 0 }

// covers reports whether p certainly contains everything q contains.
func (p *prefixes) covers(q *prefixes) bool {
	if len(p.only) > 0 {
		if len(q.only) == 0 {
			return false
		}
		for _, x := range q.only {
			if !p.onlyTree.LookupPrefix(x) {
				return false
			}
		}
	}
	for _, x := range p.not {
		if q.notTree.LookupPrefix(x) {
			continue
		}
		if len(q.only) == 0 {
			return false
		}
		for _, y := range q.only {
			if x.Overlaps(y) {
				return false
			}
		}
	}
	return true
}

func (p *prefixes) add(x netip.Prefix, negated bool) {
	if negated {
		p.not = append(p.not, x)
		p.notTree.Insert(x)
	} else {
		p.only = append(p.only, x)
		p.onlyTree.Insert(x)
	}
}

func (r *reader) prefixes(n *yaml.Node, what string, into *prefixes) {
	for _, e := range r.list(n, what) {
		s, ok := r.text(e, what)
		if !ok {
			continue
		}
		body, negated := strings.CutPrefix(s, "!")
		x, err := parsePrefix(body)
		if err != nil {
			r.errorf(e, "%s: %v", what, err)
			continue
		}
		into.add(x, negated)
	}
	for _, x := range into.only {
		if !into.notTree.LookupPrefix(x) {
			return
		}
	}
	if len(into.only) > 0 {
		r.errorf(n, "%s: matches no address: what is listed is also excluded with !", what)
	}
}

// parsePrefix reads "10.0.0.0/8", "2001:db8::/32" or a single address.
func parsePrefix(s string) (netip.Prefix, error) {
	x, err := netip.ParsePrefix(s)
	if err != nil {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return x, fmt.Errorf("%q is neither a prefix nor an address (like 10.0.0.0/8, 2001:db8::/32 or 192.0.2.1)", s)
		}
		x = netip.PrefixFrom(a, a.BitLen())
	}
	if x.Addr().Is4In6() {
		return x, fmt.Errorf("%q is an IPv4 address written as IPv6: write it as IPv4", s)
	}
	if m := x.Masked(); m != x {
		return x, fmt.Errorf("prefix %q has host bits set (did you mean %s or %s?)", s, m, netip.PrefixFrom(x.Addr(), x.Addr().BitLen()))
	}
	return x, nil
}
