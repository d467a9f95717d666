package netcfg

import (
	"errors"

	"github.com/google/nftables"
)

// Untrack readies the host for resets of a dead process's connections, until
// undo is called or this process ends. Conntrack knows such a connection by its
// addresses towards the server. So packets for its client get a mark, which keeps
// them out of conntrack: it would take them for a connection of its own and
// change their source port. And a reset for the server that conntrack does not
// believe is dropped: it would leave without NAT. Where nobody looks at packets
// there is no NAT, and conntrack was left alone and would believe hardly any reset:
// nothing is done there. It works in the namespace of the calling thread.
func Untrack(names Names) (mark uint32, undo func() error, err error) {
	names = names.withDefaults()
	mark = names.fragmentMark() // which no ip rule asks for
	others, err := openOnlookers(names)
	if err != nil {
		return 0, nil, err
	}
	who, err := others.look()
	if err := errors.Join(err, others.close()); err != nil {
		return 0, nil, err
	}
	if who == "" {
		return mark, func() error { return nil }, nil
	}
	r := &ruleset{family: nftables.TableFamilyINet, table: names.Table + "_untrack", owner: true, chains: []chain{
		{
			name: "untracked", kind: nftables.ChainTypeFilter, hook: nftables.ChainHookOutput, priority: beforeTrack,
			rules: []rule{{names.hasMark(mark), notrack(), accept()}},
		}, {
			name: "tracked", kind: nftables.ChainTypeFilter, hook: nftables.ChainHookOutput, priority: afterNAT,
			rules: []rule{{tcp(), invalid(), drop()}},
		},
	}}
	t, err := openTable(r.family, r.table, r.owner)
	if err != nil {
		return 0, nil, err
	}
	if err := t.install(r); err != nil {
		return 0, nil, errors.Join(err, t.conn.CloseLasting())
	}
	return mark, t.close, nil
}
