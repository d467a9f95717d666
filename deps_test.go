// Package accd_test holds the rules that no single package can keep: who may
// import whom, and what the pure packages never do. ARCHITECTURE.md draws the
// same table.
package accd_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "accd"

// Modules that more than one row names.
const (
	xsys      = "golang.org/x/sys"
	zap       = "go.uber.org/zap"
	netlink   = "github.com/vishvananda/netlink"
	netns     = "github.com/vishvananda/netns"
	nftables  = "github.com/google/nftables"
	water     = "github.com/songgao/water"
	mdlayher  = "github.com/mdlayher/netlink"
	cobra     = "github.com/spf13/cobra"
	yaml      = "go.yaml.in/yaml/v4"
	bart      = "github.com/gaissmai/bart"
	anyOfOurs = "*"
)

// Groups of packages that rows share.
var (
	leaves    = []string{"tcpstack/mono", "tcpstack/wire", "tcpstack/buf"}
	belowFlow = append([]string{"tcpstack", "tcpstack/cc", "tcpstack/pathmem", "tcpstack/timer"}, leaves...)
)

// row says what one package, or a tree of packages, may import beyond the
// standard library.
type row struct {
	pkg    string   // below the module; a trailing /... covers the tree
	ours   []string // packages of this module
	others []string // modules of others, by prefix
	why    string
}

var table = []row{
	{"tcpstack/mono", nil, nil, "a leaf: time is a number"},
	{"tcpstack/wire", nil, nil, "a leaf: header bytes and nothing else"},
	{"tcpstack/buf", nil, nil, "a leaf: memory and nothing else"},
	{"tcpstack/timer", []string{"tcpstack/mono"}, nil, "a wheel turns on time alone"},
	{"tcpstack/cc", []string{"tcpstack/mono"}, nil, "a controller is told facts; it never sees the connection"},
	{"tcpstack/pathmem", []string{"tcpstack/cc", "tcpstack/mono", "tcpstack/wire"}, nil, "a path is an address, a time and what a controller left"},
	{"tcpstack", append([]string{"tcpstack/cc"}, leaves...), nil, "the stack is pure, so that simulation and fuzzing see all of it"},
	{"tcpstack/simnet", append([]string{"splice"}, belowFlow...), nil, "the simulation drives flows and what is below them; only tests import it"},
	{"tcpstack/tcpnet/...", append([]string{"tcpstack/tcpnet", "terminator/link", "netcfg"}, belowFlow...), []string{xsys}, "the library for programs: clock, goroutine and lock around Conns, on any device"},
	{"tcpstack/script", append([]string{"splice"}, belowFlow...), nil, "packet scripts play the peers of Conns and Flows; only tests import it"},
	{"splice", belowFlow, nil, "custody is pure, so that its invariants can be asserted in simulation"},
	{"policy", []string{"tcpstack/wire", "tcpstack/cc"}, []string{yaml, bart}, "a decision depends on the config file and the tuple, not on the system"},
	{"terminator/link", []string{"tcpstack/buf", "tcpstack/wire"}, []string{xsys}, "a device moves frames and knows no connection"},
	{"terminator", append([]string{"splice", "policy", "terminator/link"}, belowFlow...), []string{zap, xsys}, "the shards join the pure parts to devices, and never configure the system"},
	{"netcfg/...", []string{"netcfg", "netcfg/netlab"}, []string{netlink, netns, nftables, water, mdlayher, zap, xsys}, "the only place that configures the system; it hands out files and knows nothing of TCP"},
	{"admin/...", []string{"admin", "terminator", "policy"}, []string{zap, xsys}, "operators see read-only views, never the data path's types"},
	{"lab", []string{"netcfg", "netcfg/netlab", "terminator/link", "tcpstack/wire", "tcpstack/buf", "tcpstack/mono"}, []string{xsys}, "the link emulator and the demo run accd as a program, so they need no part of it but devices"},
	{"e2e/peers", nil, nil, "what both ends of a differential test do, also on a TCP that is built apart"},
	{"e2e/...", []string{"e2e/peers", "lab", "netcfg", "netcfg/netlab", "tcpstack/wire", "terminator/link"}, []string{xsys}, "end-to-end tests see accd as an operator does: a program, a config file, a network"},
	{"cmd/...", []string{anyOfOurs}, []string{cobra, zap, xsys}, "the program wires everything and does nothing itself"},
}

// listed is what `go list -json` says of one package, as far as it matters here.
type listed struct {
	ImportPath, Dir                    string
	GoFiles, TestGoFiles, XTestGoFiles []string
	Imports, TestImports, XTestImports []string
}

// packages lists the packages of the module, for Linux, which is where accd runs.
func packages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,GoFiles,TestGoFiles,XTestGoFiles,Imports,TestImports,XTestImports", "./...")
	cmd.Env = append(cmd.Environ(), "GOOS=linux")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		all = append(all, p)
	}
}

// rowOf finds the row for a package path below the module.
func rowOf(pkg string) *row {
	for i := range table {
		r := &table[i]
		if tree, ok := strings.CutSuffix(r.pkg, "/..."); ok && (pkg == tree || strings.HasPrefix(pkg, tree+"/")) || r.pkg == pkg {
			return r
		}
	}
	return nil
}

