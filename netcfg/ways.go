package netcfg

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables"
	"go.uber.org/zap"
)

// ways is the shortcut in the kernel, and who would mind it.
type ways struct {
	nft     *nftTable
	others  *onlookers
	from    []arrival // where it begins; none: there is no table
	stale   bool      // the plan has changed since it was made
	checked time.Time // whether it is as it should be
}

// waysChecked is how often it is looked whether interfaces have come or gone, or filter
// what arrives, and whether the table is there.
const waysChecked = time.Second

// openWays makes nothing yet.
func openWays(p *Plan) (w *ways, err error) {
	w = new(ways)
	if w.others, err = openOnlookers(p.Names); err != nil {
		return nil, err
	}
	if w.nft, err = openTable(nftables.TableFamilyNetdev, p.Table, p.owned()); err != nil {
		return nil, errors.Join(err, w.others.close())
	}
	return w, nil
}

// onlooker names who minds. Who cannot be asked for may be there.
func (w *ways) onlooker() string {
	who, err := w.others.look()
	if err != nil {
		return err.Error()
	}
	return who
}

// close takes the shortcut away.
func (w *ways) close() error { return errors.Join(w.nft.close(), w.others.close()) }

// String says where the shortcut begins.
func (w *ways) String() string {
	var names []string
	for _, a := range w.from {
		names = append(names, a.name)
	}
	return strings.Join(names, ", ")
}

// openShortcut makes the shortcut for the interfaces that are there, if those or the plan
// have changed since, or somebody has taken it away. Where it cannot be made everything
// goes the long way.
func (s *Steering) openShortcut() {
	w := s.ways
	w.checked = time.Now()
	from := s.plan.arrivals(s.host)
	whole, err := w.nft.whole()
	if slices.Equal(from, w.from) && !w.stale && (whole || err != nil) {
		return
	}
	if w.from, w.stale = from, false; len(from) > 0 {
		err = w.nft.install(shortcut(&s.plan, from, s.indexes(), s.on))
	} else {
		err = w.nft.remove()
	}
	switch {
	case err != nil:
		s.log.Warn("no shortcut: packets go the long way", zap.NamedError("shortcut", err), zap.NamedError("undone", w.nft.remove()))
	case len(from) > 0:
		s.log.Info("packets of known flows take the shortcut", zap.Stringer("from", w))
	}
}

// mind closes the shortcut for good when somebody on the host has begun to look at
// packets, or else sees to it that it begins where it should. If it fails it has not
// closed it for good, and is to be called again.
func (s *Steering) mind() error {
	w := s.ways
	if w == nil || s.track != untracked {
		return nil
	}
	who := w.onlooker()
	if who == "" {
		if time.Since(w.checked) >= waysChecked {
			s.openShortcut()
		}
		return nil
	}
	if err := errors.Join(w.nft.remove(), s.nft.replace(steering(&s.plan, s.indexes(), s.on, joined))); err != nil {
		return err
	}
	s.track, w.from = joined, nil
	s.log.Info("the shortcut is closed, and conntrack knows steered connections from now on, because somebody looks at packets",
		zap.String("who", who))
	return nil
}

// filtersStrictly reports that a device drops packets whose source has another way
// back (RFC 3704, 2.2), which those that take the shortcut are not asked for. The kernel
// uses the larger of its own setting and that of all.
func filtersStrictly(dev string) bool {
	of := func(dev string) string { return readSetting("net/ipv4/conf/" + dev + "/rp_filter") }
	return max(of(dev), of("all")) == "1"
}
