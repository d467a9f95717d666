//go:build race

package simnet

// patience is by how much fewer random networks a test runs where each takes
// far longer.
const patience = 20
