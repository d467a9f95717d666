package tcpstack_test

// What RFC 9293 says of every cell of the matrix, written from the RFC and without
// a look at the stack: 3.10.7.1 to 3.10.7.4, with RFC 5961 (3.2, 4.2, 5.2), RFC 1337
// and RFC 6191. Its steps have the RFC's numbers.

import "slices"

// cell is one question: a state, what arrives, and where its numbers lie.
type cell struct{ state, event, seq, ack string }

// outcome is the answer: the state after it and what is sent. "ack" is
// <SEQ=SND.NXT><ACK=RCV.NXT>, "ack+n" that with n more bytes acknowledged, "rst" is
// <SEQ=SEG.ACK><CTL=RST>, "rst." <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>, and "-"
// silence.
type outcome struct{ state, reply string }

// The dimensions of the matrix.
var (
	matrixStates = []string{
		"CLOSED", "LISTEN", "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2",
		"CLOSE-WAIT", "CLOSING", "LAST-ACK", "TIME-WAIT",
	}
	matrixEvents = []string{"SYN", "SYN-ACK", "ACK", "FIN", "FIN-ACK", "RST", "RST-ACK", "SYN-FIN", "data", "none", "URG"}
	// left of the window, RCV.NXT, within the window, right of it
	matrixSeqs = []string{"left", "next", "in", "right"}
	// older than any window allows, old, SND.NXT, never sent
	matrixAcks = []string{"ancient", "old", "ok", "future"}
)

func (c cell) syn() bool { return slices.Contains([]string{"SYN", "SYN-ACK", "SYN-FIN"}, c.event) }
func (c cell) rst() bool { return c.event == "RST" || c.event == "RST-ACK" }
func (c cell) fin() bool {
	return slices.Contains([]string{"FIN", "FIN-ACK", "SYN-FIN"}, c.event)
}

func (c cell) hasACK() bool {
	return slices.Contains([]string{"SYN-ACK", "ACK", "FIN-ACK", "RST-ACK", "data", "URG"}, c.event)
}

// expected gives what the RFCs want.
func expected(c cell) outcome {
	stay := func(reply string) outcome { return outcome{c.state, reply} }
	switch c.state {
	case "CLOSED": // 3.10.7.1
		switch {
		case c.rst():
			return stay("-")
		case c.hasACK():
			return stay("rst")
		}
		return stay("rst.")
	case "LISTEN": // 3.10.7.2
		switch {
		case c.rst():
			return stay("-")
		case c.hasACK():
			return stay("rst")
		case c.syn():
			return outcome{"SYN-RECEIVED", "syn-ack"}
		}
		return stay("-")
	case "SYN-SENT":
		return expectedInSynSent(c)
	}
	return expectedOtherwise(c)
}

// expectedInSynSent is 3.10.7.3. Sequence numbers mean nothing yet.
func expectedInSynSent(c cell) outcome {
	acceptable := c.hasACK() && c.ack == "ok"
	switch {
	case c.hasACK() && !acceptable && c.rst(): // first
		return outcome{c.state, "-"}
	case c.hasACK() && !acceptable:
		return outcome{c.state, "rst"}
	case c.rst() && acceptable: // second
		return outcome{"CLOSED", "-"}
	case c.rst():
		return outcome{c.state, "-"}
	case c.syn() && acceptable: // fourth
		return outcome{"ESTABLISHED", "ack"}
	case c.syn():
		return outcome{"SYN-RECEIVED", "syn-ack"}
	}
	return outcome{c.state, "-"} // fifth
}

// expectedOtherwise is 3.10.7.4.
func expectedOtherwise(c cell) outcome {
	stay := func(reply string) outcome { return outcome{c.state, reply} }
	inWindow := c.seq == "next" || c.seq == "in"
	if c.state == "TIME-WAIT" && c.syn() && !c.hasACK() {
		// RFC 6191, 2: one that may not open the connection anew (that is the
		// owner's to ask, with TimeWaiter) is dropped silently.
		return stay("-")
	}
	switch {
	case !inWindow && c.rst(): // first
		return stay("-")
	case !inWindow:
		return stay("ack")
	case c.rst() && c.state == "TIME-WAIT": // second; RFC 1337, 3
		return stay("-")
	case c.rst() && c.seq == "next": // RFC 5961, 3.2
		return outcome{"CLOSED", "-"}
	case c.rst():
		return stay("ack")
	case c.syn() && c.state == "SYN-RECEIVED": // fourth: of a passive open
		return outcome{"CLOSED", "-"}
	case c.syn(): // RFC 5961, 4.2
		return stay("ack")
	case !c.hasACK(): // fifth
		return stay("-")
	}
	after := c.state
	switch {
	case c.state == "SYN-RECEIVED" && c.ack != "ok":
		return stay("rst")
	case c.ack == "ancient" || c.ack == "future": // RFC 5961, 5.2
		return stay("ack")
	case c.ack == "ok":
		switch c.state {
		case "SYN-RECEIVED":
			after = "ESTABLISHED"
		case "FIN-WAIT-1":
			after = "FIN-WAIT-2"
		case "CLOSING":
			after = "TIME-WAIT"
		case "LAST-ACK":
			return outcome{"CLOSED", "-"}
		}
	}
	reply := "-"
	if c.event == "data" { // seventh
		switch after {
		case "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2":
			reply = "ack" // of what is out of order
			if c.seq == "next" {
				reply = "ack+10"
			}
		}
		// In the others the peer has closed: the text is ignored.
	}
	if c.fin() { // eighth
		if c.seq == "in" {
			// RFC 5681, 4.2: what is out of order is acknowledged at once. Behind
			// a FIN there is nothing that a FIN could be behind.
			return outcome{after, "ack"}
		}
		reply = "ack+1"
		switch after {
		case "ESTABLISHED":
			after = "CLOSE-WAIT"
		case "FIN-WAIT-1":
			after = "CLOSING"
		case "FIN-WAIT-2":
			after = "TIME-WAIT"
		default:
			reply = "ack" // a second FIN: the state remains
		}
	}
	return outcome{after, reply}
}
