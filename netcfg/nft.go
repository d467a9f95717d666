package netcfg

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// nftTable is our table in the kernel, and the connection that owns it. Its
// methods may be called from any goroutine.
type nftTable struct {
	mu     sync.Mutex
	conn   *nftables.Conn
	socket *netlink.Conn // of conn, in family netdev
	table  *nftables.Table
	sets   map[string]*nftables.Set
	filled map[string][]nftables.SetElement // as in ruleset
	rules  map[string]int                   // in each base chain
}

// maxSocket is the largest descriptor that google/nftables can wait on: it uses
// select(2).
const maxSocket = unix.FD_SETSIZE - 1

// openTable opens the connection. It makes no table yet.
func openTable(family nftables.TableFamily, name string, owner bool) (*nftTable, error) {
	// A new descriptor is the lowest that is free.
	fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("netcfg: nft table %s: %w", name, err)
	}
	unix.Close(fd)
	// Opening may need a few more descriptors than the socket itself.
	if fd > maxSocket-16 {
		return nil, fmt.Errorf("netcfg: nft table %s: the next descriptor is %d, nftables needs one below %d: call Up before opening so many files", name, fd, maxSocket-16)
	}
	t := &nftTable{table: &nftables.Table{Name: name, Family: family}}
	if owner {
		t.table.Flags = nftables.TableFlagOwner
	}
	options := []nftables.ConnOption{nftables.AsLasting()}
	if family == nftables.TableFamilyNetdev {
		options = append(options, t.keepSocket())
	}
	if t.conn, err = nftables.New(options...); err != nil {
		return nil, nftError(name, err)
	}
	return t, nil
}

// install makes the table anew, sets and all, in one transaction: until it is
// done, and if it fails, the old one stays.
func (t *nftTable) install(r *ruleset) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conn.AddTable(t.table)
	t.conn.DelTable(t.table)
	t.conn.AddTable(t.table)
	t.sets = make(map[string]*nftables.Set)
	for _, s := range r.sets {
		set := *s
		set.Table = t.table
		if err := t.conn.AddSet(&set, r.filled[s.Name]); err != nil {
			return nftError(r.table, err)
		}
		t.sets[s.Name] = &set
	}
	t.filled = r.filled
	return t.addChains(r)
}

// replace changes the chains to those of r, which has all that were there, in one
// transaction and leaves the sets and what they hold alone.
func (t *nftTable) replace(r *ruleset) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range r.chains {
		t.conn.FlushChain(t.addChain(&c))
	}
	return t.addChains(r)
}

// addChains adds the chains, where they are missing, with their rules and
// commits.
func (t *nftTable) addChains(r *ruleset) error {
	rules := make(map[string]int)
	for _, c := range r.chains {
		ch := t.addChain(&c)
		if c.hook != nil {
			rules[c.name] = len(c.rules)
		}
		for _, rule := range c.rules {
			exprs, err := t.expressions(rule)
			if err != nil {
				return nftError(r.table, fmt.Errorf("rule %s: %w", rule, err))
			}
			t.conn.AddRule(&nftables.Rule{Table: t.table, Chain: ch, Exprs: exprs})
		}
	}
	if err := t.conn.Flush(); err != nil {
		return nftError(r.table, err)
	}
	for _, c := range r.chains {
		if c.to != nil {
			if err := t.forward(&c); err != nil {
				return nftError(r.table, err)
			}
		}
	}
	t.rules = rules
	return nil
}

// addChain adds a chain, where it is missing, to the batch.
func (t *nftTable) addChain(c *chain) *nftables.Chain {
	ch := &nftables.Chain{Name: c.name, Table: t.table}
	if c.hook != nil {
		policy := nftables.ChainPolicyAccept
		ch.Type, ch.Hooknum, ch.Priority, ch.Policy, ch.Device = c.kind, c.hook, &c.priority, &policy, c.device
	}
	return t.conn.AddChain(ch)
}

// expressions gives those of a rule and adds its anonymous sets to the batch.
func (t *nftTable) expressions(r rule) ([]expr.Any, error) {
	var out []expr.Any
	for _, p := range r {
		out = append(out, p.exprs...)
		if p.anon == nil {
			continue
		}
		set := &nftables.Set{
			Table: t.table, Anonymous: true, Constant: true,
			KeyType: p.anon.key, Interval: p.anon.interval,
		}
		if err := t.conn.AddSet(set, p.anon.elements); err != nil {
			return nil, err
		}
		out = append(out, &expr.Lookup{SourceRegister: reg1, SetName: set.Name, SetID: set.ID, Invert: p.anon.invert})
	}
	return out, nil
}

// add adds elements to a set in one transaction.
func (t *nftTable) add(set string, elements []nftables.SetElement) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return errors.Join(t.conn.SetAddElements(t.sets[set], elements), t.conn.Flush())
}

// remove removes the table; it need not be there.
func (t *nftTable) remove() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conn.AddTable(t.table)
	t.conn.DelTable(t.table)
	if err := t.conn.Flush(); err != nil {
		return nftError(t.table.Name, err)
	}
	t.filled, t.rules = nil, nil
	return nil
}

// close removes the table and closes the connection.
func (t *nftTable) close() error { return errors.Join(t.remove(), t.conn.CloseLasting()) }

// removeTables removes the tables of that name; none is fine. The owner of a table,
// if it has one, is given some time to die.
func removeTables(name string) error {
	conn, err := nftables.New()
	if err != nil {
		return nftError(name, err)
	}
	for deadline := time.Now().Add(dying); ; time.Sleep(5 * time.Millisecond) {
		tables, err := conn.ListTables()
		if err != nil {
			return nftError(name, err)
		}
		i := slices.IndexFunc(tables, func(t *nftables.Table) bool {
			return t.Name == name && (t.Family == nftables.TableFamilyINet || t.Family == nftables.TableFamilyNetdev)
		})
		if i < 0 {
			return nil
		}
		conn.DelTable(tables[i])
		err = conn.Flush()
		// ENOENT: it is gone meanwhile; EPERM: somebody owns it.
		owned := errors.Is(err, unix.EPERM) && tables[i].Flags&nftables.TableFlagOwner != 0
		if owned && time.Now().After(deadline) {
			return fmt.Errorf("%w (another process owns nft table %s)", ErrRunning, name)
		}
		if err != nil && !errors.Is(err, unix.ENOENT) && !owned {
			return nftError(name, err)
		}
	}
}

// nftError explains the usual reasons why nft refuses.
func nftError(table string, err error) error {
	remedy := ""
	switch {
	case errors.Is(err, unix.EPERM):
		remedy = "; run as root or with CAP_NET_ADMIN; or another process owns the table: is another accd running?"
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EAFNOSUPPORT):
		remedy = "; the kernel has no nf_tables: load it (modprobe nf_tables nf_tables_inet) or use a kernel with CONFIG_NF_TABLES_INET"
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EOPNOTSUPP):
		remedy = "; the kernel lacks a part of nf_tables: want CONFIG_NFT_CT, NFT_FIB_INET and NF_CONNTRACK (modprobe nft_ct nft_fib_inet), for the shortcut NF_TABLES_NETDEV and NFT_FWD_NETDEV"
	case errors.Is(err, unix.EINVAL):
		remedy = "; the kernel is too old for this: want 5.12 or newer (without the owner flag 5.4)"
	case errors.Is(err, unix.ENOBUFS):
		remedy = "; raise net.core.wmem_max and net.core.rmem_max"
	}
	return fmt.Errorf("netcfg: nft table %s: %w%s", table, err, remedy)
}
