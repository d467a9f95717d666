package terminator

// Reason says why a shard passed a frame that no flow was asked about, or
// dropped it, or did not make a flow of a handshake.
type Reason uint8

// Reasons to pass a frame unmodified.
const (
	NoFlow        Reason = iota // TCP of a connection accd does not follow
	Opening                     // part of a handshake
	Rule                        // the policy says pass
	BadChecksum                 // corrupted on its way: changes nothing here
	Fragmented                  // an IP fragment
	IPOptions                   // IPv4 options or IPv6 extension headers
	NotTCP                      // another protocol
	ICMPError                   // about a connection, but not about a packet of accd's own
	Malformed                   // TCP header that contradicts itself
	Stopping                    // accd is about to end
	TableFull                   // limits.flows is reached: the flow stays native
	TooManyNew                  // limits.new_flows_per_second is reached: the flow stays native
	Land                        // source and destination are the same address
	NotUnicast                  // from or to an address that is no host's: multicast, broadcast, unspecified
	ClientOpening               // limits.per_client_opening is reached: the flow stays native

	// Reasons for which accd sends something else instead.
	Rewritten // part of a handshake that is split

	// Reasons to drop a frame.
	NotForUs    // not sent to the neighbour the routes point to: the host's own chatter
	NotIP       // no IP packet that the kernel would have forwarded
	BadHeader   // by the shortcut: the IPv4 header is corrupt
	TTLExceeded // by the shortcut: it has gone too far
	HandoffFull // another shard's inbox is full
	Unanswered  // of a client that is answered early: there is no room, or what has to come before it was lost

	reasons
)

var reasonNames = [reasons]string{
	NoFlow: "no-flow", Opening: "opening", Rule: "rule", BadChecksum: "bad-checksum", Fragmented: "fragment",
	IPOptions: "ip-options", NotTCP: "not-tcp", ICMPError: "icmp-error", Malformed: "malformed", Stopping: "stopping",
	Land: "land", NotUnicast: "not-unicast",
	TableFull: "table-full", TooManyNew: "too-many-new", ClientOpening: "client-opening",
	Rewritten: "split-handshake",
	NotForUs:  "not-for-us", NotIP: "not-ip", BadHeader: "bad-ip-header", TTLExceeded: "ttl-exceeded", HandoffFull: "handoff-full", Unanswered: "unanswered",
}

// String gives the name operators see.
func (r Reason) String() string { return reasonNames[r] }

// drops reports whether frames with reason r end here.
func (r Reason) drops() bool { return r >= NotForUs }
