package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// config is what the tests change in a daemon's configuration file. The zero
// config accelerates everything, with bbr towards the wan.
type config struct {
	steering string // more fields of steering, like "flow_timeout: 5s"
	rules    string // before the last rule
	last     string // more fields of the last rule, like "handshake: split"
}

const configFile = `version: 1
steering: { mode: router, %s }
sides:
  lan: { interfaces: [lan0] }
  wan: { interfaces: [wan0] }
limits: { memory: 2GiB }
profiles:
  wan: { congestion: bbr, initial_window: 32, buffer: { max: 32MiB } }
  lan: { congestion: cubic }
rules:
%s  - name: default
    action: accelerate
    wan: { profile: wan }
    lan: { profile: lan }
    %s
admin: { socket: %s }
`

// daemon is an accd on the box of a network.
type daemon struct {
	n      *network
	cmd    *exec.Cmd
	conf   string // its configuration file
	socket string
	log    string // what it says
	before string // the state of the box before it started
	done   chan struct{}
	err    error // of Wait, once done
	ended  bool  // the test has dealt with its end
}

// startAccd starts accd on the box and waits until it accelerates. At the end of
// the test it is stopped if it still runs, and has to leave nothing behind.
func (n *network) startAccd(c config) *daemon {
	n.t.Helper()
	if *native {
		return nil
	}
	d := &daemon{
		n: n, conf: filepath.Join(n.dir, "accd.yaml"), socket: filepath.Join(n.dir, "accd.sock"),
		log: filepath.Join(n.dir, "log"), before: n.boxState(),
	}
	d.write(c)
	d.start()
	n.t.Cleanup(func() {
		if !d.ended {
			d.stop()
		}
		if n.t.Failed() {
			n.t.Logf("accd said:\n%s", d.said())
		}
	})
	return d
}

// write replaces the configuration file.
func (d *daemon) write(c config) {
	d.n.t.Helper()
	steering := c.steering
	if !strings.Contains(steering, "taps:") {
		steering = strings.TrimSuffix("taps: { queues: 2 }, "+steering, ", ")
	}
	must(d.n.t, os.WriteFile(d.conf, fmt.Appendf(nil, configFile, steering, c.rules, c.last, d.socket), 0o644))
}

// start runs the program; after kill it does so again.
func (d *daemon) start() {
	t := d.n.t
	t.Helper()
	f, err := os.OpenFile(d.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	must(t, err)
	defer f.Close()
	d.cmd = exec.Command(accdProgram, "run", "-c", d.conf)
	d.cmd.Stdout, d.cmd.Stderr = f, f
	d.done, d.ended = make(chan struct{}), false
	must(t, d.n.box.Start(d.cmd))
	go func() {
		d.err = d.cmd.Wait()
		close(d.done)
	}()
	up := await(patience, func() bool {
		select {
		case <-d.done:
			t.Fatalf("accd ended at once: %v\n%s", d.err, d.said())
		default:
		}
		s, err := d.ask()
		return err == nil && s.State == "accelerating"
	})
	if !up {
		t.Fatalf("accd does not start within %v\n%s", patience, d.said())
	}
}

// signal sends a signal to the program.
func (d *daemon) signal(s syscall.Signal) {
	d.n.t.Helper()
	must(d.n.t, d.cmd.Process.Signal(s))
}

// kill ends the program as a crash would.
func (d *daemon) kill() {
	d.signal(syscall.SIGKILL)
	<-d.done
	d.ended = true
}

// stop asks the program to end, which it has to do well and without a trace.
func (d *daemon) stop() {
	if d == nil {
		return
	}
	t := d.n.t
	t.Helper()
	d.ended = true
	d.wantSound()
	d.signal(syscall.SIGTERM)
	select {
	case <-d.done:
		check(t, say("accd", d.err))
	case <-time.After(patience):
		t.Errorf("accd does not end within %v of SIGTERM", patience)
		check(t, d.cmd.Process.Kill())
		<-d.done
	}
	d.wantNoTrace()
}

// wantSound wants both legs of all connections so far on one shard, and no bug.
func (d *daemon) wantSound() {
	d.n.t.Helper()
	s, err := d.ask()
	switch {
	case err != nil:
		d.n.t.Error(err)
	case s.Terminator.HandoffTCP != 0 || s.Terminator.Panics != 0:
		d.n.t.Errorf("%d TCP segments came to the wrong shard, %d shards panicked, want neither", s.Terminator.HandoffTCP, s.Terminator.Panics)
	}
}

// said gives what the program has written.
func (d *daemon) said() string {
	b, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b))
}

// status is what the tests want to know of GET /v1/status.
type status struct {
	State  string `json:"state"`
	Config struct {
		Hash       string `json:"hash"`
		LastReload string `json:"last_reload"`
	} `json:"config"`
	Terminator struct {
		Flows      int              `json:"flows"`
		InCustody  int              `json:"in_custody"`
		Held       int64            `json:"held_bytes"`
		Memory     int64            `json:"memory_bytes"`
		New        int64            `json:"new_flows"`
		Passed     map[string]int64 `json:"passed"`
		Reasons    map[string]int64 `json:"reasons"`
		Taken      directions       `json:"taken_bytes"`
		Untouched  directions       `json:"passed_bytes"`
		HandoffTCP int64            `json:"handoff_tcp"`
		Panics     int64            `json:"panics"`
		Gaps       int64            `json:"gaps"`
	} `json:"terminator"`
}

// directions are payload bytes by direction.
type directions struct {
	Up   int64 `json:"to_server"`
	Down int64 `json:"to_client"`
}

