package splice

// Reason says why a flow or a packet was not accelerated, left custody or
// ended. Every pass, drain and end has one.
type Reason uint8

// Reasons.
const (
	None Reason = iota

	// Why a handshake made no record.
	SYNOptions   // an option that is not harmless: MPTCP, MD5, AO, unknown, malformed
	SYNChanged   // a repeated SYN or SYN-ACK differs from the first
	Simultaneous // both ends sent a SYN
	TinyMSS      // an endpoint takes less in a segment than accd would send
	Unseen       // the slot was given to a younger handshake

	// Why a segment with data stayed on the wire.
	Policy      // the rule says pass, or the flow was drained for good
	Busy        // bytes that accd does not hold are unacknowledged
	Window      // the receiver's window is closed, or the sender was not told of so much
	NoTimestamp // the TSval to send is not known, or too old
	Budget      // the memory for the window the sender may fill is not there
	LedgerFull  // no slot to list the flow in
	Unsynced    // steering had a gap: next and acked are not known
	Odd         // flags or options that never enter custody

	// Why a shadow ended without custody.
	ShadowFull // the memory for it is not there
	ShadowTorn // a FIN or an odd segment passed, or steering had a gap
	ShadowLate // custody did not begin in its time

	// Why a packet changed nothing.
	Unbelieved // outside what an endpoint would accept
	ForgedRST  // an RST whose sequence number is not exact

	// Why custody went to drain.
	Urgent        // an urgent segment
	UnknownOption // an option accd does not know
	IPOption      // an IP option or extension header
	Fragment      // an IP fragment
	Operator      // drain or bypass was asked for
	Stop          // accd stops
	Gap           // steering had a gap
	Restart       // the shard restarted
	Silent        // a leg does not answer
	BlackHole     // full segments are lost, smaller ones perhaps not

	// Why a flow ended.
	Finished // FINs passed in both directions, and everything before them is acknowledged
	Reset    // an endpoint reset it
	Lost     // an endpoint does not answer any more
	Killed   // the deadline of a stop
	Replaced // a new connection uses its tuple

	Reasons // how many there are
)

var reasonNames = [Reasons]string{
	None:          "none",
	SYNOptions:    "syn-options",
	SYNChanged:    "syn-changed",
	Simultaneous:  "simultaneous-open",
	TinyMSS:       "tiny-mss",
	Unseen:        "handshake-evicted",
	Policy:        "policy",
	Busy:          "busy",
	Window:        "window",
	NoTimestamp:   "no-timestamp",
	Budget:        "budget",
	LedgerFull:    "ledger-full",
	Unsynced:      "unsynced",
	Odd:           "odd-segment",
	ShadowFull:    "shadow-full",
	ShadowTorn:    "shadow-torn",
	ShadowLate:    "shadow-late",
	Unbelieved:    "unbelieved",
	ForgedRST:     "rst-not-exact",
	Urgent:        "urgent",
	UnknownOption: "unknown-option",
	IPOption:      "ip-option",
	Fragment:      "fragment",
	Operator:      "operator",
	Stop:          "stop",
	Gap:           "gap",
	Restart:       "restart",
	Silent:        "silent",
	BlackHole:     "black-hole",
	Finished:      "finished",
	Reset:         "reset",
	Lost:          "lost",
	Killed:        "killed",
	Replaced:      "replaced",
}

// String gives the name that metrics and logs use.
func (r Reason) String() string { return reasonNames[r] }

// forGood reports whether a flow drained for r stays on the wire.
func (r Reason) forGood() bool { return r == Operator || r == Stop || r == Policy }
