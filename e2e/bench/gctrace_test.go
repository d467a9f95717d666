package main

import (
	"testing"
	"time"
)

func TestReadGCTrace(t *testing.T) {
	said := `{"level":"info","msg":"gc 1 of nothing"}
gc 1 @0.012s 2%: 0.018+0.59+0.11 ms clock, 0.037+0.10/0.20/0.30+0.23 ms cpu, 3->4->1 MB, 4 MB goal, 0 MB stacks, 0 MB globals, 2 P
gc 2 @120.012s 0%: 0.5+0.59+0.11 ms clock, 1+0/0/9+1 ms cpu, 3->4->1 MB, 4 MB goal, 0 MB stacks, 0 MB globals, 2 P (forced)
`
	got, err := readGCTrace(said)
	if err != nil {
		t.Fatal(err)
	}
	if want := (collections{2, 2567 * time.Microsecond, 500 * time.Microsecond}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if _, err := readGCTrace("gc 1 @0.012s and something new\n"); err == nil {
		t.Error("a line that is not understood is no error")
	}
}
