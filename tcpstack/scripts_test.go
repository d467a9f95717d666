package tcpstack_test

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"accd/tcpstack/script"
)

var update = flag.Bool("update", false, "rewrite the scripts of testdata with what came")

// TestScripts runs the packet scripts of testdata, which docs/scripts.md
// describes: a directory is a state, a file in it an event.
func TestScripts(t *testing.T) {
	err := filepath.WalkDir("testdata", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".pkt" {
			return err
		}
		name := strings.TrimSuffix(strings.TrimPrefix(path, "testdata/"), ".pkt")
		t.Run(name, func(t *testing.T) {
			src, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(src), "\n# source: ") {
				t.Errorf("%s: no line %q says where the behaviour is described", path, "# source: ")
			}
			came, err := script.Run(string(src))
			if !*update {
				if err != nil {
					t.Fatalf("%s: %v", path, err)
				}
				return
			}
			if _, again := script.Run(came); again != nil {
				t.Fatalf("%s: %v", path, again)
			}
			if err := os.WriteFile(path, []byte(came), 0o600); err != nil {
				t.Fatal(err)
			}
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
