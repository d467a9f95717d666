package netcfg

// tracking is what conntrack has to do with steered flows.
type tracking uint8

const (
	// tracked: somebody on the host may ask conntrack, for NAT or for a firewall, so it
	// has to know what is between accd and the servers.
	tracked tracking = iota
	// untracked: nobody does. Then the table leaves it alone: where nobody else has it
	// run, it does not run at all.
	untracked
	// joined: somebody has begun to while flows were steered untracked. Conntrack takes
	// the first packet it sees of such a flow for the first of a connection, whoever
	// sent it.
	joined
)

// unseen ends the way of a packet through the table, behind which conntrack does not
// see it.
func (t tracking) unseen() rule {
	if t == untracked {
		return rule{accept()}
	}
	return rule{notrack(), accept()}
}
