// Package admin is how a running accd is asked for its state: HTTP and JSON on a
// unix socket, the server in the daemon and the client in the commands. It reads
// only.
package admin

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// ErrRunning means that another accd holds the claim.
var ErrRunning = errors.New("accd is already running")

// Claim is the right to be the one accd behind a socket. It ends with the
// process, however that ends.
type Claim struct {
	socket string
	lock   *os.File
}

// Take claims a socket path, whose directory is made if it is missing. The
// error is ErrRunning if another process has it.
func Take(socket string) (*Claim, error) {
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	f, err := os.OpenFile(Beside(socket, "lock"), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("admin: lock %s: %w", f.Name(), err)
		}
		pid, _ := io.ReadAll(io.LimitReader(f, 20))
		return nil, fmt.Errorf("%w with socket %s (pid %s)", ErrRunning, socket, strings.TrimSpace(string(pid)))
	}
	// The pid is for people; the lock alone decides.
	if err := f.Truncate(0); err == nil {
		fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	return &Claim{socket, f}, nil
}

// Beside gives the path of another file of the daemon with that socket:
// /run/accd/accd.sock has its ledger in /run/accd/accd.ledger.
func Beside(socket, what string) string { return strings.TrimSuffix(socket, ".sock") + "." + what }

// Listen opens the socket; what a killed predecessor left there is replaced.
func (c *Claim) Listen() (net.Listener, error) {
	if err := os.Remove(c.socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("admin: stale socket: %w", err)
	}
	// Made under a name nobody asks for until its permissions are right.
	fresh := Beside(c.socket, "new")
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("admin: stale socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: fresh, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	l.SetUnlinkOnClose(false)
	if err = os.Chmod(fresh, 0o660); err == nil {
		err = os.Rename(fresh, c.socket)
	}
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("admin: %w", err)
	}
	return l, nil
}

// Release gives the claim back and removes the socket. The lock file stays: if
// it went, two could hold a lock of the same name.
func (c *Claim) Release() error {
	err := os.Remove(c.socket)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, c.lock.Close())
}
