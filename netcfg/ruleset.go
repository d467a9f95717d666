package netcfg

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// ruleset is the desired nft table: pure data, which prints as nft reads it and
// which nftTable puts into the kernel. The sets outlive a reload, the chains do
// not.
type ruleset struct {
	family nftables.TableFamily // inet or netdev
	table  string
	owner  bool
	filled map[string][]nftables.SetElement // what sets begin with; the text does not say it
	sets   []*nftables.Set                  // without Table
	chains []chain
}

// chain is a base chain if it has a hook.
type chain struct {
	name     string
	kind     nftables.ChainType
	hook     *nftables.ChainHook
	device   string // of the hook ingress
	priority nftables.ChainPriority
	rules    []rule
	to       *device // instead of rules: every packet is handed to it
}

// device is an interface that exists.
type device struct {
	name  string
	index int
}

// rule is its parts in order.
type rule []part

// part is one condition or action of a rule: as text, and as expressions that
// mean the same to the kernel.
type part struct {
	text  string
	exprs []expr.Any
	anon  *anonymousSet // looked up after the expressions
}

// anonymousSet is a set that belongs to one rule.
type anonymousSet struct {
	key      nftables.SetDatatype
	interval bool
	elements []nftables.SetElement
	invert   bool // match what is not in it
}

// String gives the table as nft -f reads it, but for raw payload keys.
func (r *ruleset) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table %s %s {\n", map[nftables.TableFamily]string{nftables.TableFamilyINet: "inet", nftables.TableFamilyNetdev: "netdev"}[r.family], r.table)
	if r.owner {
		b.WriteString("\tflags owner\n")
	}
	for _, s := range r.sets {
		fmt.Fprintf(&b, "\tset %s { type %s; ", s.Name, s.KeyType.Name)
		if s.Size > 0 {
			fmt.Fprintf(&b, "size %d; ", s.Size)
		}
		fmt.Fprintf(&b, "flags dynamic,timeout; timeout %s; }\n", timeText(s.Timeout))
	}
	for _, c := range r.chains {
		fmt.Fprintf(&b, "\tchain %s {\n", c.name)
		if c.hook != nil {
			hook := map[nftables.ChainHook]string{*nftables.ChainHookPrerouting: "prerouting", *nftables.ChainHookOutput: "output"}[*c.hook]
			if c.device != "" {
				hook = fmt.Sprintf("ingress device %q", c.device)
			}
			fmt.Fprintf(&b, "\t\ttype %s hook %s priority %d; policy accept;\n", c.kind, hook, c.priority)
		}
		for _, r := range c.rules {
			fmt.Fprintf(&b, "\t\t%s\n", r)
		}
		if c.to != nil {
			fmt.Fprintf(&b, "\t\tfwd to %q\n", c.to.name)
		}
		b.WriteString("\t}\n")
	}
	b.WriteString("}\n")
	return b.String()
}

func (r rule) String() string {
	var words []string
	for _, p := range r {
		if p.text != "" {
			words = append(words, p.text)
		}
	}
	return strings.Join(words, " ")
}

// timeText writes a time as nft does: 1h, 10s, 700ms.
func timeText(d time.Duration) string {
	s := ""
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}, {time.Millisecond, "ms"}} {
		if n := d / u.unit; n > 0 {
			s += fmt.Sprintf("%d%s", n, u.name)
			d -= n * u.unit
		}
	}
	return s
}
