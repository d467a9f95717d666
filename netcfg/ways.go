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
	strict  func(dev string) bool
	from    []arrival // where it begins; none: there is no table
	checked time.Time // whether these are there
}

// waysChecked is how often it is looked whether interfaces have come or gone.
const waysChecked = time.Second

// openWays makes nothing yet.
func openWays(p *Plan, x *host) (*ways, error) {
	w := &ways{strict: x.filtersStrictly}
	var err error
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

// openShortcut makes the shortcut for the interfaces that are there, if those have changed
// since. Where it cannot be made everything goes the long way.
func (s *Steering) openShortcut() {
	w := s.ways
	w.checked = time.Now()
	from := s.plan.arrivals(s.host, w.strict)
	if slices.Equal(from, w.from) {
		return
	}
	var err error
	if w.from = from; len(from) > 0 {
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
// packets, or else sees to it that it begins where it should.
func (s *Steering) mind() error {
	w := s.ways
	if w == nil || s.track != untracked {
		return nil
	}
	if who := w.onlooker(); who != "" {
		s.log.Info("the shortcut is closed, and conntrack knows steered connections from now on, because somebody looks at packets",
			zap.String("who", who))
		w.from = nil
		s.track = joined
		return errors.Join(w.nft.remove(), s.nft.replace(steering(&s.plan, s.indexes(), s.on, s.track)))
	}
	if time.Since(w.checked) >= waysChecked {
		s.openShortcut()
	}
	return nil
}

// filtersStrictly reports that a device drops packets whose source has another way
// back (RFC 3704, 2.2), which those that take the shortcut are not asked for.
func (x *host) filtersStrictly(dev string) bool {
	own, there := x.rpFilter[dev]
	if !there {
		own = x.rpFilter["default"]
	}
	return max(own, x.rpFilter["all"]) == "1"
}
