package simnet

import (
	"time"

	"accd/tcpstack/mono"
)

// Step is one thing an application says: once it has read Need bytes in all,
// and Wait after that, it writes Bytes.
type Step struct {
	Need  int64
	Wait  time.Duration
	Bytes int64
}

// Pause is a time without reading, which closes the window: once At bytes were
// read, for For.
type Pause struct {
	At  int64
	For time.Duration
}

// Script is what an application does with a connection. The zero Script reads
// everything and closes at once.
type Script struct {
	Steps    []Step
	ReadRate int64 // bytes per second; 0: as fast as they come
	Pauses   []Pause
	// CloseLast waits for the peer's FIN before closing; otherwise the
	// application closes its direction when its last step is written.
	CloseLast bool
	// Abort resets the connection once AbortAt bytes were read.
	Abort   bool
	AbortAt int64
}

// Total gives the bytes the script writes.
func (s *Script) Total() (n int64) {
	for _, step := range s.Steps {
		n += step.Bytes
	}
	return n
}

// app is a Script under way.
type app struct {
	Script
	key     uint64    // of the stream it writes
	peerKey uint64    // of the stream it reads
	read    int64     // bytes read and found right
	written int64     // bytes written
	step    int       // the current one
	left    int64     // of the current step, once it has begun
	ready   mono.Time // when the current step may begin; 0: its Need is not met
	begun   bool
	closed  bool      // the direction it writes
	peerEnd bool      // the peer's FIN was read
	nextRd  mono.Time // no reading before this
}

// allowance gives how many of n bytes that have arrived may be read now.
func (a *app) allowance(now mono.Time, n int64) int64 {
	a.pause(now)
	if now < a.nextRd {
		return 0
	}
	if a.ReadRate > 0 {
		n = min(n, max(1, a.ReadRate/100))
	}
	if len(a.Pauses) > 0 {
		n = min(n, a.Pauses[0].At-a.read)
	}
	return n
}

// tookOff notes that n bytes were read.
func (a *app) tookOff(now mono.Time, n int64) {
	a.read += n
	if a.ReadRate > 0 && n > 0 {
		a.nextRd = now.Add(10 * time.Millisecond)
	}
	a.pause(now)
}

// pause begins the pauses that are due.
func (a *app) pause(now mono.Time) {
	for len(a.Pauses) > 0 && a.read >= a.Pauses[0].At {
		a.nextRd = max(a.nextRd, now.Add(a.Pauses[0].For))
		a.Pauses = a.Pauses[1:]
	}
}

// wants gives how many bytes the application writes now.
func (a *app) wants(now mono.Time) int64 {
	for a.step < len(a.Steps) {
		s := &a.Steps[a.step]
		if !a.begun {
			if a.read < s.Need {
				return 0
			}
			if a.ready == 0 {
				a.ready = now.Add(s.Wait)
			}
			if now < a.ready {
				return 0
			}
			a.begun, a.left = true, s.Bytes
		}
		if a.left > 0 {
			return a.left
		}
		a.step++
		a.begun, a.ready = false, 0
	}
	return 0
}

// wrote notes that n bytes were written.
func (a *app) wrote(n int64) {
	a.written += n
	a.left -= n
}

// closes reports that the application closes its direction now.
func (a *app) closes() bool {
	return !a.closed && a.step == len(a.Steps) && (!a.CloseLast || a.peerEnd)
}

// next gives when the application does something of its own accord.
func (a *app) next(now mono.Time, unread int) mono.Time {
	at := mono.Never
	if unread > 0 && a.nextRd > now {
		at = a.nextRd
	}
	if a.ready > now {
		at = min(at, a.ready)
	}
	return at
}
