package netcfg

import (
	"strings"
	"testing"
)

// Where nobody looks at packets, conntrack knows no connection of a process that died:
// asked, it would keep resets for the server on the host.
func TestUntrackAsksConntrackOnlyWhereNATMayBe(t *testing.T) {
	for _, x := range []struct {
		name   string
		lab    func(testing.TB) *routerLab
		tables int
	}{{"nobody looks", newPlainLab, 0}, {"NAT", newRouterLab, 1}} {
		t.Run(x.name, func(t *testing.T) {
			r := x.lab(t)
			before := r.snapshot()
			r.ok(r.box.Do(func() error {
				_, undo, err := Untrack(Names{})
				if err != nil {
					return err
				}
				if n := strings.Count(r.run(r.box, "nft", "list", "tables"), "accd_untrack"); n != x.tables {
					t.Errorf("%d tables, want %d", n, x.tables)
				}
				return undo()
			}))
			if after := r.snapshot(); after != before {
				t.Errorf("the host is not as it was:\n%s\nnow:\n%s", before, after)
			}
		})
	}
}
