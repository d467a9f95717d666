package policy

import (
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// Steer is how packets get to accd and what happens when it stops. Everything
// in it takes effect at the next start, not at a reload.
type Steer struct {
	Mode           string        // "router"
	Block          bool          // when accd stops, steered traffic stops too, instead of flowing natively
	NoShortcut     bool          // packets of known flows go through the host's routes and chains even where nobody looks
	Queues         int           // per tap, and so shards; 0: one per CPU, as far as a tap has so many
	ClientTap      string        // name of the tap of the client legs
	ServerTap      string        // name of the tap of the server legs
	Table          string        // name of the nft table
	RulePreference int           // of the first ip rule
	Mark, MarkMask uint32        // first packet mark, and the bits compared
	RouteTable     int           // number of the first routing table
	FlowTimeout    time.Duration // a flow without packets for that long is steered no longer
	OpeningTimeout time.Duration // the same for a handshake
}

func defaultSteer() Steer {
	return Steer{
		Mode: "router", ClientTap: "accd0", ServerTap: "accd1", Table: "accd",
		RulePreference: 10, Mark: 0xacc0, MarkMask: 0xffff, RouteTable: 4040,
		FlowTimeout: time.Hour, OpeningTimeout: 10 * time.Second,
	}
}

func (r *reader) steer(n *yaml.Node, s *Steer) {
	r.mapping(n, "steering", []field{
		{"mode", func(n *yaml.Node) {
			if n.Value == "bridge" || n.Value == "host" {
				r.errorf(n, "mode %q is not available yet in this version of accd (accepted: router)", n.Value)
			} else {
				r.word(n, "mode", "router")
			}
		}},
		{"fail", func(n *yaml.Node) {
			if w, ok := r.word(n, "fail", "wire", "block"); ok {
				s.Block = w == "block"
			}
		}},
		{"shortcut", func(n *yaml.Node) {
			if w, ok := r.word(n, "shortcut", "auto", "off"); ok {
				s.NoShortcut = w == "off"
			}
		}},
		{"taps", func(n *yaml.Node) { r.taps(n, s) }},
		{"nft_table", func(n *yaml.Node) { r.tableName(n, &s.Table) }},
		{"rule_preference", func(n *yaml.Node) { value(r, n, "rule_preference", intBetween(1, 30000), &s.RulePreference) }},
		{"mark", func(n *yaml.Node) { value(r, n, "mark", parseMark, &s.Mark) }},
		{"mark_mask", func(n *yaml.Node) { value(r, n, "mark_mask", parseMark, &s.MarkMask) }},
		{"route_table", func(n *yaml.Node) { value(r, n, "route_table", intBetween(256, 1<<31-16), &s.RouteTable) }},
		{"flow_timeout", func(n *yaml.Node) {
			value(r, n, "flow_timeout", durationBetween(time.Second, 30*24*time.Hour), &s.FlowTimeout)
		}},
		{"opening_timeout", func(n *yaml.Node) {
			value(r, n, "opening_timeout", durationBetween(time.Second, 10*time.Minute), &s.OpeningTimeout)
		}},
	})
	if s.ClientTap == s.ServerTap {
		r.errorf(n, "taps: client and server are both %q: give them different names", s.ClientTap)
	}
	// Six marks follow from the first: client and server, each from no side, lan and wan.
	if last := s.Mark + 5; s.Mark&^s.MarkMask != 0 || last < s.Mark || last&^s.MarkMask != 0 {
		r.errorf(n, "mark_mask: the mask %#x does not hold the marks %#x to %#x that accd uses", s.MarkMask, s.Mark, last)
	}
}

func (r *reader) taps(n *yaml.Node, s *Steer) {
	name := func(into *string) func(*yaml.Node) {
		return func(n *yaml.Node) {
			if v, ok := r.interfaceName(n, "taps"); ok {
				*into = v
			}
		}
	}
	r.mapping(n, "taps", []field{
		{"queues", func(n *yaml.Node) {
			if n.Value != "auto" {
				value(r, n, "queues", parseQueues, &s.Queues)
			}
		}},
		{"client", name(&s.ClientTap)},
		{"server", name(&s.ServerTap)},
	})
}

func (r *reader) tableName(n *yaml.Node, into *string) {
	s, ok := r.text(n, "nft_table")
	if !ok {
		return
	}
	bad := func(c rune) bool { return !(c == '_' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9') }
	if s == "" || len(s) > 32 || strings.ContainsFunc(s, bad) {
		r.errorf(n, "nft_table: %q is not a table name (small letters, digits and _, at most 32)", s)
		return
	}
	*into = s
}
