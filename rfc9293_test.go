package accd_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

//go:generate go test . -run TestRFC9293 -update

var update = flag.Bool("update", false, "rewrite docs/rfc9293.md")

// requirement is one MUST, SHOULD or recommendation of RFC 9293, appendix B, in our
// words.
type requirement struct {
	id   string
	says string
	not  string // why it does not apply or is not followed; "": it is proved
}

// requirements are all of them, in the order of the appendix.
var requirements = []requirement{
	{"MUST-60", "without PUSH calls, data is not held back for ever", ""},
	{"MUST-61", "without PUSH calls, the last segment of what is there carries PSH", ""},
	{"SHLD-27", "the sender collapses successive PSH bits", ""},
	{"SHLD-28", "segments are as large as they may be", ""},
	{"MUST-1", "the window is an unsigned number", ""},
	{"REC-1", "windows are kept in 32 bits at least", ""},
	{"SHLD-14", "the receiver does not take an offered window back", ""},
	{"SHLD-15", "a sender whose window was taken back sends nothing new beyond it", ""},
	{"SHLD-16", "it does send again what is not acknowledged within it", ""},
	{"SHLD-17", "it does not give up for bytes beyond it", ""},
	{"MUST-34", "a sender survives a window that shrinks", ""},
	{"MUST-35", "a closed window is probed", ""},
	{"MUST-36", "and probes are sent although the window is closed", ""},
	{"SHLD-29", "the first probe after the retransmission timeout", ""},
	{"SHLD-30", "the interval between probes grows exponentially", ""},
	{"MUST-37", "a window may stay closed as long as probes are answered", ""},
	{"MUST-66", "RST and URG count although the window is closed", ""},
	{"MUST-30", "urgent data is supported", ""},
	{"MUST-62", "the urgent pointer is that of the first byte that is not urgent", ""},
	{"MUST-31", "urgent data may be of any length", ""},
	{"MUST-32", "the application is told of urgent data", ""},
	{"MUST-33", "it can learn how much there is", ""},
	{"SHLD-13", "new applications do not use urgent data", "it is for applications to choose; accd only relays what they do"},
	{"MUST-4", "EOL, NOP and MSS are supported", ""},
	{"MUST-5", "options are read in any segment", ""},
	{"MUST-6", "unknown options are ignored", ""},
	{"MUST-68", "options other than EOL and NOP have a length", ""},
	{"MUST-7", "illegal option lengths are survived", ""},
	{"MUST-64", "options are read at any alignment", ""},
	{"MUST-14", "the MSS option is sent and read", ""},
	{"SHLD-5", "it is sent unless it would say 536 (IPv4) or 1220 (IPv6)", ""},
	{"MUST-15", "without one 536 (IPv4) or 1220 (IPv6) is assumed", ""},
	{"MUST-16", "the segment size follows from the peer's MSS, the path and the options", ""},
	{"SHLD-6", "the MSS follows an MTU that varies", ""},
	{"MUST-65", "the MSS option is on SYNs only", ""},
	{"MUST-67", "its value follows from what the link can receive", ""},
	{"MUST-69", "the header is padded with zeros, or needs no padding", ""},
	{"MUST-2", "the sender computes the checksum", ""},
	{"MUST-3", "the receiver verifies it", ""},
	{"MUST-8", "initial sequence numbers run with a clock", ""},
	{"SHLD-1", "and are offset by a keyed hash of the sockets", ""},
	{"MUST-9", "which cannot be computed from outside", ""},
	{"MUST-10", "simultaneous open", ""},
	{"MUST-11", "SYN-RECEIVED remembers whether it was opened actively", ""},
	{"MUST-41", "a passive open does not affect other connections", ""},
	{"MUST-42", "a port can listen while connections of the same port open", ""},
	{"MUST-44", "the source address of an active open is chosen", ""},
	{"MUST-45", "or the one that was given", ""},
	{"MUST-46", "an active open to a broadcast or multicast address is refused", ""},
	{"MUST-57", "SYNs to such addresses are dropped silently", ""},
	{"SHLD-2", "an RST may carry data", ""},
	{"MUST-12", "the application is told of an abort", ""},
	{"SHLD-3", "an RST tells the peer that data was lost by a close", ""},
	{"MUST-13", "TIME-WAIT lasts 2 MSL", ""},
	{"SHLD-4", "timestamps shorten TIME-WAIT for a new connection", ""},
	{"MUST-19", "exponential backoff, slow start and congestion avoidance", ""},
	{"MUST-18", "no round trip is measured by what was sent twice (Karn)", ""},
	{"MUST-58", "acknowledgments are aggregated", ""},
	{"SHLD-31", "segments out of order are kept", ""},
	{"MUST-59", "all that is queued is processed before an ACK is sent", ""},
	{"SHLD-18", "acknowledgments are delayed", ""},
	{"MUST-40", "by less than half a second", ""},
	{"SHLD-19", "and every second full segment is acknowledged", ""},
	{"MUST-39", "the receiver avoids silly windows", ""},
	{"MUST-49", "the time to live can be configured", ""},
	{"MUST-38", "the sender avoids silly segments", ""},
	{"SHLD-7", "Nagle's algorithm", "accd relays: whether small segments wait was decided by the endpoint that sent them, and waiting again would add a round trip"},
	{"MUST-17", "Nagle's algorithm can be turned off", ""},
	{"MUST-20", "retransmissions end at R2; negative advice at R1 is for a neighbour cache, which the kernel keeps", ""},
	{"MUST-21", "R2 can be set", ""},
	{"SHLD-9", "the application is told between R1 and R2", "nothing is pushed; Conn.Backoff answers who asks"},
	{"SHLD-10", "R1 is three retransmissions at least", "there is no action at R1"},
	{"SHLD-11", "R2 is 100 seconds at least", ""},
	{"MUST-22", "SYNs are treated alike", ""},
	{"MUST-23", "with an R2 of three minutes at least", ""},
	{"MUST-24", "keepalives can be asked for", ""},
	{"MUST-25", "and are off by default", ""},
	{"MUST-26", "they are sent when nothing else was for a time", ""},
	{"MUST-27", "which can be set", ""},
	{"MUST-28", "and is two hours by default", ""},
	{"MUST-29", "one that is not answered proves nothing", ""},
	{"SHLD-12", "they carry no data", ""},
	{"MUST-50", "unknown IP options are ignored", ""},
	{"MUST-51", "the application can specify a source route", "source routes are dropped by the Internet (RFC 7126, 4.3 and 4.4); packets with IP options pass accd untouched"},
	{"MUST-52", "which overrides that of a datagram", "as MUST-51"},
	{"MUST-53", "a return route is built from it", "as MUST-51"},
	{"SHLD-24", "a later source route overrides an earlier one", "as MUST-51"},
	{"MUST-54", "ICMP errors are acted on", ""},
	{"SHLD-25", "soft errors are reported to the application", ""},
	{"MUST-56", "and do not abort; in SYN-SENT, as RFC 5461 has it and Linux does, the library's caller decides", ""},
	{"SHLD-26", "hard errors abort, which RFC 5461 and 5927 restrict to SYN-SENT", ""},
	{"MUST-55", "source quench is dropped silently", ""},
	{"MUST-63", "SYNs from invalid addresses are ignored", ""},
	{"MUST-47", "errors are reported to the application", ""},
	{"SHLD-20", "reports can be disabled", "errors are values that calls return; nobody is interrupted"},
	{"MUST-43", "an active open can name its local address", ""},
	{"MUST-48", "the differentiated services field can be set", ""},
	{"SHLD-22", "it is passed to IP unchanged", ""},
	{"SHLD-21", "it can be changed during a connection", "custody repeats what the endpoints set, changes included; the library sets it once, as SHLD-23 wants"},
	{"SHLD-23", "it does not change during a connection", "as SHLD-21"},
	{"SHLD-8", "ECN", ""},
}

