package netcfg

import (
	"fmt"

	"github.com/google/nftables"
)

// Untrack keeps packets that a program on this host sends with a mark out of
// conntrack, until undo is called or this process ends. The resets of a dead
// process's connections need it towards the client: conntrack knows the
// connection by its addresses towards the server, would take them for a
// connection of its own and change their source port. It works in the namespace
// of the calling thread.
func Untrack(names Names) (mark uint32, undo func() error, err error) {
	names = names.withDefaults()
	mark = names.fragmentMark() // which no ip rule asks for
	r := &ruleset{table: names.Table + "_untrack", owner: true, chains: []chain{{
		name: "own", kind: nftables.ChainTypeFilter, hook: nftables.ChainHookOutput, priority: beforeTrack,
		rules: []rule{{names.hasMark(mark), notrack(), accept()}},
	}}}
	t, err := openTable(r.table, r.owner)
	if err != nil {
		return 0, nil, err
	}
	if err := t.install(r); err != nil {
		return 0, nil, fmt.Errorf("%w (closing: %v)", err, t.conn.CloseLasting())
	}
	return mark, t.close, nil
}
