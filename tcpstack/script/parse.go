package script

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"accd/tcpstack/cc"
)

// kind says what a line of a script is.
type kind uint8

const (
	remark   kind = iota // a comment, an empty line, a line of the head
	begins               // established, dial, listen, flow
	arrives              // a packet to the stack
	leaves               // a packet of the stack: an expectation
	asks                 // values: an expectation
	commands             // what the application, an operator or time does
)

// line is one line of a script.
type line struct {
	raw    string // as written; from answer, tells and lay on as it came
	num    int
	kind   kind
	after  time.Duration // since the last line that did something
	time   string        // as written
	words  []string
	side   int // of a packet: 0 the one leg or the client's, 1 the server's
	packet *packet
	more   bool // nothing is sent before the next line
}

func (l *line) acts() bool { return l.kind != remark && l.kind != leaves }

// beginnings are the words that begin a connection.
var beginnings = []string{"established", "dial", "listen", "flow"}

// parse reads a script.
func parse(src string) (lines []line, set settings, err error) {
	set = settings{families: []int{4, 6}, legs: 1}
	set.base.Unpaced = true
	set.base.NewController, _ = cc.Constructor("reno", nil)
	for i, raw := range strings.Split(strings.TrimRight(src, "\n"), "\n") {
		l := line{raw: strings.TrimRight(raw, " \t"), num: i + 1}
		if err := l.parse(&set); err != nil {
			return nil, set, fmt.Errorf("line %d: %q: %w", l.num, strings.TrimSpace(raw), err)
		}
		lines = append(lines, l)
	}
	return lines, set, nil
}

func (l *line) parse(set *settings) (err error) {
	text, _, _ := strings.Cut(l.raw, "#")
	words := strings.Fields(text)
	if len(words) == 0 {
		return nil
	}
	switch {
	case words[0] == "set" || words[0] == "family" || words[0] == "show":
		return set.head(words)
	case slices.Contains(beginnings, words[0]):
		l.kind, l.words = begins, words
		if words[0] == "flow" {
			set.legs = 2
		}
		return nil
	}
	rest := strings.TrimSpace(text)
	if strings.HasPrefix(words[0], "+") {
		l.time = words[0]
		rest = strings.TrimSpace(rest[len(l.time):])
		if l.after, err = duration(l.time[1:]); err != nil {
			return err
		}
	}
	if rest, l.more = strings.CutSuffix(rest, "&"); l.more {
		rest = strings.TrimSpace(rest)
	}
	if set.legs == 2 {
		left, right, ok := strings.Cut(rest, "|")
		left, right = strings.TrimSpace(left), strings.TrimSpace(right)
		switch {
		case !ok:
		case strings.HasPrefix(left, "<"):
			rest = left // whatever it left as on the other leg
		case strings.HasPrefix(right, "<"), strings.HasPrefix(right, ">"):
			l.side, rest = 1, right
		default:
			rest = left
		}
	}
	switch {
	case rest == "":
		l.kind, l.words = commands, []string{"wait"}
		return nil
	case strings.HasPrefix(rest, "?"):
		l.kind, l.words = asks, strings.Fields(rest[1:])
		return nil
	case strings.HasPrefix(rest, ">"):
		l.kind = leaves
		return nil
	case strings.HasPrefix(rest, "<"):
		l.kind = arrives
		l.packet, err = parsePacket(rest[1:])
		return err
	}
	l.kind, l.words = commands, strings.Fields(rest)
	return nil
}

// duration reads a time.Duration; a bare 0 is one.
func duration(s string) (time.Duration, error) {
	if s == "0" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("no duration: %q; write +0, +40ms, +1.5s", s)
	}
	return d, nil
}

// tells writes down how a packet that arrived on one leg left on the other.
func (l *line) tells(left string) {
	text, comment, _ := strings.Cut(l.raw, "#")
	a, b, ok := strings.Cut(text, "|")
	if !ok {
		return // one leg
	}
	was := b
	if l.side == 1 {
		was = strings.TrimPrefix(strings.TrimSpace(a), l.time)
	}
	if canonical(was) == canonical(left) {
		return
	}
	if l.side == 0 {
		l.raw = fmt.Sprintf("%s | %s", strings.TrimRight(a, " "), left)
	} else {
		l.raw = fmt.Sprintf("%s %s | %s", l.time, left, strings.TrimSpace(b))
	}
	if comment != "" {
		l.raw += " #" + comment
	}
}

// answer writes the values down that a line asks for.
func (l *line) answer(value func(string) (string, error)) error {
	text, comment, _ := strings.Cut(l.raw, "#")
	var b strings.Builder
	same := true
	for _, w := range l.words {
		name, was, _ := strings.Cut(w, "=")
		is, err := value(name)
		if err != nil {
			return err
		}
		is = strings.ReplaceAll(is, " ", "-")
		same = same && is == was
		fmt.Fprintf(&b, " %s=%s", name, is)
	}
	if same {
		return nil
	}
	at := strings.Index(text, "?")
	l.raw = text[:at+1] + b.String()
	if comment != "" {
		l.raw += " #" + comment
	}
	return nil
}

// lay lays a line that acts out as the packets of the stack are.
func (l *line) lay(legs int) {
	text, comment, _ := strings.Cut(l.raw, "#")
	rest := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(text), l.time))
	if left, right, ok := strings.Cut(rest, "|"); ok && legs == 2 {
		rest = fmt.Sprintf("%-44s | %s", strings.TrimSpace(left), strings.TrimSpace(right))
	}
	l.raw = fmt.Sprintf("%-8s %s", l.time, strings.TrimSpace(rest))
	if strings.HasPrefix(rest, " ") {
		l.raw = fmt.Sprintf("%-8s %s", l.time, rest) // an empty left column
	}
	if comment != "" {
		l.raw += "  #" + comment
	}
	l.raw = strings.TrimRight(l.raw, " ")
}

// canonical gives a line without what is layout.
func canonical(s string) string {
	s, _, _ = strings.Cut(s, "#")
	return strings.Join(strings.Fields(s), " ")
}
