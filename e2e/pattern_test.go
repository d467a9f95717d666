package e2e

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
)

// patternLen is the period in bytes of what the tests send. It is prime, so that
// no loss, repetition or exchange of segments or buffers fits it.
const patternLen = 1<<20 + 7

// pattern is two periods, so that every window up to one period is contiguous.
var pattern = sync.OnceValue(func() []byte {
	b := make([]byte, 2*patternLen)
	rand.NewChaCha8([32]byte{'e', '2', 'e'}).Read(b[:patternLen])
	copy(b[patternLen:], b[:patternLen])
	return b
})

// window gives up to n bytes of the pattern from an offset on.
func window(off int64, n int) []byte {
	at := int(off % patternLen)
	return pattern()[at : at+min(n, patternLen)]
}

// send writes the pattern's bytes [from, from + n) to w.
func send(w io.Writer, from, n int64) error {
	const chunk = 256 << 10
	for sent := int64(0); sent < n; {
		k, err := w.Write(window(from+sent, int(min(chunk, n-sent))))
		sent += int64(k)
		if err != nil {
			return fmt.Errorf("after sending %d of %d bytes: %w", sent, n, err)
		}
	}
	return nil
}

// checker is a writer that wants the pattern, from off on.
type checker struct{ off int64 }

func (c *checker) Write(p []byte) (int, error) {
	for done := 0; done < len(p); {
		want := window(c.off, len(p)-done)
		if got := p[done : done+len(want)]; !bytes.Equal(got, want) {
			i := 0
			for got[i] == want[i] {
				i++
			}
			return done, fmt.Errorf("byte %d is %#02x, was sent as %#02x", c.off+int64(i), got[i], want[i])
		}
		c.off += int64(len(want))
		done += len(want)
	}
	return len(p), nil
}

// receive reads n bytes and wants the pattern's [from, from + n).
func receive(r io.Reader, from, n int64) error {
	c := checker{from}
	buf := make([]byte, 256<<10)
	for c.off < from+n {
		k, err := r.Read(buf[:min(int64(len(buf)), from+n-c.off)])
		if _, err := c.Write(buf[:k]); err != nil {
			return err
		}
		if err != nil && c.off < from+n {
			return fmt.Errorf("after receiving %d of %d bytes: %w", c.off-from, n, err)
		}
	}
	return nil
}

// wantEOF reads the end of r.
func wantEOF(r io.Reader) error {
	var b [1]byte
	n, err := r.Read(b[:])
	if n != 0 || err != io.EOF {
		return fmt.Errorf("want the end of the connection, got %d bytes and %v", n, err)
	}
	return nil
}

// files are files that hold the pattern, made when first asked for.
var files struct {
	dir  string
	mu   sync.Mutex
	made map[int64]string
}

// patternFile gives a file with the first n bytes of the pattern.
func patternFile(n int64) (string, error) {
	files.mu.Lock()
	defer files.mu.Unlock()
	if name, ok := files.made[n]; ok {
		return name, nil
	}
	dir := filepath.Join(files.dir, "www")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	f, err := os.Create(filepath.Join(dir, fmt.Sprint(n)))
	if err != nil {
		return "", err
	}
	if err := send(f, 0, n); err != nil {
		f.Close()
		return "", err
	}
	if files.made == nil {
		files.made = map[int64]string{}
	}
	files.made[n] = f.Name()
	return f.Name(), f.Close()
}
