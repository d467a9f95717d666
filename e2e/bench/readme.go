package main

import (
	"fmt"
	"os"
	"strings"
)

// Markers in README.md around what the bench writes.
const (
	readmeBegin = "<!-- make bench writes this -->\n"
	readmeEnd   = "<!-- until here -->\n"
)

// subject is the peer that this project is about.
const subject = "accd"

// markdown gives README's table: medians, with their ratios to kernel forwarding.
func (r *results) markdown() string {
	var b strings.Builder
	b.WriteString("| |")
	for _, p := range r.Peers {
		fmt.Fprintf(&b, " %s |", p.What)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(r.Peers)) + "\n")
	disturbed := false
	for _, row := range r.Rows {
		if strings.HasSuffix(row.Key, ".machine") {
			continue // results.json has it
		}
		fmt.Fprintf(&b, "| %s |", row.label())
		for _, p := range r.Peers {
			c, ok := row.Cells[p.Name]
			if !ok {
				b.WriteString(" |")
				continue
			}
			fmt.Fprintf(&b, " %s", number(row.value(c)))
			if c.Ratio != 0 && p.Name != baseline {
				fmt.Fprintf(&b, " (%s)", number(c.Ratio))
			}
			if c.Disturbed > 0 {
				b.WriteString(" !")
				disturbed = true
			}
			b.WriteString(" |")
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "\n%s, %d cores of %s that client, box and server share, Linux %s, %s, commit %s; %d rounds of %s s in turn.\n",
		r.Date, r.Machine.Cores, r.Machine.CPU, r.Machine.Kernel, r.Machine.Go, r.Machine.Commit, r.Rounds, number(r.Seconds))
	b.WriteString("Medians, in brackets the ratio to kernel forwarding in the same round.")
	if disturbed {
		b.WriteString(" !: other programs used the machine meanwhile.")
	}
	b.WriteString("\n" + r.slower())
	return b.String()
}

// slower says where the subject is behind whom, and how many times as good they are.
func (r *results) slower() string {
	var b strings.Builder
	for _, row := range r.Rows {
		ours, have := row.Cells[subject]
		if !have || strings.HasSuffix(row.Key, ".machine") {
			continue
		}
		var ahead []string
		for _, p := range r.Peers {
			theirs, has := row.Cells[p.Name]
			if p.Name == subject || p.Name == baseline || !has {
				continue
			}
			if t, o := row.value(theirs), row.value(ours); row.better(t, o) {
				ahead = append(ahead, p.What+" "+times(max(t, o), min(t, o)))
			}
		}
		if len(ahead) > 0 {
			fmt.Fprintf(&b, "- %s: %s\n", row.label(), strings.Join(ahead, "; "))
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return "\nWhere accd is behind others, and how many times as good they are:\n\n" + b.String()
}

// times says how many times the smaller of two values the larger is; of nothing, or less,
// as what is beyond the baseline may be, it says that.
func times(larger, smaller float64) string {
	if smaller <= 0 {
		return number(smaller)
	}
	return "× " + number(larger/smaller)
}

// better reports whether a value of the row is better than another.
func (r *row) better(v, than float64) bool {
	if r.Less {
		return v < than
	}
	return v > than
}

// inReadme gives a README with the part between the markers replaced.
func (r *results) inReadme(text string) (string, error) {
	before, rest, ok := strings.Cut(text, readmeBegin)
	_, after, ends := strings.Cut(rest, readmeEnd)
	if !ok || !ends {
		return "", fmt.Errorf("no lines %q and %q, in this order", readmeBegin, readmeEnd)
	}
	return before + readmeBegin + r.markdown() + readmeEnd + after, nil
}

// updateReadme writes the table into the file.
func (r *results) updateReadme(file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	text, err := r.inReadme(string(b))
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, []byte(text), 0o644)
}
