package netcfg

import (
	"fmt"
	"time"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The set alive of a table holds the families whose heartbeat lasts, as the hooks of
// the table tell families apart.
type hooks struct {
	text string
	key  expr.MetaKey
}

var (
	atIP     = hooks{"meta nfproto", expr.MetaKeyNFPROTO}   // of family inet
	atDevice = hooks{"meta protocol", expr.MetaKeyPROTOCOL} // of family netdev
)

// alive matches while the heartbeat lasts. It leaves a key that the rule has loaded
// alone.
func (h hooks) alive() part {
	return part{text: h.text + " @alive", exprs: []expr.Any{
		&expr.Meta{Key: h.key, Register: regLast},
		&expr.Lookup{SourceRegister: regLast, SetName: "alive"},
	}}
}

// beat refreshes the family of the packet in the set alive.
func (h hooks) beat(timeout time.Duration) part {
	return part{
		text: fmt.Sprintf("update @alive { %s timeout %s }", h.text, timeText(timeout)),
		exprs: []expr.Any{
			&expr.Meta{Key: h.key, Register: reg1},
			&expr.Dynset{SrcRegKey: reg1, SetName: "alive", Operation: unix.NFT_DYNSET_OP_UPDATE, Timeout: timeout},
		},
	}
}
