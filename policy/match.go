package policy

import (
	"net/netip"

	"go.yaml.in/yaml/v4"
)

// match is which connections a rule is about; all of its parts must hold.
type match struct {
	from, to prefixes
	ports    ports
	dscp     codepoints
	in       []string // interfaces of whole sides; nil: any
	networks uint8    // the same as sides, bit by Network; 0: any
}

func (m *match) matches(from, to netip.Addr, port uint16, meta Meta) bool {
	return (m.networks == 0 || m.networks>>meta.From&1 == 1) &&
		m.ports.contains(port) && m.dscp.contains(meta.DSCP) &&
		m.from.contains(from) && m.to.contains(to)
}

// all reports whether m matches every connection.
func (m *match) all() bool {
	return m.from.all() && m.to.all() && m.ports == nil && m.dscp == 0 && m.networks == 0
}

// covers reports whether everything n matches certainly matches m too.
func (m *match) covers(n *match) bool {
	return (m.networks == 0 || n.networks != 0 && n.networks&^m.networks == 0) &&
		m.ports.covers(n.ports) && m.dscp.covers(n.dscp) &&
		m.from.covers(&n.from) && m.to.covers(&n.to)
}

func (r *reader) match(n *yaml.Node, s *sides) *match {
	m := new(match)
	r.mapping(n, "match", []field{
		{"from", func(n *yaml.Node) { r.prefixes(n, "from", &m.from) }},
		{"to", func(n *yaml.Node) { r.prefixes(n, "to", &m.to) }},
		{"port", func(n *yaml.Node) { m.ports = r.ports(n, "port") }},
		{"in", func(n *yaml.Node) { r.arrival(n, m, s) }},
		{"dscp", func(n *yaml.Node) { m.dscp = r.codepoints(n, "dscp") }},
	})
	return m
}

// arrival reads the interfaces a rule is about. What reaches accd says by which
// side it came, not by which interface, so a rule names all interfaces of a side.
func (r *reader) arrival(n *yaml.Node, m *match, s *sides) {
	named := map[string]bool{}
	for _, e := range r.list(n, "in") {
		name, ok := r.interfaceName(e, "in")
		if !ok {
			continue
		}
		side := s.of(name)
		if side == Unknown {
			r.errorf(e, "in: interface %q is on no side: add it to the interfaces of sides.lan or sides.wan", name)
			continue
		}
		named[name] = true
		m.in = append(m.in, name)
		m.networks |= 1 << side
	}
	for _, side := range []Network{LAN, WAN} {
		if m.networks>>side&1 == 0 {
			continue
		}
		for _, name := range s.interfaces[side] {
			if !named[name] {
				r.errorf(n, "in: names only some interfaces of side %s, and accd tells sides apart, not their interfaces: add %q", side, name)
			}
		}
	}
}
