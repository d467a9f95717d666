package terminator

import (
	"os"
	"strings"
	"testing"

	"accd/splice"
)

// Every reason that status counts is explained in docs/reasons.md.
func TestReasonsAreExplained(t *testing.T) {
	page, err := os.ReadFile("../docs/reasons.md")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for r := range reasons {
		names = append(names, r.String())
	}
	for r := splice.None + 1; r < splice.Reasons; r++ {
		names = append(names, r.String())
	}
	for _, name := range names {
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("%s is not there", name)
		}
	}
}
