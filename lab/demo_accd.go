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
)

// demoConfig is the box's configuration, less the place of its socket.
//
//go:embed demo.yaml
var demoConfig string

// box is the accd that runs on the box of the demo.
type box struct {
	*child
	client http.Client // of its socket
	before payload     // when it was ready
}

// payload is what accd says of the bytes it has seen, both sums by receiver.
type payload struct {
	Taken struct {
		ToClient int64 `json:"to_client"`
	} `json:"taken_bytes"` // acknowledged by accd
	Passed struct {
		ToClient int64 `json:"to_client"`
	} `json:"passed_bytes"` // acknowledged by their receiver only
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
	b := new(box)
	b.client.Transport = &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}
	ready := func(ctx context.Context) (err error) {
		b.before, err = b.payload(ctx)
		return err
	}
	var err error
	b.child, err = startChild(ctx, d.top.Box, filepath.Join(d.dir, "accd.log"), ready, d.Accd, "run", "-c", conf)
	return b, err
}

// payload asks accd what it has seen so far.
func (b *box) payload(ctx context.Context) (p payload, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://accd/v1/status", nil)
	if err != nil {
		return p, err
	}
	resp, err := b.client.Do(req)
	if err != nil {
		return p, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return p, fmt.Errorf("accd's status: %s", resp.Status)
	}
	return p, json.NewDecoder(resp.Body).Decode(&p)
}

// wantCustody makes sure that a file of that size went through accd's hands and
// did not just pass.
func (b *box) wantCustody(ctx context.Context, size int64) error {
	p, err := b.payload(ctx)
	if err != nil {
		return err
	}
	taken, passed := p.Taken.ToClient-b.before.Taken.ToClient, p.Passed.ToClient-b.before.Passed.ToClient
	if share := float64(taken) / float64(size); share < leastTaken {
		return fmt.Errorf("accd acknowledged only %.0f %% of the file (%d bytes; %d passed): the run was not accelerated\n%s",
			100*share, taken, passed, b.said())
	}
	return nil
}
