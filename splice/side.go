// Package splice is custody: the rules by which accd takes, keeps and gives back
// responsibility for the bytes of a flow. It is pure, as tcpstack is.
// docs/custody.md is its specification; comments cite its paragraphs.
//
// An Opening follows handshakes and makes Records. A Flow is one connection: a
// Record while it is on the wire, two Conns and two Streams in custody.
package splice

// Side names an endpoint of a flow, and the leg towards it, by TCP role.
type Side uint8

// The sides. The client is who sent the SYN.
const (
	Client Side = iota
	Server
)

// Other gives the opposite side.
func (s Side) Other() Side { return 1 - s }

// String gives "client" or "server".
func (s Side) String() string {
	if s == Client {
		return "client"
	}
	return "server"
}

// Disposition says what becomes of a packet.
type Disposition uint8

// Dispositions.
const (
	Pass  Disposition = iota // the packet leaves unmodified through the other tap; the payload was not taken
	Taken                    // accd answers for it; the packet ends here and its payload was taken
)

// Network is the network a leg crosses, from the interface its packets use.
type Network uint8

// Networks.
const (
	Unknown Network = iota // of another interface, or it cannot be told
	LAN
	WAN
)

// State says who answers for a flow's bytes.
type State uint8

// States. The zero State is that of a Flow before Start.
const (
	OnWire    State = iota // the endpoints: packets pass and are followed
	InCustody              // accd: it acknowledges and delivers
	Draining               // packets pass; accd still delivers what it acknowledged
	Gone                   // nobody: the Flow can be forgotten
)

// String gives the state as operators read it.
func (s State) String() string {
	return [...]string{"wire", "custody", "drain", "gone"}[s]
}
