package script

import (
	"strings"
	"testing"
)

const story = `# Two segments are lost; the duplicate ACKs bring the first back.
set cc reno
established mss 1000 sack
+0       write 3000
+0       > P. 1:3001(3000) ack 1 gso 1000  # all at once
+10ms    < . 1:1(0) ack 1001  # the first arrived
         ? una=1001 flight=2000
+1s      shutdown
+0       > F. 3001:3001(0) ack 1
`

// came gives what the script of a test should have been, whatever it says.
func came(t *testing.T, src string) string {
	t.Helper()
	text, _ := Run(src)
	if _, err := Run(text); err != nil {
		t.Fatalf("what came does not run:\n%s\n%v", text, err)
	}
	return text
}

// What came is a fixed point, and comments stay where they were.
func TestRewriting(t *testing.T) {
	text := came(t, story)
	for _, want := range []string{"# Two segments", "> P. 1:3001(3000) ack 1 gso 1000  # all at once", "ack 1001  # the first arrived"} {
		if !strings.Contains(text, want) {
			t.Errorf("lost: %q in\n%s", want, text)
		}
	}
	if again, err := Run(text); err != nil || again != text {
		t.Errorf("not a fixed point: %v\n%s", err, again)
	}
}

// A script fails on whatever it did not expect.
func TestFails(t *testing.T) {
	good := came(t, story)
	for name, edit := range map[string]func(string) string{
		"a packet too many": func(s string) string {
			return strings.Replace(s, "+0       > P. 1:3001(3000) ack 1 gso 1000  # all at once\n", "", 1)
		},
		"a packet that is none": func(s string) string { return s + "+0       > .  1:1(0) ack 1\n" },
		"another packet":        func(s string) string { return strings.Replace(s, "> P. 1:3001", "> .  1:3001", 1) },
		"another time":          func(s string) string { return strings.Replace(s, "+0       > P.", "+1ms     > P.", 1) },
		"another value":         func(s string) string { return strings.Replace(s, "una=1001", "una=1002", 1) },
		"no such value":         func(s string) string { return strings.Replace(s, "una=", "unam=", 1) },
		"no such command":       func(s string) string { return strings.Replace(s, "shutdown", "shut", 1) },
		"no such setting":       func(s string) string { return strings.Replace(s, "set cc", "set ccc", 1) },
		"no such flag":          func(s string) string { return strings.Replace(s, "< .", "< X", 1) },
		"a wrong length":        func(s string) string { return strings.Replace(s, "1:1(0) ack 1001", "1:1(5) ack 1001", 1) },
		"no beginning":          func(s string) string { return strings.Replace(s, "established mss 1000 sack\n", "", 1) },
	} {
		t.Run(name, func(t *testing.T) {
			bad := edit(good)
			if bad == good {
				t.Fatal("the edit does nothing")
			}
			if _, err := Run(bad); err == nil {
				t.Errorf("no error for\n%s", bad)
			}
		})
	}
}

// Two legs: what passes and what does not is part of the script.
func TestTwoLegs(t *testing.T) {
	text := came(t, `flow established mss 1000 sack
+0       < P. 1:1001(1000) ack 1 |
+10ms    | < . 1:1(0) ack 1001
         ? state=wire
+0       < . 1001:1001(0) ack 1 |
`)
	for _, want := range []string{"| > P. 1:1001(1000) ack 1\n", "< . 1001:1001(0) ack 1                       | passes\n", "state=wire"} {
		if !strings.Contains(text, want) {
			t.Errorf("lost: %q in\n%s", want, text)
		}
	}
	if _, err := Run(strings.Replace(text, "passes", "", 1)); err == nil {
		t.Error("a packet that passes and should not is no error")
	}
}
