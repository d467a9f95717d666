package policy

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// PortRange is the ports from First to Last, both included.
type PortRange struct{ First, Last uint16 }

// ports is a set of destination ports, ascending and disjoint; nil: all ports.
type ports []PortRange

func (p ports) contains(port uint16) bool {
	for _, r := range p {
		if port <= r.Last {
			return port >= r.First
		}
	}
	return p == nil
}

// covers reports whether p contains everything q contains.
func (p ports) covers(q ports) bool {
	if p == nil {
		return true
	}
	if q == nil {
		q = ports{{1, 65535}}
	}
next:
	for _, x := range q {
		for _, y := range p {
			if y.First <= x.First && x.Last <= y.Last {
				continue next
			}
		}
		return false
	}
	return true
}

func (r *reader) ports(n *yaml.Node, what string) ports {
	var in, out []PortRange
	bad := false
	for _, e := range r.list(n, what) {
		s, ok := r.text(e, what)
		if !ok {
			bad = true
			continue
		}
		body, negated := strings.CutPrefix(s, "!")
		x, err := parsePorts(body)
		switch {
		case err != nil:
			r.errorf(e, "%s: %q %v", what, s, err)
			bad = true
		case negated:
			out = append(out, x)
		default:
			in = append(in, x)
		}
	}
	if bad || len(in)+len(out) == 0 {
		return nil
	}
	set := subtract(in, out)
	if len(set) == 0 {
		r.errorf(n, "%s: matches no port: what is listed is also excluded with !", what)
		return nil
	}
	if set[0] == (PortRange{1, 65535}) {
		return nil
	}
	return set
}

// subtract gives the ports of in (all, if there are none) without those of out.
func subtract(in, out []PortRange) ports {
	var set [65536]bool
	if len(in) == 0 {
		in = []PortRange{{1, 65535}}
	}
	mark := func(ranges []PortRange, v bool) {
		for _, x := range ranges {
			for p := int(x.First); p <= int(x.Last); p++ {
				set[p] = v
			}
		}
	}
	mark(in, true)
	mark(out, false)
	result := ports{}
	for p := 1; p <= 65535; p++ {
		switch {
		case !set[p]:
		case set[p-1]:
			result[len(result)-1].Last = uint16(p)
		default:
			result = append(result, PortRange{uint16(p), uint16(p)})
		}
	}
	return result
}

func parsePorts(s string) (PortRange, error) {
	a, b, isRange := strings.Cut(s, "-")
	if !isRange {
		b = a
	}
	first, err1 := strconv.ParseUint(strings.TrimSpace(a), 10, 16)
	last, err2 := strconv.ParseUint(strings.TrimSpace(b), 10, 16)
	switch {
	case err1 != nil || err2 != nil || first == 0 || last == 0:
		return PortRange{}, fmt.Errorf("is not a port or a range of ports between 1 and 65535 (like 443 or \"8000-8999\")")
	case first > last:
		return PortRange{}, fmt.Errorf("is a range that runs backwards (did you mean \"%d-%d\"?)", last, first)
	}
	return PortRange{uint16(first), uint16(last)}, nil
}
