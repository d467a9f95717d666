package admin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"accd/terminator"

	"github.com/google/go-cmp/cmp"
)

// fixed is a Source that does not change.
type fixed struct {
	daemon Daemon
	status terminator.Status
	flows  []terminator.Flow
	err    error
}

func (f *fixed) Describe() Daemon { return f.daemon }

func (f *fixed) Status(context.Context) (*terminator.Status, error) { return &f.status, f.err }

func (f *fixed) Flows(_ context.Context, filter terminator.Filter) (out []terminator.Flow, err error) {
	for _, x := range f.flows {
		if filter.ID == "" || filter.ID == x.ID {
			out = append(out, x)
		}
	}
	if filter.Limit > 0 && len(out) > filter.Limit {
		out = out[:filter.Limit]
	}
	return out, f.err
}

// serve runs a server and gives a client for it.
func serve(t *testing.T, source Source) *Client {
	t.Helper()
	claim, err := Take(filepath.Join(t.TempDir(), "accd.sock"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := claim.Listen()
	if err != nil {
		t.Fatal(err)
	}
	srv := NewServer(source, zap.NewNop())
	go srv.Serve(l)
	t.Cleanup(func() {
		srv.Close()
		if err := claim.Release(); err != nil {
			t.Error(err)
		}
	})
	return NewClient(claim.socket)
}

func TestRoundTrip(t *testing.T) {
	source := &fixed{
		daemon: Daemon{
			Version: "0.1", PID: 7, Started: time.Unix(1e9, 0).UTC(), Mode: "router", State: Accelerating, FailTo: "wire",
			Config: Config{File: "/etc/accd/accd.yaml", Hash: "abc", Loaded: time.Unix(1e9, 0).UTC(), Rules: 2},
		},
		status: terminator.Status{Shards: 2, Flows: 3, Passed: map[string]uint64{"rule": 4}},
		flows:  []terminator.Flow{{ID: "7f3", Rule: "bulk", State: "custody"}, {ID: "a", Rule: "default", State: "wire"}},
	}
	c, ctx := serve(t, source), t.Context()

	st, err := c.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(&Status{Version, source.daemon, &source.status}, st); d != "" {
		t.Error(d)
	}
	all, err := c.Flows(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(&Flows{Version, source.flows}, all); d != "" {
		t.Error(d)
	}
	if some, err := c.Flows(ctx, 1); err != nil || len(some.Flows) != 1 {
		t.Errorf("limit 1: %v, %v", some, err)
	}
	if one, err := c.Flow(ctx, "7f3"); err != nil || one.Rule != "bulk" {
		t.Errorf("one flow: %v, %v", one, err)
	}
	if _, err := c.Flow(ctx, "zz"); !errors.Is(err, ErrNoFlow) {
		t.Errorf("no flow: %v", err)
	}

	// A daemon whose shards do not answer says so.
	source.err = errors.New("shard 1 does not answer")
	if _, err := c.Status(ctx); err == nil || !strings.Contains(err.Error(), "shard 1 does not answer") {
		t.Errorf("failing source: %v", err)
	}
}

// TestReadOnly: nothing but GET is answered, and every answer is JSON.
func TestReadOnly(t *testing.T) {
	c := serve(t, &fixed{})
	for _, q := range []struct {
		method, path string
		code         int
		body         string
	}{
		{"GET", "/v1/flows", 200, `{"api":1,"flows":[]}`},
		{"POST", "/v1/flows", 404, "no POST /v1/flows"},
		{"DELETE", "/v1/flows/1", 404, "no DELETE"},
		{"GET", "/v2/status", 404, "GET /v1/status"},
		{"GET", "/v1/flows?limit=none", 400, "limit=none"},
		{"GET", "/v1/flows/..%2fstatus", 404, `flow \"../status\" may have ended`},
	} {
		req, err := http.NewRequest(q.method, "http://accd"+q.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != q.code || !strings.Contains(string(body), q.body) || resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: %d %s (%v), want %d with %q", q.method, q.path, resp.StatusCode, body, err, q.code, q.body)
		}
	}
}

func TestNotRunning(t *testing.T) {
	c := NewClient(filepath.Join(t.TempDir(), "accd.sock"))
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), "accd run -c") {
		t.Error(err)
	}
}

// TestSilent: a daemon that stands still is told from one that does not run.
func TestSilent(t *testing.T) {
	claim, err := Take(filepath.Join(t.TempDir(), "accd.sock"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := claim.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := NewClient(claim.socket).Status(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "does not answer") {
		t.Error(err)
	}
}
