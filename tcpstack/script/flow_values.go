package script

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"accd/splice"
	"accd/tcpstack"
	"accd/tcpstack/wire"
)

// value answers a question about the flow, one of its reasons or counters, or
// with client. or server. before it about the Conn of that leg.
func (f *flow) value(name string) (string, error) {
	if why, ok := strings.CutPrefix(name, "reason."); ok {
		for r := splice.Reason(1); r < splice.Reasons; r++ {
			if r.String() == why {
				return strconv.FormatUint(f.count.By[r], 10), nil
			}
		}
		return "", fmt.Errorf("no reason %q", why)
	}
	switch name {
	case "entered", "exited", "established", "resets":
		return field(reflect.ValueOf(&f.count).Elem(), name)
	case "steered":
		return strconv.Itoa(f.steered), nil
	}
	if f.flow == nil {
		if name == "state" {
			return "none", nil
		}
		return "", fmt.Errorf("there is no flow to ask for %s", name)
	}
	held := f.flow.Held()
	switch name {
	case "state":
		return f.flow.State().String(), nil
	case "why":
		return f.flow.Why().String(), nil
	case "held": // towards the client, towards the server
		return fmt.Sprintf("%d,%d", held[0], held[1]), nil
	case "reopening":
		return strconv.FormatBool(f.flow.Reopening()), nil
	}
	leg, what, ok := strings.Cut(name, ".")
	if !ok {
		return "", fmt.Errorf("nothing to ask a flow for: %q; docs/scripts.md lists what there is", name)
	}
	to, err := legOf(leg)
	if err != nil {
		return "", err
	}
	var conn [2]*tcpstack.Conn
	if conn[0], conn[1] = f.flow.Legs(); conn[to] == nil {
		return "", fmt.Errorf("on the wire there is no Conn to ask for %s", what)
	}
	ours := func(n wire.Seq) int { return n.Sub(f.end[1-to].isn) }
	theirs := func(n wire.Seq) int { return n.Sub(f.end[to].isn) }
	return connValue(conn[to], what, ours, theirs)
}
