package splice

// Counters count what the flows of one shard do. They only grow.
type Counters struct {
	// By counts by Reason: handshakes that made no record, segments with data
	// that stayed on the wire, packets that changed nothing, drains, ends.
	By [Reasons]uint64

	Established uint64 // handshakes that made a record
	Split       uint64 // flows that were split
	Entered     uint64 // times custody began
	Adopted     uint64 // of them with bytes on their way, from a shadow
	Shadows     uint64 // times a shadow began
	Exited      uint64 // times it ended on the wire
	Resets      uint64 // RSTs of accd's own

	// Payload bytes by sender: acknowledged by accd, and passed.
	TakenBytes, PassedBytes [2]uint64
}
