package tcpstack

import (
	"testing"
	"time"

	"accd/tcpstack/mono"
)

// The test vectors of SipHash-2-4's authors: key 00 01 … 0f, messages 00 01 ….
func TestSipHash(t *testing.T) {
	var key [16]byte
	for i := range key {
		key[i] = byte(i)
	}
	k := SecretOf(key)
	for n, want := range map[int]uint64{
		0: 0x726fdb47dd0e0e31, 1: 0x74f839c593dc67fd, 7: 0xab0200f58b01d137,
		8: 0x93f5f5799a932462, 15: 0xa129ca6149be45e5,
	} {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(i)
		}
		if got := k.sum(b); got != want {
			t.Errorf("%d bytes: %#x, want %#x", n, got, want)
		}
	}
}

// RFC 9293, MUST-8 and SHLD-1; RFC 6528, 3: sequence numbers between the same
// sockets run with a clock of 4 µs; those of others say nothing about them, nor do
// another secret's.
//
// proves: MUST-8 MUST-9 SHLD-1
func TestInitialSequenceNumbers(t *testing.T) {
	k, other := SecretOf([16]byte{1}), SecretOf([16]byte{2})
	key := storyKey()
	key.SrcPort, key.DstPort = 80, 4711
	now := mono.Time(time.Hour)
	first, stamp := k.Start(now, &key)
	later, laterStamp := k.Start(now.Add(time.Second), &key)
	if got := later.Sub(first); got != 250_000 {
		t.Errorf("after a second the ISN is ahead by %d, want 250000", got)
	}
	if got := laterStamp - stamp; got != 1000 {
		t.Errorf("after a second the timestamp is ahead by %d, want 1000", got)
	}
	next := key
	next.DstPort++
	a, aStamp := k.Start(now, &next)
	b, bStamp := other.Start(now, &key)
	for _, n := range []int{a.Sub(first), b.Sub(first), int(int32(aStamp - stamp)), int(int32(bStamp - stamp))} {
		if max(n, -n) < 1000 {
			t.Errorf("a number of another flow, or of another secret, is only %d away", n)
		}
	}
}
