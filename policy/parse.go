package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// maxFile is the largest configuration file in bytes; rules for machines belong
// into fewer, larger prefixes.
const maxFile = 4 << 20

// Parse reads a configuration file; name is used in messages only. The Table is
// nil if there are errors; there may be warnings beside it.
func Parse(name string, src []byte) (*Table, *Problems) {
	p := &Problems{File: name}
	for l := range strings.SplitSeq(string(src), "\n") {
		p.lines = append(p.lines, strings.TrimSuffix(l, "\r"))
	}
	r := &reader{p}
	t := r.table(name, src)
	p.sort()
	if p.Errors() > 0 {
		return nil, p
	}
	return t, p
}

func (r *reader) table(name string, src []byte) *Table {
	if len(src) > maxFile {
		r.problems.add(1, 1, 0, Error, "the file is larger than 4 MiB")
		return nil
	}
	var docs []yaml.Node
	err := yaml.Load(src, &docs, yaml.WithAllDocuments())
	switch {
	case err != nil:
		r.syntax(err)
		return nil
	case len(docs) == 0:
		r.problems.add(1, 1, 0, Error, "the file is empty: it needs at least version and rules")
		return nil
	case len(docs) > 1:
		r.errorf(&docs[1], "a second document begins here: a configuration is one document")
		return nil
	}
	hash := sha256.Sum256(src)
	t := &Table{
		File: name, Hash: hex.EncodeToString(hash[:6]),
		Steer: defaultSteer(), Limits: defaultLimits(), Admin: Admin{Socket: DefaultSocket}, Log: Log{Level: "info"},
	}
	root := &docs[0]
	if root.Kind == yaml.DocumentNode {
		root = root.Content[0]
	}

	// Rules are read last: they speak of sides and profiles.
	var profiles, rules *yaml.Node
	found := r.mapping(root, "the file", []field{
		{"version", func(n *yaml.Node) {
			if v, ok := r.text(n, "version"); ok && v != "1" {
				r.errorf(n, "version: %q is unknown (accepted: 1)", v)
			}
		}},
		{"steering", func(n *yaml.Node) { r.steer(n, &t.Steer) }},
		{"sides", func(n *yaml.Node) { r.sides(n, &t.sides) }},
		{"limits", func(n *yaml.Node) { r.limits(n, &t.Limits) }},
		{"profiles", func(n *yaml.Node) { profiles = n }},
		{"rules", func(n *yaml.Node) { rules = n }},
		{"admin", func(n *yaml.Node) { r.admin(n, &t.Admin) }},
		{"log", func(n *yaml.Node) { r.log(n, &t.Log) }},
	})
	if found == nil {
		return nil
	}
	if found["version"] == nil {
		r.errorf(root, "the file does not say its version: add \"version: 1\" at its top")
	}
	byName := r.profiles(profiles)
	if rules == nil {
		if found["rules"] == nil {
			r.errorf(root, "there are no rules: add \"rules:\" with at least a default (%s)", exampleDefault)
		}
		return nil
	}
	r.finish(t, r.rules(rules, &t.sides, byName), rules, byName)
	return t
}

// exampleDefault is the last rule we propose to those who have none.
const exampleDefault = "- { name: default, action: accelerate }"

// finish puts the enabled rules into t, and looks at them as a whole.
func (r *reader) finish(t *Table, rules []*rule, n *yaml.Node, profiles map[string]Profile) {
	var last *rule
	var enabled []*rule
	for _, x := range rules {
		if x.enabled {
			enabled = append(enabled, x)
			last = x
		}
	}
	if last == nil {
		if len(rules) > 0 {
			r.errorf(n, "no rule is enabled: add a default at the end (%s)", exampleDefault)
		}
		return
	}
	if !last.match.all() {
		r.errorf(last.node, "the last rule does not match everything: add a default after it (%s)", exampleDefault)
	}
	if r.problems.Errors() > 0 {
		return // what is shadowed by a rule with mistakes nobody knows
	}
	r.splitOnly(enabled, profiles)
	for i, x := range enabled {
		for _, y := range enabled[:i] {
			if y.match.covers(x.match) {
				r.warnf(x.node, "rule %q can never match: shadowed by %q (line %d)", x.verdict.Rule, y.verdict.Rule, y.node.Line)
				break
			}
		}
		x.verdict.Index = i
		t.verdicts = append(t.verdicts, &x.verdict)
		t.matches = append(t.matches, x.match)
	}
}

// splitOnly warns of what a leg is told that only split flows can obey, unless a rule
// that splits has it from the same profile.
func (r *reader) splitOnly(rules []*rule, profiles map[string]Profile) {
	obeyed := map[string]bool{}
	for _, x := range rules {
		if v := &x.verdict; v.Handshake != Relay {
			obeyed[v.LAN.Name], obeyed[v.WAN.Name] = true, true
		}
	}
	for _, x := range rules {
		v := &x.verdict
		if v.Action == Pass || v.Handshake != Relay {
			continue
		}
		for _, n := range []Network{LAN, WAN} {
			p := v.Profile(n)
			named := profiles[p.Name]
			if p.UserTimeout != 0 && (!obeyed[p.Name] || p.UserTimeout != named.UserTimeout) {
				r.warnf(x.node, "rule %q: user_timeout on its %s leg has no effect without handshake: split", v.Rule, n)
			}
			if p.ECN != ECNWords[0] && (!obeyed[p.Name] || p.ECN != named.ECN) {
				r.warnf(x.node, "rule %q: ecn on its %s leg has no effect without handshake: split", v.Rule, n)
			}
		}
	}
}

// syntax notes what the YAML library says of a file that is not YAML.
func (r *reader) syntax(err error) {
	var all *yaml.LoadErrors
	var one *yaml.LoadError
	note := func(e *yaml.LoadError) {
		text := strings.TrimPrefix(e.Message, "yaml: ")
		if e.Mark.Line > 0 && e.Mark.Line <= len(r.problems.lines) && strings.HasPrefix(strings.TrimLeft(r.problems.lines[e.Mark.Line-1], " "), "\t") {
			text += " (indent with spaces, not tabs)"
		}
		r.problems.add(e.Mark.Line, e.Mark.Column, min(e.Mark.Line, 1), Error, "not valid YAML: "+text)
	}
	switch {
	case errors.As(err, &all):
		for _, e := range all.Errors {
			note(e)
		}
	case errors.As(err, &one):
		note(one)
	default:
		r.problems.add(1, 1, 0, Error, "not valid YAML: "+err.Error())
	}
}

func sortedNames[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }
