package admin

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// TestSecondDaemon: while one process has the socket, no other gets it; when it
// is gone, however it went, the next one does.
func TestSecondDaemon(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "run", "accd.sock")
	first, err := Take(socket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Take(socket); !errors.Is(err, ErrRunning) {
		t.Fatalf("second claim: %v", err)
	}
	l, err := first.Listen()
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(socket)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Fatalf("socket: %v, %v", info.Mode(), err)
	}
	// A crash: the lock goes with the process, the socket stays behind.
	l.Close()
	first.lock.Close()
	if _, err := os.Stat(socket); err != nil {
		t.Fatal("the test wants a stale socket:", err)
	}

	second, err := Take(socket)
	if err != nil {
		t.Fatal(err)
	}
	if l, err = second.Listen(); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if err := second.Release(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("socket after Release: %v", err)
	}
}

func TestBeside(t *testing.T) {
	if got := Beside("/run/accd/accd.sock", "ledger"); got != "/run/accd/accd.ledger" {
		t.Error(got)
	}
}
