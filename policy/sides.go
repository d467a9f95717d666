package policy

import (
	"net/netip"
	"slices"
	"strings"
	"unicode"

	"github.com/gaissmai/bart"
	"go.yaml.in/yaml/v4"
)

// sides says which interfaces and which addresses belong to which network.
type sides struct {
	interfaces [3][]string // by Network
	prefixes   [3][]netip.Prefix
	byAddress  bart.Table[Network]
}

// of gives the side of an interface.
func (s *sides) of(name string) Network {
	for _, side := range []Network{LAN, WAN} {
		if slices.Contains(s.interfaces[side], name) {
			return side
		}
	}
	return Unknown
}

func (s *sides) empty(n Network) bool { return len(s.interfaces[n])+len(s.prefixes[n]) == 0 }

// Interfaces gives the interfaces of a side. The caller does not change the slice.
func (t *Table) Interfaces(n Network) []string { return t.sides.interfaces[n] }

// Prefixes gives the addresses of a side that is not told by interface. The
// caller does not change the slice.
func (t *Table) Prefixes(n Network) []netip.Prefix { return t.sides.prefixes[n] }

func (r *reader) sides(n *yaml.Node, s *sides) {
	side := func(network Network) func(*yaml.Node) {
		return func(n *yaml.Node) {
			r.mapping(n, network.String(), []field{
				{"interfaces", func(n *yaml.Node) { r.sideInterfaces(n, network, s) }},
				{"prefixes", func(n *yaml.Node) { r.sidePrefixes(n, network, s) }},
			})
			if n.Kind == yaml.MappingNode && len(n.Content) == 0 {
				r.errorf(n, "%s: give its interfaces or its prefixes", network)
			}
		}
	}
	r.mapping(n, "sides", []field{{"lan", side(LAN)}, {"wan", side(WAN)}})
}

func (r *reader) sideInterfaces(n *yaml.Node, network Network, s *sides) {
	for _, e := range r.list(n, "interfaces") {
		name, ok := r.interfaceName(e, "interfaces")
		if !ok {
			continue
		}
		if other := s.of(name); other != Unknown {
			r.errorf(e, "interfaces: %q is already on side %s", name, other)
			continue
		}
		s.interfaces[network] = append(s.interfaces[network], name)
	}
}

func (r *reader) sidePrefixes(n *yaml.Node, network Network, s *sides) {
	for _, e := range r.list(n, "prefixes") {
		text, ok := r.text(e, "prefixes")
		if !ok {
			continue
		}
		x, err := parsePrefix(text)
		if err != nil {
			r.errorf(e, "prefixes: %v", err)
			continue
		}
		if other, ok := s.byAddress.Get(x); ok {
			r.errorf(e, "prefixes: %q is already on side %s", text, other)
			continue
		}
		s.byAddress.Insert(x, network)
		s.prefixes[network] = append(s.prefixes[network], x)
	}
}

// interfaceName reads a name that Linux accepts for a device.
func (r *reader) interfaceName(n *yaml.Node, what string) (string, bool) {
	s, ok := r.text(n, what)
	if !ok {
		return "", false
	}
	bad := func(c rune) bool { return c == '/' || c == ':' || c > 126 || unicode.IsSpace(c) || !unicode.IsPrint(c) }
	switch {
	case strings.HasPrefix(s, "!"):
		r.errorf(n, "%s: %q: interfaces cannot be excluded with !, name those that match", what, s)
		return "", false
	case strings.ContainsAny(s, "*+"):
		r.errorf(n, "%s: %q: patterns are not supported, name each interface", what, s)
		return "", false
	case s == "" || s == "." || s == ".." || len(s) > 15 || strings.ContainsFunc(s, bad):
		r.errorf(n, "%s: %q is not an interface name (at most 15 characters, no space, slash or colon)", what, s)
		return "", false
	}
	return s, true
}
