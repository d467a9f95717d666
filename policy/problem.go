package policy

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Severity says whether a Problem makes a file unusable.
type Severity string

// Severities.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// maxProblems bounds how many problems are kept of one file.
const maxProblems = 100

// Problem is one thing wrong with a configuration file.
type Problem struct {
	Line     int      `json:"line"`   // from 1
	Column   int      `json:"column"` // in characters, from 1
	Severity Severity `json:"severity"`
	Text     string   `json:"text"`
	width    int      // characters to underline in the excerpt; 0: no excerpt
}

// Problems are all that is wrong with one file, in the order of its lines.
type Problems struct {
	File string    `json:"file"`
	List []Problem `json:"problems"`

	lines []string // of the file
}

// Errors counts the problems that make the file unusable.
func (p *Problems) Errors() int { return p.count(Error) }

// Warnings counts the others.
func (p *Problems) Warnings() int { return p.count(Warning) }

func (p *Problems) count(s Severity) (n int) {
	for i := range p.List {
		if p.List[i].Severity == s {
			n++
		}
	}
	return n
}

// Lines gives each problem in one line, "file:line:column: severity: text".
func (p *Problems) Lines() []string {
	out := make([]string, len(p.List))
	for i := range p.List {
		out[i] = p.line(&p.List[i])
	}
	return out
}

func (p *Problems) line(x *Problem) string {
	return fmt.Sprintf("%s:%d:%d: %s: %s", p.File, x.Line, x.Column, x.Severity, x.Text)
}

// String gives each problem with an excerpt of the file, and a last line that
// counts them; nothing if there are none.
func (p *Problems) String() string {
	if len(p.List) == 0 {
		return ""
	}
	var b strings.Builder
	for i := range p.List {
		b.WriteString(p.line(&p.List[i]) + "\n")
		p.excerpt(&b, &p.List[i])
	}
	b.WriteString(p.Summary() + "\n")
	return b.String()
}

// Summary counts the problems: "1 error, 2 warnings".
func (p *Problems) Summary() string {
	var parts []string
	if n := p.Errors(); n > 0 {
		parts = append(parts, plural(n, "error"))
	}
	if n := p.Warnings(); n > 0 {
		parts = append(parts, plural(n, "warning"))
	}
	if parts == nil {
		return "no problems"
	}
	return strings.Join(parts, ", ")
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// excerpt prints the line of a problem, the one before it, and a caret.
func (p *Problems) excerpt(b *strings.Builder, x *Problem) {
	if x.width == 0 || x.Line < 1 || x.Line > len(p.lines) {
		return
	}
	if x.Line > 1 {
		fmt.Fprintf(b, "%5d | %s\n", x.Line-1, printable(p.lines[x.Line-2]))
	}
	line := printable(p.lines[x.Line-1])
	fmt.Fprintf(b, "%5d | %s\n", x.Line, line)
	// Up to the caret tabs stay tabs, so that it stands right at any tab width.
	pad := []rune(line)
	pad = pad[:min(max(x.Column-1, 0), len(pad))]
	width := max(min(x.width, utf8.RuneCountInString(line)-len(pad)), 1)
	for i, c := range pad {
		if c != '\t' {
			pad[i] = ' '
		}
	}
	fmt.Fprintf(b, "      | %s^%s\n", string(pad), strings.Repeat("~", width-1))
}

// printable makes a line of a file fit for a terminal, at the same width.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c == '\t' || unicode.IsPrint(c) {
			return c
		}
		return '·'
	}, s)
}

func (p *Problems) add(line, column, width int, s Severity, text string) {
	if len(p.List) == maxProblems {
		text, width = "too many problems, the rest is not shown", 0
	} else if len(p.List) > maxProblems {
		return
	}
	p.List = append(p.List, Problem{Line: max(line, 1), Column: max(column, 1), Severity: s, Text: text, width: width})
}

func (p *Problems) sort() {
	slices.SortStableFunc(p.List, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
}
