// Package splice is custody: the rules by which accd takes, keeps and gives back
// responsibility for the bytes of a flow. It is pure, as tcpstack is.
// docs/custody.md is its specification.
package splice

import (
	"accd/tcpstack"
	"accd/tcpstack/buf"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// Side names an endpoint of a flow, and the leg towards it, by TCP role.
type Side uint8

// The sides. The client is who sent the SYN.
const (
	Client Side = iota
	Server
)

// Other gives the opposite side.
func (s Side) Other() Side { return 1 - s }

// Disposition says what becomes of a packet.
type Disposition uint8

// Dispositions.
const (
	Pass  Disposition = iota // the packet leaves unmodified through the other tap; the payload was not taken
	Taken                    // accd answers for it; the packet ends here
)

// Network is the network a leg crosses, from the interface its packets use.
type Network uint8

// Networks.
const (
	Unknown Network = iota
	LAN
	WAN
)

// Meta is what a Flow is told of a packet beside the Segment.
type Meta struct {
	TTL, TOS  uint8
	FlowLabel uint32
	From      Network // where the packet came from
}

// Template is what the headers of packets that accd makes towards a side repeat
// from the packets of the opposite endpoint.
type Template struct {
	Tuple     wire.Tuple // Src is the endpoint accd speaks for
	TTL, TOS  uint8      // TOS without ECN
	FlowLabel uint32
	DstNet    Network
}

// Terms are what policy decided for a flow: shared, read-only.
type Terms struct {
	Rule      string
	Leg       [2]*tcpstack.Config // by Side; Relay is set
	MaxBuffer int                 // bytes held per direction, at most; 0: 64 MiB
}

// Env is what the flows of one shard share.
type Env struct {
	Pool   *buf.Pool // its budget bounds what is held
	Ledger *Ledger   // nil: none
	Count  *Counters
	// Steer asks for the flow's tuple to be put into the steering set again;
	// nil: nobody listens.
	Steer func(client wire.Tuple)
}

// Kept methods of the types of this package, as their users see them:
//
//	NewOpening(slots int) *Opening
//	(o *Opening) Receive(now, from, client wire.Tuple, s *tcpstack.Segment, m Meta, rec *Record) (established bool)
//	    Follows handshakes: SYN, SYN-ACK, ACK of tuples without a flow. established: rec is filled, make a Flow of it.
//	(f *Flow) Start(now, rec *Record, terms *Terms, env *Env)     f is zero
//	(f *Flow) Receive(now, from Side, s *tcpstack.Segment, m Meta) Disposition
//	(f *Flow) Transmit(now, p *tcpstack.Packet) (to Side, ok bool)
//	(f *Flow) Expire(now)
//	(f *Flow) Deadline() mono.Time
//	(f *Flow) Template(to Side, t *Template)
//	(f *Flow) PacketTooBig(now, to Side, seq wire.Seq, mtu int) Disposition    Taken: was for a packet of accd's own
//	(f *Flow) Drain(now, reason Reason)
//	(f *Flow) Gap(now)          steering had a gap: drain what is in custody, unsync the record
//	(f *Flow) Kill(now)         end of a stop: reset both sides if bytes are held
//	(f *Flow) State() State     OnWire, InCustody, Draining, Gone
//	(f *Flow) Held() [2]int     bytes held towards each side
//	(f *Flow) Record() *Record  plain old data
//	(f *Flow) Legs() (client, server *tcpstack.Conn)    nil on the wire
//	RelaySYN(v *wire.View, mss int)      what a relayed SYN or SYN-ACK is changed in: MSS clamp, ECE/CWR/AE cleared
type contract struct{ _ mono.Time }

// Ledger and Counters are to be written.
type Ledger struct{}

// Counters are to be written.
type Counters struct{}

// Reason is to be written.
type Reason uint8

// State is to be written.
type State uint8

// Flow is to be written.
type Flow struct{}

// Record is to be written.
type Record struct{}

// Opening is to be written.
type Opening struct{}
