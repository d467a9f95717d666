package wire

import (
	"bytes"
	"testing"
)

func TestSumEqualsTheNaiveSum(t *testing.T) {
	r := rng(t)
	for n := range 300 {
		for _, b := range [][]byte{fill(r, make([]byte, n)), bytes.Repeat([]byte{0xff}, n), make([]byte, n)} {
			if got, want := Fold(Sum(b, 0)), naive(b); got != want {
				t.Fatalf("length %d: %#04x, want %#04x", n, got, want)
			}
			for cut := 0; cut <= n; cut += 2 {
				if got, want := Fold(Sum(b[cut:], Sum(b[:cut], 0))), naive(b); got != want {
					t.Fatalf("length %d cut at %d: %#04x, want %#04x", n, cut, got, want)
				}
			}
		}
	}
	big := fill(r, make([]byte, 65535))
	if got, want := Fold(Sum(big, 0)), naive(big); got != want {
		t.Fatalf("64 KiB: %#04x, want %#04x", got, want)
	}
}

func TestSumCarriesAcrossTheTop(t *testing.T) {
	// The running sum is all ones: the next bit carries out of 64 bits and
	// must come back in at the bottom.
	if got := Fold(Sum([]byte{0, 0, 0, 0, 0, 0, 0, 1}, 1<<64-1)); got != 1 {
		t.Errorf("got %#x, want 1", got)
	}
	if got := Fold(PseudoSum(bytes.Repeat([]byte{0xff}, 8), nil, 0, 1)); got != 1 {
		t.Errorf("got %#x, want 1", got)
	}
}

// TestFinishChecksum cuts payloads into pieces of every parity, empty ones too.
//
// proves: MUST-2
func TestFinishChecksum(t *testing.T) {
	r := rng(t)
	for _, tuple := range []Tuple{tuple4, tuple6} {
		for n := range 200 {
			payload := fill(r, make([]byte, n))
			if n%3 == 0 {
				payload = bytes.Repeat([]byte{0xff}, n)
			}
			whole := frame(Header{Tuple: tuple, Flags: ACK}, payload)
			var v View
			if v.Parse(whole) != KindTCP || !v.ChecksumOK() {
				t.Fatalf("%v, length %d: bad frame", tuple, n)
			}
			for range 20 {
				var body [][]byte
				for rest := payload; ; {
					k := min(r.IntN(12), len(rest))
					body = append(body, rest[:k])
					rest = rest[k:]
					if len(rest) == 0 {
						break
					}
				}
				head := make([]byte, MaxHeader)
				h := Header{Tuple: tuple, Flags: ACK, PayloadLen: n}
				k, l4 := h.Put(head)
				FinishChecksum(head[:k], l4, body)
				if !bytes.Equal(head[:k], whole[:k]) {
					t.Fatalf("%v: length %d in %d pieces has another checksum", tuple, n, len(body))
				}
			}
		}
	}
}

func BenchmarkSum64K(b *testing.B) {
	p := make([]byte, 65536)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		Sum(p, 0)
	}
}
