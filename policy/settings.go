package policy

import (
	"strings"

	"go.yaml.in/yaml/v4"
)

// Limits bound what accd takes on. What exceeds them stays on the wire.
type Limits struct {
	Flows             int   // flows followed at once
	Memory            int64 // bytes of payload held at once
	NewFlowsPerSecond int
	PerClientOpening  int // handshakes one client address may have open at once
}

func defaultLimits() Limits {
	return Limits{Flows: 200_000, Memory: 1 << 30, NewFlowsPerSecond: 20_000, PerClientOpening: 256}
}

func (r *reader) limits(n *yaml.Node, l *Limits) {
	count := func(key string, into *int) field {
		return field{key, func(n *yaml.Node) { value(r, n, key, parseCount, into) }}
	}
	r.mapping(n, "limits", []field{
		count("flows", &l.Flows),
		{"memory", func(n *yaml.Node) {
			value(r, n, "memory", parseSize, &l.Memory)
			if l.Memory < 16<<20 {
				r.errorf(n, "memory: %q is less than 16MiB, too little to accelerate anything", n.Value)
			}
		}},
		count("new_flows_per_second", &l.NewFlowsPerSecond),
		count("per_client_opening", &l.PerClientOpening),
	})
}

// Admin is where the daemon is asked for its state. It takes effect at the next
// start, not at a reload.
type Admin struct {
	Socket string // path of the unix socket
}

// DefaultSocket is the path of the unix socket unless the file names another.
const DefaultSocket = "/run/accd/accd.sock"

func (r *reader) admin(n *yaml.Node, a *Admin) {
	r.mapping(n, "admin", []field{
		{"socket", func(n *yaml.Node) {
			s, ok := r.text(n, "socket")
			switch {
			case !ok:
			case !strings.HasPrefix(s, "/"):
				r.errorf(n, "socket: %q is not an absolute path (like %s)", s, DefaultSocket)
			case len(s) > 107: // sun_path of unix(7), with its final zero
				r.errorf(n, "socket: the path is %d bytes long, unix sockets allow 107", len(s))
			default:
				a.Socket = s
			}
		}},
		{"dashboard", nil},
		{"metrics", nil},
	})
}

// Log says how much the daemon tells.
type Log struct {
	Level string // debug, info, warn or error
}

func (r *reader) log(n *yaml.Node, l *Log) {
	r.mapping(n, "log", []field{
		{"level", func(n *yaml.Node) {
			if w, ok := r.word(n, "level", "debug", "info", "warn", "error"); ok {
				l.Level = w
			}
		}},
		{"flows", nil},
	})
}
