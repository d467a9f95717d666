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

// has reports that the table, its sets of flows and their landmarks are there.
func (t *nftTable) has(landmarks []*family) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range landmarks {
		_, err := t.conn.FindSetElements(t.sets[f.flows()], f.landmark())
		if errors.Is(err, unix.ENOENT) {
			return false, nil
		}
		if err != nil {
			return false, nftError(t.table.Name, err)
		}
	}
	return true, nil
}

// Restore makes the nft table anew where somebody else has removed it or emptied
// its sets, as a firewall does when it is loaded again, and reports that: every flow
// is native then until Steer or a new SYN adds it. Others can do so only where
// steering has to outlive the process (Plan.Block, Plan.NoOwner).
func (s *Steering) Restore() (lost bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return false, errDown
	}
	if s.plan.owned() {
		return false, nil
	}
	if whole, err := s.nft.has(families); whole || err != nil {
		return false, err
	}
	return true, s.nft.install(steering(&s.plan, s.on))
}