// flow is what the tests want to know of an element of GET /v1/flows.
type flow struct {
	Client    string `json:"client"`
	State     string `json:"state"`
	ClientLeg leg    `json:"client_leg"`
	ServerLeg leg    `json:"server_leg"`
}

type leg struct {
	MSS     int `json:"mss"`
	PathMTU int `json:"path_mtu"`
}

// get asks the program over its socket, as curl --unix-socket does.
func (d *daemon) get(path string, into any) error {
	c := http.Client{
		Timeout: 2 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", d.socket)
			},
		},
	}
	r, err := c.Get("http://accd" + path)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, r.Status)
	}
	return json.NewDecoder(r.Body).Decode(into)
}

func (d *daemon) ask() (*status, error) {
	s := new(status)
	return s, d.get("/v1/status", s)
}

// status asks the program for its counters.
func (d *daemon) status() *status {
	d.n.t.Helper()
	s, err := d.ask()
	must(d.n.t, err)
	return s
}

// flows asks the program for the connections it follows.
func (d *daemon) flows() []flow {
	d.n.t.Helper()
	var f struct{ Flows []flow }
	must(d.n.t, d.get("/v1/flows", &f))
	return f.Flows
}

// run runs a command of the program on the box and gives what it says and its
// exit code.
func (n *network) run(args ...string) (out string, code int) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, accdProgram, args...)
	var b bytes.Buffer
	cmd.Stdout, cmd.Stderr = &b, &b
	must(n.t, n.box.Start(cmd))
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		n.t.Fatalf("accd %s: %v", strings.Join(args, " "), err)
	}
	return b.String(), cmd.ProcessState.ExitCode()
}

// custody is the share of payload that accd has to have acknowledged for a
// connection to count as accelerated.
const custody = 0.95

// inCustody runs what moves so many bytes of payload up and down, and wants
// them to have been in accd's custody.
func (d *daemon) inCustody(t testing.TB, up, down int64, move func() error) {
	t.Helper()
	d.measured(t, move, func(taken directions, gaps int64) error {
		if stoodStill(t, gaps) {
			return nil
		}
		for _, x := range []struct {
			way        string
			sent, took int64
		}{{"up", up, taken.Up}, {"down", down, taken.Down}} {
			if float64(x.took) < custody*float64(x.sent) {
				return fmt.Errorf("accd acknowledged %d of %d bytes %s (%.1f %%), want at least %.0f %%",
					x.took, x.sent, x.way, 100*float64(x.took)/float64(x.sent), 100*custody)
			}
		}
		return nil
	})
}

// untouched runs what moves payload that must not be in accd's custody.
func (d *daemon) untouched(t testing.TB, move func() error) {
	t.Helper()
	d.measured(t, move, func(taken directions, _ int64) error {
		if taken != (directions{}) {
			return fmt.Errorf("accd acknowledged %d bytes up and %d down of what it must leave alone", taken.Up, taken.Down)
		}
		return nil
	})
}

// stoodStill reports that accd had gaps: it got no processor for half a second,
// on a machine that is too busy. Its flows pass for a while then, as they must, and
// what it took says nothing.
func stoodStill(t testing.TB, gaps int64) bool {
	t.Helper()
	if gaps > 0 {
		t.Logf("accd stood still, %d turns came too late: what it took is not judged", gaps)
	}
	return gaps > 0
}

// measured runs move, and if that went well lets judge see what accd acknowledged
// meanwhile, and how many gaps it had.
func (d *daemon) measured(t testing.TB, move func() error, judge func(taken directions, gaps int64) error) {
	t.Helper()
	if d == nil {
		check(t, move())
		return
	}
	before := d.status().Terminator
	err := move()
	after := d.status().Terminator
	if err == nil {
		err = judge(directions{after.Taken.Up - before.Taken.Up, after.Taken.Down - before.Taken.Down}, after.Gaps-before.Gaps)
	}
	if err == nil {
		return
	}
	t.Error(err)
	for r, n := range after.Reasons {
		if n -= before.Reasons[r]; n != 0 {
			t.Logf("reason %s: %d", r, n)
		}
	}
	for r, n := range after.Passed {
		if n -= before.Passed[r]; n != 0 {
			t.Logf("passed frames, %s: %d", r, n)
		}
	}
	t.Logf("passed bytes: %d up, %d down", after.Untouched.Up-before.Untouched.Up, after.Untouched.Down-before.Untouched.Down)
}

// boxState gives everything that accd may change on the box.
func (n *network) boxState() string {
	n.t.Helper()
	var b strings.Builder
	for _, command := range []string{
		"ip -br link", "ip rule", "ip -6 rule", "ip route show table all", "ip -6 route show table all",
		"ip neigh show nud permanent", "nft list ruleset",
	} {
		fmt.Fprintf(&b, "$ %s\n%s", command, sh(n.t, n.box, command))
	}
	for _, dev := range []string{"all", "default", boxLAN, boxWAN} {
		for _, key := range []string{"rp_filter", "accept_local", "src_valid_mark", "forwarding"} {
			v, err := n.box.SysctlValue("net/ipv4/conf/" + dev + "/" + key)
			must(n.t, err)
			fmt.Fprintf(&b, "net/ipv4/conf/%s/%s = %s\n", dev, key, v)
		}
	}
	return b.String()
}

// wantNoTrace wants the box to be as it was before accd started.
func (d *daemon) wantNoTrace() {
	d.n.t.Helper()
	if after := d.n.boxState(); after != d.before {
		d.n.t.Errorf("accd left a trace on the box; before:\n%s\nafter:\n%s", d.before, after)
	}
}
