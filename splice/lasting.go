package splice

import "accd/tcpstack"

// Lasts reports that the flow is open and nothing is in sight that ends it or keeps it
// native, so that it is worth an effort that pays only later: both ends are connected,
// neither is gone, no other connection is about to use the tuple, and policy lets it
// enter custody.
func (f *Flow) Lasts() bool {
	c := f.c
	switch {
	case f.state == Gone || f.terms == nil || f.rec.native || f.rec.reopening:
		return false
	case c == nil:
		return true
	case c.ending.on:
		return false
	case c.split.on: // the server is asked when the client is there
		return c.conn[Server].State() >= tcpstack.Established
	}
	return true
}
