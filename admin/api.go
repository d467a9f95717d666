package admin

import (
	"time"

	"accd/terminator"
)

// Version is that of the paths and of the JSON; what is added to the JSON does
// not change it.
const Version = 1

// Status is the answer to GET /v1/status.
type Status struct {
	API int `json:"api"` // Version
	Daemon
	Terminator *terminator.Status `json:"terminator"`
}

// Daemon is what a daemon says of itself.
type Daemon struct {
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	Mode    string    `json:"mode"`    // how packets get to accd: router
	State   State     `json:"state"`   // what it does
	FailTo  string    `json:"fail_to"` // wire or block: what becomes of traffic when it stops
	Config  Config    `json:"config"`
}

// State is what a daemon does.
type State string

// States of a daemon.
const (
	Accelerating State = "accelerating"
	Bypassed     State = "bypassed" // a shard stands still, so nothing is steered
	Draining     State = "draining" // it is about to end
)

// Config is where a daemon's policy comes from.
type Config struct {
	File       string    `json:"file"`
	Hash       string    `json:"hash"` // of the file as it was loaded
	Loaded     time.Time `json:"loaded"`
	Rules      int       `json:"rules"`                 // that are enabled
	LastReload string    `json:"last_reload,omitempty"` // why the last reload was refused; empty: it was not
	Restart    []string  `json:"restart_for,omitempty"` // settings that changed and wait for a restart
}

// Flows is the answer to GET /v1/flows and, with one element, to
// GET /v1/flows/{id}.
type Flows struct {
	API   int               `json:"api"` // Version
	Flows []terminator.Flow `json:"flows"`
}

// failure is the body of every answer that is not 200.
type failure struct {
	Error string `json:"error"`
}
