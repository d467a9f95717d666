package policy

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// codepoints is a set of DSCP values, bit by value; 0: all.
type codepoints uint64

func (c codepoints) contains(dscp uint8) bool { return c == 0 || c>>(dscp&63)&1 == 1 }

func (c codepoints) covers(d codepoints) bool { return c == 0 || d != 0 && d&^c == 0 }

func (c codepoints) list() (values []uint8) {
	for v := range uint8(64) {
		if c != 0 && c.contains(v) {
			values = append(values, v)
		}
	}
	return values
}

// codepointNames are the names of the IANA registry of DSCP values.
var codepointNames = map[string]uint8{
	"be": 0, "le": 1, "ef": 46, "va": 44,
	"cs0": 0, "cs1": 8, "cs2": 16, "cs3": 24, "cs4": 32, "cs5": 40, "cs6": 48, "cs7": 56,
	"af11": 10, "af12": 12, "af13": 14, "af21": 18, "af22": 20, "af23": 22,
	"af31": 26, "af32": 28, "af33": 30, "af41": 34, "af42": 36, "af43": 38,
}

func (r *reader) codepoints(n *yaml.Node, what string) codepoints {
	var in, out codepoints
	bad := false
	for _, e := range r.list(n, what) {
		s, ok := r.text(e, what)
		if !ok {
			bad = true
			continue
		}
		body, negated := strings.CutPrefix(s, "!")
		v, ok := codepointNames[strings.ToLower(body)]
		if !ok {
			number, err := strconv.ParseUint(body, 10, 8)
			if err != nil || number > 63 {
				r.unknown(e, what, body, append(slices.Sorted(maps.Keys(codepointNames)), "0-63"))
				bad = true
				continue
			}
			v = uint8(number)
		}
		if negated {
			out |= 1 << v
		} else {
			in |= 1 << v
		}
	}
	if bad {
		return 0
	}
	if in == 0 {
		in = ^codepoints(0)
	}
	if in&^out == 0 {
		r.errorf(n, "%s: matches no value: what is listed is also excluded with !", what)
	}
	return in &^ out
}
