// Package lab is a wide area network on one machine: a link emulator between
// two taps, a topology of network namespaces around it, and the demo that runs
// real programs across it.
//
// A Link is one direction of the emulated link, pure and in virtual time. An
// Emulator moves the frames of two devices through two Links. A Cable is an
// Emulator between two namespaces, and a Topology puts a client, a router and a
// server around one. RunDemo is what "accd demo" shows.
//
// Superpackets stay whole as far as the emulated line allows, so that the
// emulator costs little; all that is configured and counted is in segments of
// one MTU.
package lab
