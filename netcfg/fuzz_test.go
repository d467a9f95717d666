package netcfg

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

// FuzzJournal: whatever a crash left in the journal, its whole lines are read or
// refused with a word on what to do, and an unfinished last line is no change.
func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"sysctl":"net/ipv4/ip_forward","was":"0","set":"1"}` + "\n"))
	f.Add([]byte(`{"sysctl":"net/ipv4/ip_forward","was":"0","set":"1"}` + "\n" + `{"sysctl":"net/ip`))
	f.Add([]byte("\n\n"))
	f.Add([]byte{})
	file, err := os.Create(filepath.Join(f.TempDir(), "journal"))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { file.Close() })
	j := journal{file: file, path: file.Name()}
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := file.Truncate(0); err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteAt(b, 0); err != nil {
			t.Fatal(err)
		}
		all, err := j.changes()
		lines := 0
		for _, c := range b {
			if c == '\n' {
				lines++
			}
		}
		if len(all) > lines || err == nil && len(all) != lines {
			t.Fatalf("%d changes in %d lines: %v", len(all), lines, err)
		}
	})
}

// FuzzFlowKey: the element of a set tells the flow it was made of: addresses and
// ports of both ends, each at a multiple of four bytes.
func FuzzFlowKey(f *testing.F) {
	f.Add([]byte{10, 1, 2, 3}, []byte{192, 0, 2, 9}, uint16(4711), uint16(80))
	a := netip.MustParseAddr("2001:db8::1").As16()
	f.Add(a[:], a[:], uint16(1), uint16(65535))
	f.Fuzz(func(t *testing.T, client, server []byte, from, to uint16) {
		c, ok1 := netip.AddrFromSlice(client)
		s, ok2 := netip.AddrFromSlice(server)
		if !ok1 || !ok2 || c.Unmap().Is4() != s.Unmap().Is4() {
			return
		}
		x := flowChange{client: netip.AddrPortFrom(c, from), server: netip.AddrPortFrom(s, to)}
		k := x.key()
		n := len(c.Unmap().AsSlice())
		if len(k) != 2*(n+4) || (x.family() == v4) != (n == 4) {
			t.Fatalf("a key of %d bytes", len(k))
		}
		for i, e := range []netip.AddrPort{x.client, x.server} {
			at := i * (n + 4)
			addr, _ := netip.AddrFromSlice(k[at : at+n])
			if addr != e.Addr().Unmap() || uint16(k[at+n])<<8|uint16(k[at+n+1]) != e.Port() || k[at+n+2] != 0 || k[at+n+3] != 0 {
				t.Fatalf("% x for %v and %v", k, x.client, x.server)
			}
		}
	})
}
