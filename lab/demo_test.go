package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The direct runs of the demo with a small file: curl, nginx, two congestion
// controls and the report. accd's own run is an end-to-end test of accd.
func TestDirectRuns(t *testing.T) {
	needRoot(t)
	page, tmp := filepath.Join(t.TempDir(), "report.html"), t.TempDir()
	t.Setenv("TMPDIR", tmp)
	var progress bytes.Buffer
	r, err := RunDemo(t.Context(), Options{Size: 2 << 20, Runs: []string{directCubic, directBBR}, HTML: page, Progress: &progress})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", progress.String())
	for _, run := range r.Runs {
		if !run.SHA256OK {
			t.Errorf("%s: the file came damaged", run.Name)
		}
		// 2 MiB begin with slow start: more than a window per round trip of
		// 80 ms, and far from the limit.
		if run.Share < 0.02 || run.Share > 0.6 || run.Seconds < 0.5 {
			t.Errorf("%+v", run)
		}
	}
	wantWellFormed(t, page)
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left in the directory of temporary files: %v %v", left, err)
	}
}

// A demo that is interrupted leaves nothing behind.
func TestInterrupted(t *testing.T) {
	needRoot(t)
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// Most of a file of 64 MiB is still to come when a second has passed.
	time.AfterFunc(time.Second, cancel)
	_, err := RunDemo(ctx, Options{Size: 64 << 20, Runs: []string{directCubic}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left in the directory of temporary files: %v %v", left, err)
	}
	if left, _ := filepath.Glob(fmt.Sprintf("/run/netns/*.demo.%d.*", os.Getpid())); len(left) > 0 {
		t.Errorf("namespaces are left: %v", left)
	}
}

func testReport() *Report {
	r := &Report{
		Runs: []Run{
			{Name: directCubic, Seconds: 44.3, Retransmissions: 27, SHA256OK: true, samples: make([]float64, 443)},
			{Name: directBBR, Seconds: 3.6, Retransmissions: 2511, SHA256OK: true, samples: make([]float64, 36)},
			{Name: accdBBR, Seconds: 3.5, Retransmissions: 120, SHA256OK: true, samples: make([]float64, 35)},
		},
		size: 32 << 20, limit: demoLimit, sample: sampleEvery, lines: conditions(1),
	}
	for _, run := range r.Runs {
		for i := range run.samples {
			run.samples[i] = float64(i % 100)
		}
	}
	r.finish()
	return r
}

func TestReportTable(t *testing.T) {
	var b strings.Builder
	if err := testReport().WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	want := `
           run  seconds  Mbit/s  of limit  retransmissions  SHA-256
  direct-cubic    44.30     6.1      0.06               27       ok
    direct-bbr     3.60    74.6      0.78             2511       ok
      accd-bbr     3.50    76.7      0.80              120       ok

accd was 12.7 times as fast as the kernel's cubic.
`
	if got := "\n" + b.String(); got != want {
		t.Errorf("got%swant%s", got, want)
	}
}

func TestReportJSON(t *testing.T) {
	b, err := json.Marshal(testReport())
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Runs []map[string]any
		Gain float64
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Runs) != 3 || got.Gain < 12.6 || got.Gain > 12.7 {
		t.Errorf("%s", b)
	}
	for _, key := range []string{"name", "seconds", "mbit", "share", "sha256_ok"} {
		if _, ok := got.Runs[2][key]; !ok {
			t.Errorf("%s is missing in %s", key, b)
		}
	}
}

func TestReportPage(t *testing.T) {
	page := filepath.Join(t.TempDir(), "report.html")
	if err := testReport().saveHTML(page); err != nil {
		t.Fatal(err)
	}
	b := wantWellFormed(t, page)
	if n := bytes.Count(b, []byte("<polyline")); n != 6 {
		t.Errorf("%d lines in two charts of three runs", n)
	}
	for _, outside := range []string{"src=", "href=", "url(", "@import", "NaN", "Inf"} {
		if bytes.Contains(b, []byte(outside)) {
			t.Errorf("the page has %s", outside)
		}
	}
}

// wantWellFormed reads a page as strictly as XML is read.
func wantWellFormed(t *testing.T, page string) []byte {
	t.Helper()
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	x := xml.NewDecoder(bytes.NewReader(b))
	x.Strict, x.AutoClose, x.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	for {
		if _, err := x.Token(); errors.Is(err, io.EOF) {
			return b
		} else if err != nil {
			t.Fatalf("%s: %v", page, err)
		}
	}
}

// The configuration that the demo runs with is the one that is documented.
func TestConfigurationIsTheExample(t *testing.T) {
	example, err := os.ReadFile("../deploy/accd-demo.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if string(example) != demoConfig {
		t.Error("lab/demo.yaml and deploy/accd-demo.yaml differ: copy one over the other")
	}
}

// A run counts as one through accd only if accd acknowledged the file.
func TestCustodyIsVerified(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	answer := ""
	server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, answer) })}
	go server.Serve(l)
	defer server.Close()

	b := newBox(socket)
	for _, c := range []struct {
		before, after string
		ok            bool
	}{
		{`"to_client":0`, `"to_client":1000`, true},
		{`"to_client":100`, `"to_client":1060`, true},
		{`"to_client":100`, `"to_client":1000`, false},
		{`"to_client":0,"to_server":0`, `"to_client":0,"to_server":1000`, false},
	} {
		status := func(taken string) string {
			return `{"api":1,"state":"accelerating","terminator":{"taken_bytes":{` + taken + `},"passed_bytes":{"to_client":7}}}`
		}
		answer = status(c.before)
		if b.before, err = b.status(t.Context()); err != nil || b.before.State != "accelerating" {
			t.Fatalf("%+v %v", b.before, err)
		}
		answer = status(c.after)
		if err := b.wantCustody(t.Context(), 1000); (err == nil) != c.ok {
			t.Errorf("from %s to %s: %v", c.before, c.after, err)
		}
	}
}
