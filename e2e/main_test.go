// Package e2e shows accd at work as an operator meets it: the built program, a
// configuration file, a network of namespaces, and nginx, curl and small Go
// programs that talk across it. A test asserts by accd's counters that its
// connections really were in custody, or really were left alone.
//
// Every test makes a network of its own and removes it, also when it fails, so
// several runs do not meet. It needs root, nginx and curl.
package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// native runs the scenarios over plain kernel forwarding, to tell a fault of
// the harness from one of accd.
var native = flag.Bool("native", false, "run the scenarios without accd, to test the harness itself; tests that are only about accd are skipped")

// accdProgram is the path of the program under test.
var accdProgram string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if os.Geteuid() != 0 {
		return m.Run() // where every test says why it is skipped
	}
	dir, err := os.MkdirTemp("", "accd-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	files.dir = dir
	accdProgram = os.Getenv("ACCD_BIN")
	if accdProgram == "" && !*native {
		accdProgram = filepath.Join(dir, "accd")
		cmd := exec.Command("go", "build", "-o", accdProgram, "accd/cmd/accd")
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		if err := cmd.Run(); err != nil {
			fmt.Fprintln(os.Stderr, "e2e: build accd:", err)
			return 1
		}
	}
	return m.Run()
}

// needAccd skips what makes no sense without accd.
func needAccd(t *testing.T) {
	t.Helper()
	if *native {
		t.Skip("is about accd itself, and -native runs without it")
	}
}
