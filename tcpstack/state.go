package tcpstack

import "strconv"

// State is where a connection stands, in the words of RFC 9293, 3.3.2.
type State uint8

// The states of a Conn. LISTEN has none: see Listener.
const (
	Closed State = iota
	SynSent
	SynReceived
	Established
	FinWait1
	FinWait2
	CloseWait
	Closing
	LastAck
	TimeWait
)

var stateNames = [...]string{
	"CLOSED", "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2",
	"CLOSE-WAIT", "CLOSING", "LAST-ACK", "TIME-WAIT",
}

// String gives the state as RFC 9293 writes it.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "State(" + strconv.Itoa(int(s)) + ")"
}

// State gives the state of the connection, as the peer could know it: FIN-WAIT-1
// and LAST-ACK begin when the FIN leaves. A Relay Conn is CLOSED once both FINs
// are acknowledged, whoever closed first: its endpoints keep TIME-WAIT.
func (c *Conn) State() State {
	switch {
	case c.err != nil || c.end.phase == endOver:
		return Closed
	case c.open.phase == openSynSent:
		return SynSent
	case c.open.phase == openSynReceived:
		return SynReceived
	case c.end.phase == endTimeWait:
		return TimeWait
	}
	finSent := c.finSent()
	switch {
	case !c.rcvClosed && !finSent:
		return Established
	case !c.rcvClosed && c.sndClosed:
		return FinWait2
	case !c.rcvClosed:
		return FinWait1
	case !finSent:
		return CloseWait
	case c.sndClosed:
		return Closed
	case c.end.passive:
		return LastAck
	}
	return Closing
}

// finSent reports whether our FIN has left.
func (c *Conn) finSent() bool { return c.sndClosed || c.out.closed && c.nxt > c.out.end }
