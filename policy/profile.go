package policy

import (
	"maps"
	"math"
	"slices"
	"time"

	"accd/tcpstack/cc"

	"go.yaml.in/yaml/v4"
)

// Profile is how accd sends and buffers on one leg.
type Profile struct {
	Name          string    // "default" where the rule names none
	Congestion    string    // a name of cc.Names
	Parameters    cc.Params // of the congestion control; nil: its defaults
	InitialWindow int       // segments; 0: the stack's default
	MaxBuffer     int       // bytes held for this leg, at most; 0: the stack's default
	MaxRate       int64     // cap of the sending rate in bytes per second; 0: none
	// UserTimeout ends a split leg whose endpoint has not acknowledged anything for
	// so long (RFC 9293, 3.9.1.1); 0: only the retransmissions count. Relayed flows
	// keep the endpoints' own.
	UserTimeout time.Duration
	// ECN is what accd asks the endpoint of a split leg for and grants it, one of
	// ECNWords. Relayed flows have what their endpoints agree on.
	ECN string
}

// ECNWords are what a profile may say of ECN: grant classic ECN to who asks, and ask
// for it where the other endpoint does; neither; classic (RFC 3168); or AccECN (RFC
// 9768).
var ECNWords = []string{"grant", "off", "classic", "accurate"}

// newProfile gives the profile of a name before its fields are read.
func newProfile(name string) Profile {
	return Profile{Name: name, Congestion: "cubic", ECN: ECNWords[0]}
}

// defaultProfile is the name of the profile of what no rule gives one. A file
// may define it.
const defaultProfile = "default"

// profiles reads the named profiles.
func (r *reader) profiles(n *yaml.Node) map[string]Profile {
	all := map[string]Profile{defaultProfile: newProfile(defaultProfile)}
	if n == nil {
		return all
	}
	if n.Kind != yaml.MappingNode {
		r.errorf(n, "profiles: expected fields, each with the name of a profile, found %s", describe(n))
		return all
	}
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, body := n.Content[i], n.Content[i+1]
		name, ok := r.name(key, "profile")
		if !ok {
			continue
		}
		if lines[name] != 0 {
			r.errorf(key, "profile %q is already defined in line %d", name, lines[name])
		}
		lines[name] = key.Line
		p := newProfile(name)
		r.mapping(leading(body, "congestion"), "profile "+name, r.profileFields(&p))
		all[name] = p
	}
	return all
}

// profileFields are the fields of a profile; a rule's sides have them too.
func (r *reader) profileFields(p *Profile) []field {
	return []field{
		{"congestion", func(n *yaml.Node) {
			if w, ok := r.word(n, "congestion control", cc.Names()...); ok && w != p.Congestion {
				p.Congestion, p.Parameters = w, nil
			}
		}},
		{"parameters", func(n *yaml.Node) { r.parameters(n, p) }},
		{"initial_window", func(n *yaml.Node) { value(r, n, "initial_window", intBetween(1, 1000), &p.InitialWindow) }},
		{"buffer", func(n *yaml.Node) {
			r.mapping(n, "buffer", []field{{"max", func(n *yaml.Node) { r.maxBuffer(n, p) }}})
		}},
		{"user_timeout", func(n *yaml.Node) {
			value(r, n, "user_timeout", durationBetween(time.Second, 24*time.Hour), &p.UserTimeout)
		}},
		{"ecn", func(n *yaml.Node) {
			if w, ok := r.word(n, "ecn", ECNWords...); ok {
				p.ECN = w
			}
		}},
		{"pacing", func(n *yaml.Node) { value(r, n, "pacing", parseRate, &p.MaxRate) }},
	}
}

func (r *reader) maxBuffer(n *yaml.Node, p *Profile) {
	var bytes int64
	value(r, n, "buffer max", parseSize, &bytes)
	// The largest window TCP can offer is 1 GiB (RFC 7323, 2.3).
	if bytes != 0 && (bytes < 64<<10 || bytes > 1<<30) {
		r.errorf(n, "buffer max: %q must be between 64KiB and 1GiB", n.Value)
		return
	}
	p.MaxBuffer = int(bytes)
}

// parameters reads those of the congestion control; p.Congestion must be known,
// so its field is read first.
func (r *reader) parameters(n *yaml.Node, p *Profile) {
	if n.Kind != yaml.MappingNode {
		r.errorf(n, "parameters: expected fields of %s, found %s", p.Congestion, describe(n))
		return
	}
	accepted := cc.Parameters(p.Congestion)
	names := make([]string, len(accepted))
	for i, q := range accepted {
		names[i] = q.Name
	}
	params := maps.Clone(p.Parameters)
	if params == nil {
		params = cc.Params{}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, body := n.Content[i], n.Content[i+1]
		name, ok := r.text(key, "parameters")
		if !ok {
			continue
		}
		at := slices.IndexFunc(accepted, func(q cc.Param) bool { return q.Name == name })
		if at < 0 {
			r.unknown(key, "parameter of "+p.Congestion, name, names)
			continue
		}
		q := accepted[at]
		v := math.NaN()
		if q.IsTime() {
			value(r, body, name, parseSeconds, &v)
		} else {
			value(r, body, name, parseShare, &v)
		}
		if v < q.Min || v > q.Max {
			r.errorf(body, "%s: %q must be between %s and %s (%s)", name, body.Value, q.Format(q.Min), q.Format(q.Max), q.Unit)
			continue
		}
		params[name] = v
	}
	p.Parameters = params
}
