package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const validConfig = "version: 1\nrules:\n  - { name: default, action: accelerate }\n"

// TestCommands runs command lines that need neither root nor a daemon.
func TestCommands(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	valid := file("valid.yaml", validConfig)
	warned := file("warned.yaml", validConfig+"  - { name: late, action: pass }\n")
	broken := file("broken.yaml", "version: 1\nrules:\n  - { name: default, action: accelrate }\n")
	socket := filepath.Join(dir, "nobody.sock")

	for _, c := range []struct {
		args           string
		code           int
		stdout, stderr []string // each must occur; nil: nothing may be written there
	}{
		{"", exitOK, []string{"accd demo", "accd run -c", "Available Commands"}, nil},
		{"help", exitOK, []string{"Available Commands", "doctor", "cleanup"}, nil},
		{"version", exitOK, []string{"accd ", "go1."}, nil},
		{"version -o json", exitOK, []string{`"version": `}, nil},
		{"version -o xml", exitUsage, nil, []string{`unknown format "xml" (accepted: table, json)`, "accd help"}},
		{"frobnicate", exitUsage, nil, []string{`unknown command "frobnicate"`}},
		{"stat", exitUsage, nil, []string{"Did you mean this?", "status"}},
		{"status --colour", exitUsage, nil, []string{"unknown flag: --colour"}},
		{"check", exitUsage, nil, []string{"check takes one file: accd check /etc/accd/accd.yaml"}},
		{"check " + valid, exitOK, []string{valid + ": valid, 1 rule\n"}, nil},
		{"check " + warned, exitOK, []string{warned + `:4:13: warning: rule "late" can never match: shadowed by "default" (line 3)`, "1 warning\n"}, nil},
		{"check " + broken, exitConfig, []string{
			broken + `:3:30: error: unknown action "accelrate" (did you mean "accelerate"? accepted: accelerate, pass)`,
			"    3 |   - { name: default, action: accelrate }\n      |                              ^~~~~~~~~\n",
			"1 error\n",
		}, nil},
		{"check -o json " + valid, exitOK, []string{`"problems": []`}, nil},
		{"check -o json " + broken, exitConfig, []string{`"line": 3`, `"column": 30`, `"severity": "error"`}, nil},
		{"check " + dir + "/none.yaml", exitConfig, nil, []string{"there is no configuration file " + dir + "/none.yaml", "deploy/accd.yaml"}},
		{"run -c " + broken, exitConfig, nil, []string{`unknown action "accelrate"`, "1 error"}},
		{"run -c " + dir + "/none.yaml", exitConfig, nil, []string{"there is no configuration file"}},
		{"doctor -c " + broken, exitConfig, nil, []string{`unknown action "accelrate"`}},
		{"status --socket " + socket, exitNotRunning, nil, []string{"accd is not running", socket, "accd run -c"}},
		{"flows list --socket " + socket, exitNotRunning, nil, []string{"accd is not running"}},
		{"flows show 1 --socket " + socket, exitNotRunning, nil, []string{"accd is not running"}},
		{"flows show", exitUsage, nil, []string{"flows show takes one ID"}},
	} {
		var stdout, stderr bytes.Buffer
		code := run(strings.Fields(c.args), &stdout, &stderr)
		if code != c.code {
			t.Errorf("accd %s: exit code %d, want %d\n%s%s", c.args, code, c.code, &stdout, &stderr)
		}
		expect(t, c.args+": standard output", stdout.String(), c.stdout)
		expect(t, c.args+": standard error", stderr.String(), c.stderr)
	}
}

// Who names no configuration, and has none at the default place, is told what the
// host was checked for.
func TestDoctorWithoutConfiguration(t *testing.T) {
	if _, err := os.Stat(defaultConfig); err == nil {
		t.Skip(defaultConfig + " exists")
	}
	var stdout, stderr bytes.Buffer
	run([]string{"doctor"}, &stdout, &stderr)
	expect(t, "doctor: standard output", stdout.String(), []string{"in the way"})
	expect(t, "doctor: standard error", stderr.String(), []string{"there is no " + defaultConfig, "-c"})
}

func expect(t *testing.T, what, got string, want []string) {
	t.Helper()
	if want == nil && got != "" {
		t.Errorf("accd %s: unexpected\n%s", what, got)
	}
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("accd %s:\n%s\nlacks %q", what, got, w)
		}
	}
}

// TestVersionJSON: what programs read is an object with known keys.
func TestVersionJSON(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run([]string{"version", "-o", "json"}, &stdout, &stderr); code != exitOK {
		t.Fatal(code, &stderr)
	}
	var v struct{ Version, Go, Arch string }
	if err := json.Unmarshal(stdout.Bytes(), &v); err != nil || v.Version == "" || v.Go == "" || v.Arch == "" {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestOrdinaryUser: without root, what needs it says so and how to get it.
func TestOrdinaryUser(t *testing.T) {
	effectiveUser = func() int { return 65534 }
	defer func() { effectiveUser = os.Geteuid }()
	config := filepath.Join(t.TempDir(), "accd.yaml")
	if err := os.WriteFile(config, []byte(validConfig), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"run -c " + config, "cleanup", "demo"} {
		var stdout, stderr bytes.Buffer
		if code := run(strings.Fields(args), &stdout, &stderr); code != exitPermission {
			t.Errorf("accd %s: exit code %d, want %d", args, code, exitPermission)
		}
		expect(t, args, stderr.String(), []string{"root", "sudo"})
	}
}
