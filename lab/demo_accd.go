package lab

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// demoConfig is the box's configuration, less the place of its socket.
//
//go:embed demo.yaml
var demoConfig string

// box is the accd that runs on the box of the demo.
type box struct {
	*child
	client http.Client // of its socket
	before status      // when it was ready
}

// status is what the demo reads of GET /v1/status.
type status struct {
	State      string `json:"state"`
	Terminator struct {
		InCustody int        `json:"in_custody"`   // flows that accd holds bytes of
		Taken     directions `json:"taken_bytes"`  // payload acknowledged by accd
		Passed    directions `json:"passed_bytes"` // payload acknowledged by its receiver only
	} `json:"terminator"`
}

type directions struct {
	ToClient int64 `json:"to_client"`
}

// leastTaken is the share of the file that has to be acknowledged by accd for a
// run to count as one through accd.
const leastTaken = 0.95

// startAccd starts accd on the box.
func (d *demo) startAccd(ctx context.Context) (*box, error) {
	socket, conf := filepath.Join(d.dir, "accd.sock"), filepath.Join(d.dir, "accd.yaml")
	if err := os.WriteFile(conf, fmt.Appendf(nil, "%sadmin: { socket: %q }\n", demoConfig, socket), 0o644); err != nil {
		return nil, err
	}
	b := newBox(socket)
	ready := func(ctx context.Context) (err error) {
		b.before, err = b.status(ctx)
		if err == nil && b.before.State != "accelerating" {
			err = fmt.Errorf("accd is %s", b.before.State)
		}
		return err
	}
	var err error
	b.child, err = startChild(ctx, d.top.Box, filepath.Join(d.dir, "accd.log"), ready, d.Accd, "run", "-c", conf)
	return b, err
}

func newBox(socket string) *box {
	return &box{client: http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}}
}

// status asks accd what it does.
func (b *box) status(ctx context.Context) (s status, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://accd/v1/status", nil)
	if err != nil {
		return s, err
	}
	resp, err := b.client.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return s, fmt.Errorf("accd's status: %s", resp.Status)
	}
	return s, json.NewDecoder(resp.Body).Decode(&s)
}

// wantCustody makes sure that a file of that size went through accd's hands and
// did not just pass. accd sums up what it took when a custody ends, so it waits
// for that.
func (b *box) wantCustody(ctx context.Context, size int64) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s, err := b.status(ctx)
	for ; err == nil && s.Terminator.InCustody > 0; s, err = b.status(ctx) {
		time.Sleep(20 * time.Millisecond) // nothing tells when the last one ends
	}
	if err != nil {
		return fmt.Errorf("asking accd whether the file was in its custody: %w", err)
	}
	taken := s.Terminator.Taken.ToClient - b.before.Terminator.Taken.ToClient
	passed := s.Terminator.Passed.ToClient - b.before.Terminator.Passed.ToClient
	if share := float64(taken) / float64(size); share < leastTaken {
		return fmt.Errorf("accd acknowledged only %.0f %% of the file (%d bytes; %d passed): the run was not accelerated",
			100*share, taken, passed)
	}
	return nil
}
