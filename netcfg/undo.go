package netcfg

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Cleanup removes what a process that died has left under these names: rules,
// routes, tables, taps, and settings it changed. ErrRunning means that a process
// is alive and in charge. It works in the namespace of the calling thread.
func Cleanup(names Names) error {
	if err := needPrivileges(); err != nil {
		return err
	}
	names = names.withDefaults()
	j, err := openJournal(names.StateDir)
	if err != nil {
		return err
	}
	err = undoHost(&names, j)
	if errors.Is(err, ErrRunning) {
		return errors.Join(err, j.release())
	}
	if err := errors.Join(err, removeTaps(&names)); err != nil {
		return errors.Join(err, j.file.Close())
	}
	return j.remove()
}

// undoHost removes the nft tables, rules and routes and restores settings.
// Nothing of it needs to exist. It touches nothing, and says ErrRunning, if a
// living process owns the table: one with another journal.
func undoHost(names *Names, j *journal) error {
	if err := removeTables(names.Table); err != nil {
		return err
	}
	h, err := newHandle()
	if err != nil {
		return err
	}
	defer h.Close()
	var errs []error
	for _, f := range families {
		errs = append(errs, undoRules(h, names, f), undoRoutes(h, names, f))
	}
	return errors.Join(append(errs, j.restore())...)
}

// undoRules puts the local rule back to the front, if it was ours that stands
// for it, and removes our rules.
func undoRules(h *netlink.Handle, names *Names, f *family) error {
	rules, err := h.RuleList(f.af())
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EAFNOSUPPORT) {
		return nil // the kernel has no rules for the family, so there are none of ours
	}
	if err != nil {
		return fmt.Errorf("netcfg: ip rules of %s: %w", f.name, err)
	}
	var ours []ipRule
	movedLocal := false
	for _, r := range rules {
		if r.Protocol != routeProtocol || r.Priority < names.Preference || r.Priority > names.localPreference() {
			continue
		}
		mine := ipRule{family: f, preference: r.Priority, mark: r.Mark, table: r.Table, next: max(r.Goto, 0), delete: true}
		if r.Mask != nil {
			mine.mask = *r.Mask
		}
		ours = append(ours, mine)
		movedLocal = movedLocal || r.Table == unix.RT_TABLE_LOCAL
	}
	if movedLocal && !slices.ContainsFunc(rules, isFirstLocal) {
		first := ipRule{family: f, table: unix.RT_TABLE_LOCAL, kernel: true}
		if err := first.apply(h); err != nil {
			return err // and keep the one that stands for it
		}
	}
	var errs []error
	for _, r := range ours {
		errs = append(errs, r.apply(h))
	}
	return errors.Join(errs...)
}

// undoRoutes removes the routes in our tables.
func undoRoutes(h *netlink.Handle, names *Names, f *family) error {
	all, err := h.RouteListFiltered(f.af(), &netlink.Route{Protocol: routeProtocol, Table: unix.RT_TABLE_UNSPEC},
		netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
	if err != nil {
		return fmt.Errorf("netcfg: routes of %s: %w", f.name, err)
	}
	var errs []error
	for _, r := range all {
		if r.Table < names.RouteTable || r.Table > names.table(server, WAN) {
			continue
		}
		// Those by a tap may go with it at any moment.
		if err := h.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, fmt.Errorf("netcfg: route in table %d: %w", r.Table, err))
		}
	}
	return errors.Join(errs...)
}

// dying is how long a process that was killed may take to let go of its devices
// and tables. With a lot of memory it takes tens of milliseconds.
const dying = 2 * time.Second

// awaitTapsGone waits for the taps of a predecessor that is dying: its lock may
// be free before they are. If they stay, somebody alive has them.
func awaitTapsGone(names *Names) error {
	for deadline := time.Now().Add(dying); ; time.Sleep(5 * time.Millisecond) {
		there := ""
		for _, name := range []string{names.ClientTap, names.ServerTap} {
			if link, err := netlink.LinkByName(name); err == nil {
				if _, isTap := link.(*netlink.Tuntap); isTap {
					there = name
				}
			}
		}
		if there == "" {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("netcfg: tap %s exists: if no accd with another socket is running, remove it with ip link del %s, or choose another name", there, there)
		}
	}
}

// removeTaps removes taps that a descriptor, lost in some child process, has
// kept alive.
func removeTaps(names *Names) error {
	var errs []error
	for _, name := range []string{names.ClientTap, names.ServerTap} {
		link, err := netlink.LinkByName(name)
		if err != nil {
			continue
		}
		if _, ok := link.(*netlink.Tuntap); !ok {
			errs = append(errs, fmt.Errorf("netcfg: %s is a %s, not a tap of accd: it stays", name, link.Type()))
		} else if err := netlink.LinkDel(link); err != nil {
			errs = append(errs, fmt.Errorf("netcfg: remove tap %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
