package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"time"
)

const accdConfig = `version: 1
steering: { mode: router, taps: { queues: auto } }
sides:
  lan: { interfaces: [lan0] }
  wan: { interfaces: [wan0] }
limits: { memory: 2GiB }
profiles:
  default: { congestion: cubic }
rules:
  - { name: default, action: accelerate }
admin: { socket: %s }
`

// startAccd runs accd as an operator would. The Go runtime writes a line for
// every garbage collection.
func startAccd(n *network) (*program, error) {
	config, socket := n.file("accd.yaml"), accdSocket(n)
	if err := os.WriteFile(config, fmt.Appendf(nil, accdConfig, socket), 0o644); err != nil {
		return nil, err
	}
	cmd := exec.Command(*accdProgram, "run", "-c", config)
	cmd.Env = append(os.Environ(), "GODEBUG=gctrace=1")
	return startProgram(n.box, n.file("accd.log"), func() bool {
		s, err := askAccd(n)
		return err == nil && s.State == "accelerating"
	}, cmd)
}

func accdSocket(n *network) string { return n.file("accd.sock") }

// accdStatus is what the bench wants to know of GET /v1/status.
type accdStatus struct {
	State      string `json:"state"`
	Terminator struct {
		Taken struct {
			Down int64 `json:"to_client"` // bytes of payload that accd acknowledged to the server
		} `json:"taken_bytes"`
	} `json:"terminator"`
}

func askAccd(n *network) (*accdStatus, error) {
	c := http.Client{
		Timeout: 2 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", accdSocket(n))
			},
		},
	}
	r, err := c.Get("http://accd/v1/status")
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	s := new(accdStatus)
	return s, json.NewDecoder(r.Body).Decode(s)
}

// accdTaken gives the bytes towards the client that were in accd's custody.
func accdTaken(n *network) (int64, error) {
	s, err := askAccd(n)
	if err != nil {
		return 0, err
	}
	return s.Terminator.Taken.Down, nil
}
