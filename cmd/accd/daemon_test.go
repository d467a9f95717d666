package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"accd/admin"
	"accd/netcfg/netlab"
)

// TestMain lets the test program be accd: a daemon has to be a process.
func TestMain(m *testing.M) {
	if os.Getenv("ACCD_TEST_MAIN") != "" {
		os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// box is a router between a client and a server, and the place of an accd.
type box struct {
	*testing.T
	client, box, server *netlab.Namespace
	config, socket      string
	admin               *admin.Client
}

func newBox(t *testing.T) *box {
	if os.Geteuid() != 0 {
		t.Skip("needs root for network namespaces")
	}
	l, err := netlab.New("cmd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	b := &box{T: t, config: filepath.Join(t.TempDir(), "accd.yaml")}
	for _, x := range []struct {
		role string
		ns   **netlab.Namespace
	}{{"client", &b.client}, {"box", &b.box}, {"server", &b.server}} {
		if *x.ns, err = l.Add(x.role); err != nil {
			t.Fatal(err)
		}
	}
	addr := func(s string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(s)} }
	all := netip.MustParsePrefix("0.0.0.0/0")
	for _, err := range []error{
		l.Connect(netlab.End{NS: b.client, Dev: "eth0", Addrs: addr("198.51.100.2/24")}, netlab.End{NS: b.box, Dev: "wan0", Addrs: addr("198.51.100.1/24")}),
		l.Connect(netlab.End{NS: b.server, Dev: "eth0", Addrs: addr("192.0.2.2/24")}, netlab.End{NS: b.box, Dev: "lan0", Addrs: addr("192.0.2.1/24")}),
		b.client.Route(all, netip.MustParseAddr("198.51.100.1")),
		b.server.Route(all, netip.MustParseAddr("192.0.2.1")),
		b.box.Forward(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	b.socket = filepath.Join(t.TempDir(), "accd.sock")
	b.admin = admin.NewClient(b.socket)
	b.configure("log: { level: info }")
	return b
}

// configure writes the configuration file.
func (b *box) configure(more string) {
	b.Helper()
	text := fmt.Sprintf(`version: 1
steering: { taps: { queues: 2 } }
sides: { wan: { interfaces: [wan0] }, lan: { interfaces: [lan0] } }
rules:
  - { name: default, action: accelerate, wan: { congestion: bbr } }
admin: { socket: %q }
%s
`, b.socket, more)
	if err := os.WriteFile(b.config, []byte(text), 0o644); err != nil {
		b.Fatal(err)
	}
}

// process is one run of accd on the box.
type process struct {
	*exec.Cmd
	out  bytes.Buffer
	done chan struct{}
}

func (b *box) start(args ...string) *process {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	p := &process{Cmd: exec.Command(self, args...), done: make(chan struct{})}
	p.Env = append(os.Environ(), "ACCD_TEST_MAIN=1")
	p.Stdout, p.Stderr = &p.out, &p.out
	if err := b.box.Start(p.Cmd); err != nil {
		b.Fatal(err)
	}
	go func() {
		_ = p.Wait() // ProcessState has it
		close(p.done)
	}()
	return p
}

// want waits for the end of p and checks its exit code and what it says.
func (b *box) want(p *process, code int, said ...string) {
	b.Helper()
	select {
	case <-p.done:
	case <-time.After(15 * time.Second):
		_ = p.Process.Kill()
		<-p.done
		b.Fatalf("%v does not end:\n%s", p.Args[1:], &p.out)
	}
	if got := p.ProcessState.ExitCode(); got != code {
		b.Fatalf("%v: exit code %d, want %d:\n%s", p.Args[1:], got, code, &p.out)
	}
	for _, s := range said {
		if !strings.Contains(p.out.String(), s) {
			b.Errorf("%v: lacks %q:\n%s", p.Args[1:], s, &p.out)
		}
	}
}

// daemon starts accd run and waits until it accelerates.
func (b *box) daemon() *process {
	b.Helper()
	p := b.start("run", "-c", b.config)
	b.await(p, func(st *admin.Status) bool { return st.State == admin.Accelerating })
	return p
}

// await asks p for its status until ok.
func (b *box) await(p *process, ok func(*admin.Status) bool) *admin.Status {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		st, err := b.admin.Status(ctx)
		if err == nil && ok(st) {
			return st
		}
		select {
		case <-tick.C:
		case <-p.done:
			b.Fatalf("accd has ended:\n%s", &p.out)
		case <-ctx.Done():
			_ = p.Process.Kill()
			<-p.done
			b.Fatalf("waited in vain: %+v, %v:\n%s", st, err, &p.out)
		}
	}
}

// connect opens a connection through the box.
func (b *box) connect() (client, server net.Conn) {
	b.Helper()
	l, err := b.server.Listen("tcp", "192.0.2.2:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Second)
	defer cancel()
	if client, err = b.client.Dial(ctx, "tcp", l.Addr().String()); err != nil {
		b.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// carry sends bytes from one end to the other.
func (b *box) carry(from, to net.Conn, size int64) {
	b.Helper()
	deadline := time.Now().Add(10 * time.Second)
	_ = from.SetDeadline(deadline)
	_ = to.SetDeadline(deadline)
	data := make([]byte, size)
	_, _ = rand.Read(data) // never fails
	sent := make(chan error, 1)
	go func() {
		_, err := from.Write(data)
		sent <- err
	}()
	got := sha256.New()
	n, err := io.CopyN(got, to, size)
	if err := errors.Join(err, <-sent); err != nil {
		b.Fatalf("after %d of %d bytes: %v", n, size, err)
	}
	if want := sha256.Sum256(data); !bytes.Equal(got.Sum(nil), want[:]) {
		b.Fatal("the bytes have changed on their way")
	}
}

// traces gives what of accd can be seen on the box.
func (b *box) traces() string {
	b.Helper()
	var out strings.Builder
	for _, c := range [][]string{
		{"ip", "rule"}, {"ip", "-6", "rule"}, {"ip", "link"}, {"ip", "route", "show", "table", "all"}, {"ip", "-6", "route", "show", "table", "all"},
		{"nft", "list", "ruleset"}, {"sysctl", "-a", "--pattern", "forward|rp_filter|accept_local|src_valid_mark|disable_policy"},
	} {
		text, err := b.box.Run(b.Context(), c[0], c[1:]...)
		if err != nil {
			b.Fatal(err)
		}
		out.WriteString(text)
	}
	return out.String()
}

// TestDaemon is a day in the life of a daemon.
func TestDaemon(t *testing.T) {
	b := newBox(t)
	b.want(b.start("doctor", "-c", b.config), exitOK, "0 in the way", "forwarding IPv4")
	before := b.traces()
	d := b.daemon()
	b.want(b.start("doctor", "-c", b.config, "-o", "json"), exitOK, `"checks": [`)

	// There is one accd per host.
	b.want(b.start("run", "-c", b.config), exitFailed, "accd is already running", fmt.Sprint(d.Process.Pid))
	b.want(b.start("cleanup", "-c", b.config), exitFailed, "accd is already running")

	// It accelerates, and shows what.
	client, server := b.connect()
	b.carry(server, client, 4<<20)
	b.carry(client, server, 4<<20)
	st := b.await(d, func(st *admin.Status) bool { return st.Terminator.TakenBytes.ToClient >= 4<<20*95/100 })
	if st.Terminator.Flows != 1 || st.Terminator.HandoffTCP != 0 || st.Config.Rules != 1 || st.PID != d.Process.Pid {
		t.Errorf("status: %+v %+v", st.Daemon, st.Terminator)
	}
	b.want(b.start("status", "--socket", b.socket, "--over", "10ms"), exitOK, "ACCELERATING", "fail-to-wire armed", "flows 1 (")
	b.want(b.start("flows", "list", "--socket", b.socket), exitOK, "198.51.100.2:", "192.0.2.2:", "default")
	list := b.start("flows", "list", "-o", "json", "--socket", b.socket)
	b.want(list, exitOK)
	var flows admin.Flows
	if err := json.Unmarshal(list.out.Bytes(), &flows); err != nil || flows.API != admin.Version || len(flows.Flows) != 1 {
		t.Fatalf("flows list -o json: %v\n%s", err, &list.out)
	}
	b.want(b.start("flows", "show", flows.Flows[0].ID, "--socket", b.socket), exitOK,
		"flow "+flows.Flows[0].ID, "rule default (line 5)", "side wan", "side lan", "bbr", "cubic")
	b.want(b.start("flows", "show", "nope", "--socket", b.socket), exitFailed, "no such flow: flow \"nope\" may have ended")
	curl, err := b.box.Run(t.Context(), "curl", "-sS", "--unix-socket", b.socket, "http://accd/v1/status")
	if err != nil || !strings.HasPrefix(curl, `{"api":1,`) {
		t.Errorf("curl: %v\n%s", err, curl)
	}

	// A bad file is refused and the old configuration stays; a good one counts.
	b.configure("log: { level: loud }")
	b.signal(d, syscall.SIGHUP)
	refused := b.await(d, func(st *admin.Status) bool { return st.Config.LastReload != "" })
	if refused.Config.Hash != st.Config.Hash || !strings.Contains(refused.Config.LastReload, `unknown level "loud"`) {
		t.Errorf("refused reload: %+v", refused.Config)
	}
	b.configure("log: { level: debug }\nlimits: { flows: 1000 }")
	b.signal(d, syscall.SIGHUP)
	loaded := b.await(d, func(st *admin.Status) bool { return st.Config.LastReload == "" })
	if loaded.Config.Hash == st.Config.Hash || len(loaded.Config.Restart) != 1 {
		t.Errorf("reload: %+v", loaded.Config)
	}
	b.carry(server, client, 1<<20)

	// It leaves without breaking anything, or leaving anything.
	b.signal(d, syscall.SIGTERM)
	b.want(d, exitOK, "accd has ended")
	b.carry(server, client, 1<<20)
	b.carry(client, server, 1<<20)
	if after := b.traces(); after != before {
		t.Errorf("the host has changed: before\n%s\nafter\n%s", before, after)
	}
	if _, err := os.Stat(b.socket); !errors.Is(err, os.ErrNotExist) {
		t.Error("the socket is still there:", err)
	}
	b.want(b.start("status", "--socket", b.socket), exitNotRunning, "accd is not running")
}

func (b *box) signal(p *process, s syscall.Signal) {
	b.Helper()
	if err := p.Process.Signal(s); err != nil {
		b.Fatal(err)
	}
}

// TestKilled: what a killed accd leaves behind, cleanup removes and a new one
// replaces; idle connections go on through all of it, and those whose bytes it
// held are reset at both ends.
func TestKilled(t *testing.T) {
	b := newBox(t)
	before := b.traces()
	d := b.daemon()
	client, server := b.connect()
	b.carry(server, client, 1<<20)
	b.await(d, func(st *admin.Status) bool { return st.Terminator.HeldBytes == 0 && st.Terminator.InCustody == 0 })

	// A receiver that does not read makes accd hold bytes.
	reader, writer := b.connect()
	if err := reader.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() {
		_, err := writer.Write(make([]byte, 64<<20))
		written <- err
	}()
	b.await(d, func(st *admin.Status) bool { return st.Terminator.HeldBytes > 64<<10 })
	b.signal(d, syscall.SIGKILL)
	<-d.done
	b.carry(client, server, 1<<20)

	b.want(b.start("cleanup", "-c", b.config), exitOK, "nothing of accd is left", "reset")
	if after := b.traces(); after != before {
		t.Errorf("cleanup: before\n%s\nafter\n%s", before, after)
	}
	_ = reader.SetDeadline(time.Now().Add(5 * time.Second))
	_ = writer.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.Copy(io.Discard, reader); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the receiver's connection: %v, want a reset", err)
	}
	if err := <-written; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the sender's connection: %v, want a reset", err)
	}
	b.carry(server, client, 1<<20)

	d = b.daemon()
	b.signal(d, syscall.SIGKILL)
	<-d.done
	d = b.daemon()
	b.carry(server, client, 1<<20)
	fresh, peer := b.connect()
	b.carry(peer, fresh, 4<<20)
	b.await(d, func(st *admin.Status) bool { return st.Terminator.TakenBytes.ToClient >= 4<<20*95/100 })
	b.signal(d, syscall.SIGTERM)
	b.want(d, exitOK)
	if after := b.traces(); after != before {
		t.Errorf("after a restart: before\n%s\nafter\n%s", before, after)
	}
}
