package main

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
)

func TestNotify(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := notify("READY=1"); err != nil {
		t.Error("without a service manager:", err)
	}
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	if err := notify(reloading()...); err != nil {
		t.Fatal(err)
	}
	var b [200]byte
	n, err := l.Read(b[:])
	if got := string(b[:n]); err != nil || !strings.HasPrefix(got, "RELOADING=1\nMONOTONIC_USEC=") {
		t.Errorf("%q, %v", got, err)
	}
	t.Setenv("NOTIFY_SOCKET", path+"gone")
	if notify("READY=1") == nil {
		t.Error("a manager that is gone is no error")
	}
}

func TestStanding(t *testing.T) {
	for _, c := range []struct {
		before, now []uint64
		want        int
	}{{[]uint64{1, 2}, []uint64{2, 3}, -1}, {[]uint64{1, 2}, []uint64{2, 2}, 1}, {[]uint64{1, 2}, []uint64{1, 3}, 0}} {
		if got := standing(c.before, c.now); got != c.want {
			t.Errorf("%v → %v: %d, want %d", c.before, c.now, got, c.want)
		}
	}
}
