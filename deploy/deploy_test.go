// Package deploy holds what is installed beside the program; its test keeps the
// examples valid.
package deploy

import (
	"os"
	"path/filepath"
	"testing"

	"accd/policy"
)

func TestExamples(t *testing.T) {
	files, _ := filepath.Glob("*.yaml")
	if len(files) == 0 {
		t.Fatal("no examples found")
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, problems := policy.Parse(file, src); len(problems.List) > 0 {
			t.Errorf("%s", problems)
		}
	}
}

// TestDemoExample: the example of the demo's topology is what the demo runs.
func TestDemoExample(t *testing.T) {
	example, err := os.ReadFile("accd-demo.yaml")
	if err != nil {
		t.Fatal(err)
	}
	demo, err := os.ReadFile("../lab/demo.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if string(example) != string(demo) {
		t.Error("deploy/accd-demo.yaml and lab/demo.yaml differ: copy the one that is right over the other")
	}
}
