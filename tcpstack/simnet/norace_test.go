//go:build !race

package simnet

// patience is by how much fewer random networks a test runs.
const patience = 1
