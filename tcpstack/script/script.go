// Package script runs packet scripts: text files that say, in virtual time, what
// a peer sends and what the stack is to answer. docs/scripts.md is the grammar.
//
// A script has one leg, a Conn with its peer, or two legs in columns, a Flow
// between a client and a server. What the stack sends is not looked for but
// written down: Run gives the script with every packet and every value as they
// came, and complains where that is not what the script said. So silence is
// asserted everywhere, and a script is rewritten by keeping what Run gives.
//
// Only tests import this package.
package script

import (
	"fmt"
	"strings"
	"time"

	"accd/tcpstack/mono"
)

// begin is the virtual time at which a script begins.
const begin = mono.Time(time.Hour)

// world is what a script talks to: one leg or two.
type world interface {
	// receive gives a packet that a side sends to the stack; the answer is how
	// it left, "" if the stack kept it.
	receive(now mono.Time, side int, p *packet) (left string, err error)
	// transmit gives the next packet of the stack and the side it goes to.
	transmit(now mono.Time) (side int, p *packet, err error)
	expire(now mono.Time)
	deadline() mono.Time
	// command runs a line that is neither a packet nor a question.
	command(now mono.Time, name string, args []string) error
	// value answers a question.
	value(name string) (string, error)
	// finish says what is wrong at the end, whatever the script asked.
	finish() error
}

// run is one run of a script.
type run struct {
	set   settings
	world world
	now   mono.Time
	mark  mono.Time // the time of the last line that did something
	group []line    // that line, and what follows up to the next one
	sent  []string  // the packets sent since
	out   []string  // the script as it came
	more  bool      // the last line said that another belongs to the same turn
}

// Run runs a script over IPv4 and IPv6, or what its family line says, and gives
// it back as it came. The error says where it differs from what was written,
// or what could not be understood.
func Run(src string) (came string, err error) {
	lines, set, err := parse(src)
	if err != nil {
		return src, err
	}
	for i, family := range set.families {
		r := &run{set: set, now: begin, mark: begin}
		r.set.family = family
		text, err := r.all(lines)
		if err != nil {
			return src, fmt.Errorf("IPv%d: %w", family, err)
		}
		if i == 0 {
			came = text
		}
		if d := difference(src, text); d != "" {
			return came, fmt.Errorf("IPv%d: the script and what came (+) differ:\n%s", family, d)
		}
	}
	return came, nil
}

// all runs every line.
func (r *run) all(lines []line) (string, error) {
	for i := range lines {
		l := lines[i]
		if !l.acts() {
			r.group = append(r.group, l)
			continue
		}
		if err := r.line(&l); err != nil {
			return "", fmt.Errorf("line %d: %s: %w", l.num, strings.TrimSpace(l.raw), err)
		}
	}
	r.flush()
	if r.world != nil {
		if err := r.world.finish(); err != nil {
			return "", fmt.Errorf("at the end: %w", err)
		}
	}
	return strings.Join(r.out, "\n") + "\n", nil
}

// line runs one line that does something.
func (r *run) line(l *line) (err error) {
	if l.kind == begins {
		r.flush()
		r.group = append(r.group, *l)
		if r.world != nil {
			return fmt.Errorf("the script has begun already")
		}
		r.world, err = r.start(l)
		if err != nil {
			return err
		}
		return r.pump()
	}
	if r.world == nil {
		return fmt.Errorf("nothing has begun: an established, dial, listen or flow line comes first")
	}
	if !r.more || l.after > 0 {
		if err := r.advance(r.mark.Add(l.after)); err != nil {
			return err
		}
	}
	r.flush()
	r.more = l.more
	r.mark = r.now
	switch l.kind {
	case arrives:
		left, err := r.world.receive(r.now, l.side, l.packet)
		if err != nil {
			return err
		}
		l.tells(left)
	case asks:
		if err := l.answer(r.world.value); err != nil {
			return err
		}
	case commands:
		if err := r.world.command(r.now, l.words[0], l.words[1:]); err != nil {
			return err
		}
	}
	r.group = append(r.group, *l)
	if l.more {
		return nil
	}
	return r.pump()
}

// advance lets time pass up to end, with all that falls due.
func (r *run) advance(end mono.Time) error {
	for range 1_000_000 {
		at := r.world.deadline()
		if at > end {
			r.now = end
			return nil
		}
		r.now = max(r.now, at)
		r.world.expire(r.now)
		if err := r.pump(); err != nil {
			return err
		}
		if r.world.deadline() <= r.now {
			r.now++ // what is due again at once is due a nanosecond later
		}
	}
	return fmt.Errorf("timers fire for ever")
}

// pump writes down all that the stack sends now.
func (r *run) pump() error {
	for range 100_000 {
		side, p, err := r.world.transmit(r.now)
		if err != nil {
			return err
		}
		if p == nil {
			return nil
		}
		r.sent = append(r.sent, columns(stamp(r.now.Sub(r.mark)), "> "+p.show(&r.set), side, r.set.legs))
	}
	return fmt.Errorf("the stack sends for ever")
}

// flush writes the group down: packets where the script has packets, the rest
// behind the last of them, comments where they were.
func (r *run) flush() {
	last := 0
	for i := range r.group {
		if r.group[i].kind == leaves || r.group[i].acts() {
			last = i
		}
	}
	for i := range r.group {
		l := &r.group[i]
		if l.acts() && l.kind != begins {
			l.lay(r.set.legs)
		}
		if l.kind != leaves {
			r.out = append(r.out, l.raw)
		} else if len(r.sent) > 0 {
			r.keep(l.raw)
		}
		if i == last {
			for len(r.sent) > 0 {
				r.keep("")
			}
		}
	}
	r.group = r.group[:0]
}

// keep writes the next packet down, with the remark of the script behind it if
// it says the same.
func (r *run) keep(raw string) {
	got := r.sent[0]
	r.sent = r.sent[1:]
	if _, comment, ok := strings.Cut(raw, "#"); ok && canonical(raw) == canonical(got) {
		got += "  #" + comment
	}
	r.out = append(r.out, got)
}

// stamp writes the time since the last line that did something.
func stamp(d time.Duration) string {
	if d == 0 {
		return "+0"
	}
	s := d.Truncate(time.Microsecond).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return "+" + s
}

// columns lays a line out.
func columns(time, text string, side, legs int) string {
	switch {
	case legs < 2:
		return fmt.Sprintf("%-8s %s", time, text)
	case side == 0:
		return strings.TrimRight(fmt.Sprintf("%-8s %-44s |", time, text), " ")
	}
	return fmt.Sprintf("%-8s %-44s | %s", time, "", text)
}

// start makes the world of a line that begins.
func (r *run) start(l *line) (world, error) {
	switch l.words[0] {
	case "flow":
		return newFlow(r.now, &r.set, l.words[1:])
	default:
		return newLeg(r.now, &r.set, l.words[0], l.words[1:])
	}
}
