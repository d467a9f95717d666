package policy

import (
	"strings"

	"go.yaml.in/yaml/v4"
)

// rule is one rule of the file while it is read.
type rule struct {
	verdict Verdict
	match   *match
	enabled bool
	node    *yaml.Node // of its name, or of the rule
}

func (r *reader) rules(n *yaml.Node, s *sides, profiles map[string]Profile) []*rule {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		r.errorf(n, "rules: expected a list of rules, found %s", describe(n))
		return nil
	}
	var out []*rule
	lines := map[string]int{}
	for _, e := range n.Content {
		x := r.rule(e, s, profiles)
		if x == nil {
			continue
		}
		if name := x.verdict.Rule; name != "" {
			if lines[name] != 0 {
				r.errorf(x.node, "rule %q is already defined in line %d", name, lines[name])
			} else {
				lines[name] = x.node.Line
			}
		}
		out = append(out, x)
	}
	return out
}

func (r *reader) rule(n *yaml.Node, s *sides, profiles map[string]Profile) *rule {
	x := &rule{match: new(match), enabled: true, node: n}
	v := &x.verdict
	v.Line = n.Line
	v.PathMemory = true
	v.LAN, v.WAN, v.Other = profiles[defaultProfile], profiles[defaultProfile], profiles[defaultProfile]
	found := r.mapping(leading(n, "handshake"), "rule", []field{
		{"name", func(n *yaml.Node) {
			x.node = n
			v.Rule, _ = r.name(n, "rule")
		}},
		{"description", func(n *yaml.Node) { v.Description, _ = r.text(n, "description") }},
		{"enabled", func(n *yaml.Node) { r.boolean(n, "enabled", &x.enabled) }},
		{"match", func(n *yaml.Node) { x.match = r.match(n, s) }},
		{"action", func(n *yaml.Node) {
			if w, ok := r.word(n, "action", "accelerate", "pass"); ok && w == "accelerate" {
				v.Action = Accelerate
			}
		}},
		{"handshake", func(n *yaml.Node) {
			if w, ok := r.word(n, "handshake", "relay", "split"); ok && w == "split" {
				v.Handshake = Split
			}
		}},
		{"jumbo", func(n *yaml.Node) { r.boolean(n, "jumbo", &v.Jumbo) }},
		{"path_memory", func(n *yaml.Node) { r.boolean(n, "path_memory", &v.PathMemory) }},
		{"accept", func(n *yaml.Node) {
			w, ok := r.word(n, "accept", "early", "late")
			switch {
			case !ok || w == "late":
			case v.Handshake != Split:
				r.errorf(n, "accept: early needs handshake: split: with relay the server itself answers the client")
			default:
				v.Handshake = Early
			}
		}},
		{"lan", func(n *yaml.Node) { r.ruleSide(n, LAN, s, &v.LAN, profiles) }},
		{"wan", func(n *yaml.Node) { r.ruleSide(n, WAN, s, &v.WAN, profiles) }},
		{"control", nil},
	})
	if found == nil {
		return nil
	}
	if found["name"] == nil {
		r.errorf(n, "the rule has no name: add one (name: …)")
	}
	if found["action"] == nil {
		r.errorf(n, "the rule has no action: add one (accepted: accelerate, pass)")
	} else if v.Action == Pass {
		for _, key := range []string{"lan", "wan", "handshake", "accept", "jumbo", "path_memory"} {
			if found[key] != nil && r.isPass(n) {
				r.errorf(found[key], "%q has no meaning in a rule whose action is pass: remove it", key)
			}
		}
	}
	return x
}

// isPass reports whether the rule n really says pass, rather than something misspelt.
func (r *reader) isPass(n *yaml.Node) bool {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == "action" {
			return n.Content[i+1].Value == "pass"
		}
	}
	return false
}

// ruleSide reads how a rule treats one side: a profile, and fields that differ from it.
func (r *reader) ruleSide(n *yaml.Node, network Network, s *sides, into *Profile, profiles map[string]Profile) {
	if s.empty(network) {
		r.errorf(n, "side %s has neither interfaces nor prefixes: add them to sides.%s", network, network)
	}
	own := []field{
		{"profile", func(n *yaml.Node) {
			name, ok := r.text(n, "profile")
			if !ok {
				return
			}
			p, known := profiles[name]
			if !known {
				r.unknown(n, "profile", name, sortedNames(profiles))
				return
			}
			*into = p
		}},
		{"dscp", nil},
	}
	r.mapping(leading(n, "profile", "congestion"), network.String(), append(own, r.profileFields(into)...))
}

// name reads a name that fits into logs, metrics and command lines.
func (r *reader) name(n *yaml.Node, what string) (string, bool) {
	s, ok := r.text(n, what)
	if !ok {
		return "", false
	}
	bad := func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._-", c))
	}
	if s == "" || len(s) > 64 || strings.ContainsFunc(s, bad) {
		r.errorf(n, "%q cannot name a %s (letters, digits and . _ -, at most 64)", s, what)
		return "", false
	}
	return s, true
}

// leading gives a mapping with the fields of the given keys first, because what
// follows changes or is checked against what they say.
func leading(n *yaml.Node, first ...string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return n
	}
	c := *n
	c.Content = nil
	var rest []*yaml.Node
	for _, key := range first {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				c.Content = append(c.Content, n.Content[i:i+2]...)
			}
		}
	}
next:
	for i := 0; i+1 < len(n.Content); i += 2 {
		for _, key := range first {
			if n.Content[i].Value == key {
				continue next
			}
		}
		rest = append(rest, n.Content[i:i+2]...)
	}
	c.Content = append(c.Content, rest...)
	return &c
}