// within reports whether path is the module mod or a package of it.
func within(path, mod string) bool { return path == mod || strings.HasPrefix(path, mod+"/") }

func isStandard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".") && first != module
}

// TestImports holds every package to its row.
func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		pkg := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		if len(p.GoFiles) == 0 {
			continue // tests only, like this package
		}
		r := rowOf(pkg)
		if r == nil {
			t.Errorf("%s has no row in the import table of deps_test.go; add one with its reason", p.ImportPath)
			continue
		}
		for _, imp := range p.Imports {
			ours, isOurs := strings.CutPrefix(imp, module+"/")
			switch {
			case isStandard(imp), imp == "C":
			case isOurs && (slices.Contains(r.ours, ours) || slices.Contains(r.ours, anyOfOurs)):
			case !isOurs && slices.ContainsFunc(r.others, func(m string) bool { return within(imp, m) }):
			default:
				t.Errorf("%s imports %s, which its row forbids: %s", pkg, imp, r.why)
			}
		}
	}
}

// TestSimulationIsForTests keeps the simulation and the scripts out of the program.
func TestSimulationIsForTests(t *testing.T) {
	for _, p := range packages(t) {
		for _, pkg := range []string{"tcpstack/simnet", "tcpstack/script"} {
			if slices.Contains(p.Imports, module+"/"+pkg) {
				t.Errorf("%s imports %s outside its tests", p.ImportPath, pkg)
			}
		}
	}
}

// pure are the trees whose code has no goroutine, lock, clock, system call or log.
var pure = []string{"tcpstack", "splice", "policy"}

// library is the tree below them that is not pure: concurrency lives there, so that
// it does not in the core.
const library = "tcpstack/tcpnet"

// impure are standard packages that no pure package imports, with the reason.
var impure = map[string]string{
	"os":            "no system calls",
	"syscall":       "no system calls",
	"net":           "no system calls; net/netip has the addresses",
	"sync":          "no locks: one shard owns a flow",
	"context":       "nothing here waits",
	"log":           "no log: count it, with a reason",
	"log/slog":      "no log: count it, with a reason",
	"math/rand":     "math/rand/v2 with an explicit seed",
	"crypto/rand":   "what is random comes in as a seed",
	"runtime":       "no scheduler",
	"testing":       "tests only",
	"unsafe":        "the Go of these packages is plain",
	"sync/atomic":   "no locks: one shard owns a flow",
	"os/signal":     "no system calls",
	"io/ioutil":     "no system calls",
	"path/filepath": "no files",
}

// excused names the imports of impure packages that have a reason of their own.
var excused = map[string]string{
	"splice sync/atomic": "the ledger is read by another process after a crash at any instruction",
	"splice unsafe":      "the ledger is shared memory",
}

// clock are the functions of package time that read a clock or wait.
var clock = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

// TestPurity holds the pure packages to what makes them testable: time comes in
// as an argument and nothing goes on behind the caller's back.
func TestPurity(t *testing.T) {
	eachFile(t, pure, func(pkg, name string, fset *token.FileSet, f *ast.File) {
		if within(pkg, library) {
			return
		}
		for _, imp := range f.Imports {
			path := strings.Trim(imp.Path.Value, `"`)
			if why, bad := impure[path]; bad && excused[pkg+" "+path] == "" {
				t.Errorf("%s imports %s: %s", name, path, why)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s: a goroutine; %s is pure", fset.Position(n.Pos()), pkg)
			case *ast.ChanType:
				t.Errorf("%s: a channel; %s is pure", fset.Position(n.Pos()), pkg)
			case *ast.SelectorExpr:
				if readsClock(n) {
					t.Errorf("%s: time.%s; in %s time comes in as now", fset.Position(n.Pos()), n.Sel.Name, pkg)
				}
			}
			return true
		})
	})
}

// TestOneClock holds the terminator to one file that reads the clock: the loop
// of the shard, once per turn.
func TestOneClock(t *testing.T) {
	var files []string
	eachFile(t, []string{"terminator"}, func(pkg, name string, fset *token.FileSet, f *ast.File) {
		if pkg == "terminator/link" {
			return
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && readsClock(s) && !slices.Contains(files, name) {
				files = append(files, name)
			}
			return true
		})
	})
	if len(files) > 1 {
		t.Errorf("the clock is read in %v; only the file of the shard's loop may", files)
	}
}

func readsClock(s *ast.SelectorExpr) bool {
	x, ok := s.X.(*ast.Ident)
	return ok && (x.Name == "time" && slices.Contains(clock, s.Sel.Name) || s.Sel.Name == "ClockGettime")
}

// eachFile parses the files of the packages in the trees, tests left out.
func eachFile(t *testing.T, trees []string, visit func(pkg, name string, fset *token.FileSet, f *ast.File)) {
	t.Helper()
	fset := token.NewFileSet()
	for _, p := range packages(t) {
		pkg := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		if !slices.ContainsFunc(trees, func(tree string) bool { return within(pkg, tree) }) {
			continue
		}
		for _, file := range p.GoFiles {
			f, err := parser.ParseFile(fset, filepath.Join(p.Dir, file), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			visit(pkg, pkg+"/"+file, fset, f)
		}
	}
}
