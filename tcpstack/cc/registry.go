package cc

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Param describes one parameter of an algorithm.
type Param struct {
	Name              string
	Unit              string // and meaning, for people
	Default, Min, Max float64
}

// IsTime reports whether p is a time, whose values are in seconds.
func (p *Param) IsTime() bool { return strings.HasPrefix(p.Unit, "time ") }

// Format writes a value of p as a configuration file does.
func (p *Param) Format(v float64) string {
	if !p.IsTime() {
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	s := time.Duration(math.Round(v * float64(time.Second))).String()
	if strings.HasSuffix(s, "m0s") {
		return strings.TrimSuffix(s, "0s")
	}
	return s
}

// algorithms is every congestion control there is. A new one is a file, a line
// here and a row in the shared test.
var algorithms = map[string]struct {
	new    func(Config) Controller
	params []Param
}{
	"bbr":    {newBBR, bbrParameters},
	"cubic":  {newCubic, cubicParams},
	"hybla":  {newHybla, hyblaParams},
	"ledbat": {newLEDBAT, ledbatParams},
	"reno":   {newReno, renoParams},
}

// Names gives the algorithms by name, sorted.
func Names() []string { return slices.Sorted(maps.Keys(algorithms)) }

// Parameters gives what an algorithm accepts; nil if there is none of that
// name. Read-only.
func Parameters(name string) []Param { return algorithms[name].params }

// New makes a controller. The error names what would be accepted.
func New(name string, cfg Config) (Controller, error) {
	construct, err := Constructor(name, cfg.Params)
	if err != nil {
		return nil, err
	}
	return construct(cfg), nil
}

// Constructor checks a name and parameters once and gives what makes
// controllers of them; it ignores the Params of the Config it is called with.
func Constructor(name string, p Params) (func(Config) Controller, error) {
	alg, ok := algorithms[name]
	if !ok {
		return nil, fmt.Errorf("cc: no algorithm %q; there are %s", name, strings.Join(Names(), ", "))
	}
	for _, key := range slices.Sorted(maps.Keys(p)) { // sorted: the same error every time
		i := slices.IndexFunc(alg.params, func(q Param) bool { return q.Name == key })
		if i < 0 {
			return nil, fmt.Errorf("cc: %s has no parameter %q; it accepts %s", name, key, list(alg.params))
		}
		q := alg.params[i]
		if v := p[key]; !(v >= q.Min && v <= q.Max) { // so that NaN is refused
			return nil, fmt.Errorf("cc: %s: %s is %v; it must be from %v to %v (%s)", name, key, v, q.Format(q.Min), q.Format(q.Max), q.Unit)
		}
	}
	return func(cfg Config) Controller {
		cfg.Params = p
		if cfg.MSS < 1 {
			cfg.MSS = 536 // RFC 9293, 3.7.1: the MSS of a peer that named none
		}
		if cfg.InitialWindow < 1 {
			cfg.InitialWindow = max(2, min(10, 14600/cfg.MSS)) // RFC 6928, 2
		}
		return alg.new(cfg)
	}, nil
}

// renew gives the memory of an old controller, if that was of the same algorithm, or
// new memory.
func renew[T any](old Controller) *T {
	if c, ok := old.(*careful); ok {
		old = c.Controller
	}
	if t, ok := any(old).(*T); ok {
		return t
	}
	return new(T)
}

func list(params []Param) string {
	names := make([]string, len(params))
	for i, q := range params {
		names[i] = q.Name
	}
	return strings.Join(names, ", ")
}

// value gives a parameter as configured, else its default.
func (p Params) value(params []Param, name string) float64 {
	if v, ok := p[name]; ok {
		return v
	}
	for i := range params {
		if params[i].Name == name {
			return params[i].Default
		}
	}
	panic("cc: BUG: undeclared parameter " + name)
}