// proves finds the ids that a line of a comment says it proves.
var proves = regexp.MustCompile(`^(?://|#)?\s*proves: ((?:(?:MUST|SHLD|MAY|REC)-\d+\s*)+)$`)

// proofs collects what scripts and tests say they prove, by id.
func proofs(t *testing.T) map[string][]string {
	by := map[string][]string{}
	add := func(name, line string) {
		if m := proves.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			for _, id := range strings.Fields(m[1]) {
				by[id] = append(by[id], name)
			}
		} else if strings.Contains(line, "proves: ") {
			t.Errorf("%s: %q names no requirements as it should: proves: MUST-1 SHLD-2", name, strings.TrimSpace(line))
		}
	}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || d.IsDir() || path == "rfc9293_test.go":
			return err
		case filepath.Ext(path) == ".pkt":
			src, err := os.ReadFile(path)
			for line := range strings.SplitSeq(string(src), "\n") {
				if strings.HasPrefix(line, "#") {
					add(path, line)
				}
			}
			return err
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range f.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(fn.Name.Name, "Test") || fn.Doc == nil {
				continue
			}
			for _, c := range fn.Doc.List {
				add(filepath.Dir(path)+"."+fn.Name.Name, c.Text)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return by
}

// TestRFC9293 holds docs/rfc9293.md to what proves the requirements of RFC 9293, and
// each that applies to be proved.
func TestRFC9293(t *testing.T) {
	by := proofs(t)
	known := map[string]bool{}
	var b strings.Builder
	b.WriteString("# RFC 9293, requirement by requirement\n\n")
	b.WriteString("The requirements of appendix B, in our words, and the tests and packet scripts ([scripts.md](scripts.md)) that prove them. A test\n")
	b.WriteString("says `// proves: MUST-13` in its comment, a script `# proves: MUST-13` at its top. `go generate .` writes this file; a test fails where a\n")
	b.WriteString("MUST that applies is not proved.\n\n| id | what | proved by |\n|---|---|---|\n")
	proved, not := 0, 0
	for _, r := range requirements {
		known[r.id] = true
		names := by[r.id]
		slices.Sort(names)
		proof := ""
		switch {
		case r.not != "":
			not++
			proof = "— " + r.not
		case len(names) == 0:
			t.Errorf("%s (%s) is proved by nothing: write a script or a test with proves: %s, or say here why it does not apply", r.id, r.says, r.id)
		default:
			proved++
			proof = listed4(names)
		}
		if r.not != "" && len(names) > 0 {
			t.Errorf("%s does not apply, but is proved by %v", r.id, names)
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", r.id, r.says, proof)
	}
	for id := range by {
		if !known[id] && !strings.HasPrefix(id, "MAY-") {
			t.Errorf("%v prove %s, which RFC 9293 does not have", by[id], id)
		}
	}
	fmt.Fprintf(&b, "\n%d requirements: %d proved, %d that do not apply or are not followed for the reason given.\n", len(requirements), proved, not)
	const path = "docs/rfc9293.md"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(old) != b.String() {
		t.Errorf("%s is not what the tests say; go generate . writes it", path)
	}
}

// listed4 writes at most four names.
func listed4(names []string) string {
	var out []string
	for _, n := range names[:min(4, len(names))] {
		out = append(out, "`"+strings.TrimSuffix(strings.Replace(n, "/testdata/", ": ", 1), ".pkt")+"`")
	}
	if more := len(names) - 4; more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(out, ", ")
}
