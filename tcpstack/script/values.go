package script

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"accd/tcpstack"
	"accd/tcpstack/wire"
)

// connValue answers a question about a Conn: one of the names below, or the name
// of a count of tcpstack.Stats in small letters.
func connValue(c *tcpstack.Conn, name string, ours, theirs func(wire.Seq) int) (string, error) {
	var snap tcpstack.Snapshot
	window, flight, rate := c.Congestion()
	srtt, smallest := c.RTT()
	span := func(d time.Duration) string { return d.Truncate(time.Microsecond).String() }
	number := func(n int) string { return strconv.Itoa(n) }
	switch name {
	case "state":
		return c.State().String(), nil
	case "ecn", "ect":
		agreed, refused := c.ECN()
		if name == "ect" {
			return strconv.FormatBool(agreed != tcpstack.NoECN && !refused), nil
		}
		return agreed.String(), nil
	case "pathmtu":
		return number(c.PathMTU()), nil
	case "cwnd":
		return number(window), nil
	case "ssthresh":
		c.Snapshot(&snap)
		return number(snap.CC.Ssthresh), nil
	case "flight":
		return number(flight), nil
	case "rate":
		return strconv.FormatInt(rate, 10), nil
	case "srtt":
		return span(srtt), nil
	case "minrtt":
		return span(smallest), nil
	case "rto":
		return span(c.RTO()), nil
	case "backoff":
		return number(c.Backoff()), nil
	case "mss":
		return number(c.MSS()), nil
	case "cc":
		return c.Control(), nil
	case "una":
		return number(ours(c.SndUna())), nil
	case "nxt":
		return number(ours(c.SndNxt())), nil
	case "edge":
		return number(ours(c.SndEdge())), nil
	case "rcvnxt":
		return number(theirs(c.RcvNxt())), nil
	case "rcvacked":
		return number(theirs(c.RcvAcked())), nil
	case "rcvedge":
		return number(theirs(c.RcvEdge())), nil
	case "waiting":
		n, _ := c.Reassembling()
		return number(n), nil
	case "tsrecent":
		v, ok := c.TSRecent()
		if !ok {
			return "none", nil
		}
		return strconv.FormatUint(uint64(v), 10), nil
	case "idle":
		return strconv.FormatBool(c.Idle()), nil
	case "finreceived":
		return strconv.FormatBool(c.FINReceived()), nil
	case "finacked":
		return strconv.FormatBool(c.FINAcked()), nil
	case "err":
		if c.Err() == nil {
			return "none", nil
		}
		return strings.TrimPrefix(c.Err().Error(), "tcpstack: "), nil
	}
	return field(reflect.ValueOf(c.Stats()).Elem(), name)
}

// field gives the count of a struct of counts whose name is name in any case.
func field(counts reflect.Value, name string) (string, error) {
	v := counts.FieldByNameFunc(func(f string) bool { return strings.EqualFold(f, name) })
	if !v.IsValid() || v.Kind() != reflect.Uint64 {
		return "", fmt.Errorf("nothing to ask for: %q; docs/scripts.md lists what there is", name)
	}
	return strconv.FormatUint(v.Uint(), 10), nil
}
