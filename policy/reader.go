package policy

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// reader walks the nodes of a file and notes everything that is wrong with
// them, instead of stopping at the first thing.
type reader struct{ problems *Problems }

// field is one accepted key of a mapping and what reads its value; read is nil
// for what a later version of accd will understand.
type field struct {
	key  string
	read func(n *yaml.Node)
}

// mapping reads the fields of n and gives where each key was found.
func (r *reader) mapping(n *yaml.Node, what string, fields []field) map[string]*yaml.Node {
	if n.Kind != yaml.MappingNode {
		r.errorf(n, "%s: expected fields (%s), found %s", what, keys(fields), describe(n))
		return nil
	}
	found := make(map[string]*yaml.Node)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			r.errorf(key, "%s: a field's name cannot be %s", what, describe(key))
			continue
		}
		at := slices.IndexFunc(fields, func(f field) bool { return f.key == key.Value })
		switch {
		case at < 0:
			r.errorf(key, "unknown field %q%s", key.Value, hint(key.Value, fields))
		case found[key.Value] != nil:
			r.errorf(key, "field %q is already given in line %d", key.Value, found[key.Value].Line)
		case fields[at].read == nil:
			found[key.Value] = key
			r.errorf(key, "%q is not available yet in this version of accd: remove it", key.Value)
		default:
			found[key.Value] = key
			fields[at].read(value)
		}
	}
	return found
}

func keys(fields []field) string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.key
	}
	return strings.Join(names, ", ")
}

func hint(word string, fields []field) string {
	var names []string
	for _, f := range fields {
		names = append(names, f.key)
	}
	if s := suggest(word, names); s != "" {
		return fmt.Sprintf(" (did you mean %q?)", s)
	}
	return " (accepted: " + strings.Join(names, ", ") + ")"
}

// text gives the characters of a scalar.
func (r *reader) text(n *yaml.Node, what string) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		r.errorf(n, "%s: expected a value, found %s", what, describe(n))
		return "", false
	}
	return n.Value, true
}

// list gives the elements of a list; a lone scalar is a list of one.
func (r *reader) list(n *yaml.Node, what string) []*yaml.Node {
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag != "!!null":
		return []*yaml.Node{n}
	case n.Kind == yaml.SequenceNode && len(n.Content) > 0:
		return n.Content
	}
	r.errorf(n, "%s: expected a list, found %s", what, describe(n))
	return nil
}

// word gives a scalar that must be one of the accepted words.
func (r *reader) word(n *yaml.Node, what string, accepted ...string) (string, bool) {
	s, ok := r.text(n, what)
	if !ok {
		return "", false
	}
	if !slices.Contains(accepted, s) {
		r.unknown(n, what, s, accepted)
		return "", false
	}
	return s, true
}

func (r *reader) unknown(n *yaml.Node, what, s string, accepted []string) {
	list := strings.Join(accepted, ", ")
	if list == "" {
		list = "none"
	}
	if guess := suggest(s, accepted); guess != "" {
		r.errorf(n, "unknown %s %q (did you mean %q? accepted: %s)", what, s, guess, list)
	} else {
		r.errorf(n, "unknown %s %q (accepted: %s)", what, s, list)
	}
}

func (r *reader) boolean(n *yaml.Node, what string, into *bool) {
	if s, ok := r.word(n, what, "true", "false"); ok {
		*into = s == "true"
	}
}

// value reads a scalar with one of the parsers of units.go.
func value[T any](r *reader, n *yaml.Node, what string, parse func(string) (T, error), into *T) {
	s, ok := r.text(n, what)
	if !ok {
		return
	}
	v, err := parse(s)
	if err != nil {
		r.errorf(n, "%s: %q %v", what, s, err)
		return
	}
	*into = v
}

func (r *reader) errorf(n *yaml.Node, format string, args ...any) {
	r.problems.add(n.Line, n.Column, r.width(n), Error, fmt.Sprintf(format, args...))
}

// warnf notes a warning. Its text says where the other place is, so there is no excerpt.
func (r *reader) warnf(n *yaml.Node, format string, args ...any) {
	r.problems.add(n.Line, n.Column, 0, Warning, fmt.Sprintf(format, args...))
}

// width is how many characters of the source a node takes on its first line.
func (r *reader) width(n *yaml.Node) int {
	if n.Kind != yaml.ScalarNode {
		return 1
	}
	w := utf8.RuneCountInString(n.Value)
	if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
		w += 2
	}
	if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		w = 1
	}
	return max(w, 1)
}

func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "fields"
	case n.Kind == yaml.SequenceNode && len(n.Content) == 0:
		return "an empty list"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.AliasNode:
		return fmt.Sprintf("the alias *%s (anchors and aliases are not supported)", n.Value)
	case n.Tag == "!!null":
		return "nothing"
	}
	return fmt.Sprintf("%q", n.Value)
}
