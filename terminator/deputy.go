package terminator

import (
	"sync/atomic"
	"time"

	"accd/tcpstack/mono"
)

// Ours: how many bytes a shard sends without a rest before it looks for a deputy, where
// it has sent so many more without one of late that it is worth it; how many frames that
// writes before it looks for frames of its own; and how long a frame waits for it. To be
// woken takes it a part of that, and what waits longer comes late.
const (
	deputyAfter = 128 << 10
	deputyWorth = 2 << 20
	deputyBatch = 4
	deputyLate  = 100 * time.Microsecond
)

// deputies is what a shard knows of the one that writes for it, and of the one that it
// writes for.
//
// To write a frame is most of the work for bulk: the kernel forwards it in the
// context of the writer, often as far as into the receiver's socket. A shard that
// has so much of it that it does not come to rest, as with one large stream, leaves
// superpackets to another that sleeps. It is no duty: one that has frames of its own
// turns to them, and what no deputy writes in time the shard writes itself. What is
// over before the other is awake is the later for it, so who sends stretches of a
// megabyte, with rests between them, has none.
type deputies struct {
	// Of this shard as a deputy.
	resting atomic.Bool           // it has no frames of its own, and may be asked
	asleep  atomic.Bool           // and has to be woken
	boss    atomic.Pointer[shard] // who has asked

	// Of this shard as a boss.
	deputy  *shard
	sent    int       // bytes since it last had nothing to do
	longest int       // what sent was at most, of late
	written uint64    // by anybody from its outboxes, when last looked,
	moved   mono.Time // and when that became more
}

// deputized reports whether another shard writes for s, and asks one if s has sent much
// since it last rested.
func (s *shard) deputized() bool {
	d := &s.deputies
	if d.deputy != nil && d.deputy.deputies.boss.Load() == s {
		return true
	}
	d.deputy = nil
	if d.sent < deputyAfter || max(d.sent, d.longest) < deputyWorth {
		return false
	}
	for _, other := range s.t.shards {
		if other != s && other.deputies.resting.Load() && other.deputies.boss.CompareAndSwap(nil, s) {
			d.deputy = other
			return true
		}
	}
	return false
}

// alert wakes the deputy, if it sleeps.
func (s *shard) alert() {
	if d := s.deputies.deputy; d != nil && d.deputies.asleep.CompareAndSwap(true, false) {
		d.wait.Wake()
	}
}

// works says that s has work of its own: it is nobody's deputy.
func (s *shard) works() {
	d := &s.deputies
	if d.resting.Load() {
		d.resting.Store(false)
	}
	if d.boss.Load() != nil { // also one that has asked a moment too late
		d.boss.Store(nil)
	}
}

// pause says that there is nothing to do for a moment. A stretch is forgotten with the next
// ones that are shorter; ACKs are none.
func (d *deputies) pause() {
	if d.sent >= vigilBulk {
		d.longest = max(d.sent, d.longest-d.longest/8)
	}
	d.sent = 0
}

// rests says that s has nothing to do. It may be asked to write for another, and
// needs no deputy.
func (s *shard) rests() {
	d := &s.deputies
	d.pause()
	d.resting.Store(true)
	if d.deputy != nil && !s.waits() {
		d.deputy.deputies.boss.CompareAndSwap(s, nil)
		d.deputy = nil
	}
}

// assist writes some of what waits at the shard's boss, and reports whether there
// was anything.
func (s *shard) assist() (did bool) {
	boss := s.deputies.boss.Load()
	if boss == nil {
		return false
	}
	for side := range boss.out {
		if boss.out[side].write(deputyBatch) > 0 {
			did = true
		}
	}
	return did
}

// sleep waits for frames, of its own or of its boss, or for d to pass.
func (s *shard) sleep(d time.Duration) (err error) {
	s.deputies.asleep.Store(true)
	// What the boss puts into an outbox from here on wakes s.
	if boss := s.deputies.boss.Load(); boss == nil || !boss.waits() {
		s.backlog.sleeps()
		err = s.wait.Wait(d)
	}
	s.deputies.asleep.Store(false)
	return err
}
