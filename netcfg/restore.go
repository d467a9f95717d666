package netcfg

import (
	"errors"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// forever is longer than any process runs, and less than the kernel can count.
const forever = 100 * 365 * 24 * time.Hour

// landmark is an element of the family's set of flows in a table that others may
// change: where it is missing, somebody has emptied the set. No packet has its key.
func (f *family) landmark() []nftables.SetElement {
	n := 2 * 4
	for range 2 {
		n += len(f.neighbour(Unknown).AsSlice())
	}
	return []nftables.SetElement{{Key: make([]byte, n), Timeout: forever}}
}

// whole reports that the table, if it was made, its sets with their landmarks, and the rules
// of its base chains are there. What others have added does not count. A table that
// is owned is whole.
func (t *nftTable) whole() (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.table.Flags&nftables.TableFlagOwner != 0 {
		return true, nil
	}
	there := func(err error) (bool, error) {
		if errors.Is(err, unix.ENOENT) {
			return false, nil
		}
		return err == nil, err
	}
	for set, landmark := range t.filled {
		_, err := t.conn.FindSetElements(t.sets[set], landmark)
		if ok, err := there(err); !ok {
			return false, err
		}
	}
	for name, n := range t.rules {
		rules, err := t.conn.GetRules(t.table, &nftables.Chain{Name: name})
		if ok, err := there(err); !ok || len(rules) < n {
			return false, err
		}
	}
	return true, nil
}

// Restore makes the nft table anew where somebody else has removed it, emptied its
// sets or taken its rules, as a firewall does when it is loaded again, and reports
// that: every flow is native then until Steer or a new SYN adds it. Others can do so
// only where steering has to outlive the process (Plan.Block, Plan.NoOwner). The shortcut
// is made anew by Beat.
func (s *Steering) Restore() (lost bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return false, errDown
	}
	whole, err := s.nft.whole()
	if err != nil {
		return false, nftError(s.plan.Table, err)
	}
	if whole {
		return false, nil
	}
	return true, s.nft.install(steering(&s.plan, s.indexes(), s.on, s.track))
}
