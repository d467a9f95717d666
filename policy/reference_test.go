package policy

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestReference: docs/config.md is a file without mistakes, and has every field that
// this version knows.
func TestReference(t *testing.T) {
	text, err := os.ReadFile("../docs/config.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```yaml\n")
	src, prose, ok := strings.Cut(rest, "```\n")
	if !ok {
		t.Fatal("docs/config.md has no file")
	}
	parse(t, src)

	// A field that nobody knows makes each mapping say what it accepts.
	probe := `
nobody: 1
version: 1
steering: { nobody: 1, taps: { nobody: 1 } }
sides: { nobody: 1, lan: { nobody: 1 } }
limits: { nobody: 1 }
profiles: { p: { nobody: 1, buffer: { nobody: 1 } } }
rules: [ { nobody: 1, match: { nobody: 1 }, lan: { nobody: 1 } } ]
admin: { nobody: 1 }
log: { nobody: 1 }
`
	_, problems := Parse("probe.yaml", []byte(probe))
	lists := regexp.MustCompile(`unknown field "nobody" \(accepted: ([^)]*)\)`).FindAllStringSubmatch(problems.String(), -1)
	if want := strings.Count(probe, "nobody"); len(lists) != want {
		t.Fatalf("%d of %d mappings say what they accept:\n%s", len(lists), want, problems)
	}
	for _, list := range lists {
		for _, key := range strings.Split(list[1], ", ") {
			known := regexp.MustCompile(`(?m)(^|[ {])` + key + `:`).MatchString(src)
			later := strings.Contains(prose, "`"+key+"`")
			if !known && !later {
				t.Errorf("docs/config.md does not have %q", key)
			}
		}
	}
}
