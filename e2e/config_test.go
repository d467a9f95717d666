package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// badConfig has ten mistakes.
const badConfig = `version: 2
steering: { mode: rooter, flow_timeout: 10 bananas }
sides:
  lan: { interfaces: [lan0] }
  wan: { interface: [wan0] }
limits: { flows: many }
profiles:
  wan: { congestion: bbrr, initial_window: -3 }
rules:
  - name: one
    match: { port: [99999], from: [10.1.0.0/33] }
    action: acelerate
`

// All mistakes of a file are told at once, each with its place, and a daemon
// does not start on them.
func TestBadConfig(t *testing.T) {
	needAccd(t)
	n := newNetwork(t, shape{})
	before := n.boxState()
	file := filepath.Join(n.dir, "bad.yaml")
	must(t, os.WriteFile(file, []byte(badConfig), 0o644))
	message := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(file) + `:\d+:\d+: error: .+$`)
	for _, args := range [][]string{{"check", file}, {"run", "-c", file}} {
		out, code := n.run(args...)
		if code != 4 {
			t.Errorf("accd %s: exit code %d, want 4", args[0], code)
		}
		if got := message.FindAllString(out, -1); len(got) != 10 {
			t.Errorf("accd %s gives %d messages with line and column for ten mistakes:\n%s", args[0], len(got), out)
		}
	}
	if after := n.boxState(); after != before {
		t.Errorf("a daemon that does not start changed the box; before:\n%s\nafter:\n%s", before, after)
	}
}

// A reload of a bad file is refused and changes nothing; that of a good one
// holds for new connections.
func TestReload(t *testing.T) {
	needAccd(t)
	n := newNetwork(t, shape{})
	d := n.startAccd(config{})
	stays := n.startStream(families[0], false)
	hash := d.status().Config.Hash

	must(t, os.WriteFile(d.conf, []byte(badConfig), 0o644))
	d.signal(syscall.SIGHUP)
	if !await(patience, func() bool { return d.status().Config.LastReload != "" }) {
		t.Fatal("the status does not tell of a reload that was refused")
	}
	if got := d.status().Config.Hash; got != hash {
		t.Errorf("after a reload that was refused the configuration is %s, before it was %s", got, hash)
	}
	if !strings.Contains(d.said(), d.conf+":1:10") {
		t.Errorf("the log does not tell the place of the first mistake:\n%s", d.said())
	}
	check(t, stays.finish(patience))
	move := func() error {
		client, server := n.connect(families[0])
		return exchange(client, server, 4*mib, 4*mib)
	}
	d.inCustody(t, 4*mib, 4*mib, move)

	d.write(config{rules: "  - { name: all, match: { port: [\"1-65535\"] }, action: pass }\n"})
	stays = n.startStream(families[1], true)
	if stuck := progressed([]*stream{stays}, []int64{0}, patience); stuck > 0 {
		t.Fatal("the stream does not start")
	}
	d.signal(syscall.SIGHUP)
	if !await(patience, func() bool { s := d.status(); return s.Config.Hash != hash && s.Config.LastReload == "" }) {
		t.Fatal("the good file is not loaded")
	}
	taken := d.status().Terminator.Taken.Up
	time.Sleep(200 * time.Millisecond)
	if got := d.status().Terminator.Taken.Up; got <= taken {
		t.Error("a connection from before the reload is accelerated no longer")
	}
	check(t, stays.finish(patience))
	d.untouched(t, move)
}
