package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"accd/netcfg"
	"accd/splice"

	"go.uber.org/zap"
)

// What is no ledger does not keep accd from starting: it is put aside.
func TestDamagedLedger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accd.ledger")
	mem, err := mapLedger(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := splice.NewLedgers(mem, 2); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil || len(whole) != splice.LedgerSize(ledgerSlots) {
		t.Fatalf("%d bytes, %v", len(whole), err)
	}
	for name, b := range map[string][]byte{"garbage": bytes.Repeat([]byte("x"), 1000), "cut": whole[:5000]} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := settleLedger(path, afterDeath, netcfg.Names{}, zap.NewNop()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		aside, err := os.ReadFile(path + ".bad")
		if _, gone := os.Stat(path); !errors.Is(gone, fs.ErrNotExist) || err != nil || !bytes.Equal(aside, b) {
			t.Errorf("%s: still there (%v), or not put aside: %v", name, gone, err)
		}
	}
}
