package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"accd/netcfg"
	"accd/splice"
	"accd/terminator"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// ledgerSlots is how many flows may be in custody at once: 8 MiB of ledger. What
// exceeds it stays on the wire.
const ledgerSlots = 1 << 16

// mapLedger gives the memory of a ledger that outlives the process.
func mapLedger(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	defer f.Close() // the mapping stays
	size := splice.LedgerSize(ledgerSlots)
	// Reserved, not only as long: a write to memory whose file finds no room
	// would end the process.
	err = unix.Fallocate(int(f.Fd()), 0, 0, int64(size))
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = f.Truncate(int64(size))
	}
	if err != nil {
		return nil, fmt.Errorf("ledger %s: %w; it needs %d bytes", path, err, size)
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("ledger %s: %w", path, err)
	}
	return mem, nil
}

// What settleLedger says of the flows it finds.
const (
	afterDeath = "the last accd died with flows in custody: those whose bytes it held are reset at both ends, the others go on"
	afterStop  = "flows still held bytes at the end: they are reset at both ends"
)

// settleLedger ends, at both ends, the connections whose bytes a process held
// that is gone or about to be, says so, and removes its ledger. What is no ledger is put aside: it must not keep
// accd from coming back. Who calls it holds the claim.
func settleLedger(path, news string, names netcfg.Names, log *zap.Logger) error {
	mem, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	entries, err := splice.ReadLedger(mem)
	if errors.Is(err, splice.ErrNoLedger) {
		aside := path + ".bad"
		log.Error("the ledger of the last accd cannot be read: connections whose bytes it held may hang",
			zap.Error(err), zap.String("put_aside", aside))
		return os.Rename(path, aside)
	}
	if err != nil {
		return fmt.Errorf("ledger %s: %w", path, err)
	}
	var stuck []splice.Entry
	for _, e := range entries {
		if e.Stuck() {
			stuck = append(stuck, e)
		}
	}
	if len(entries) > 0 {
		log.Warn(news, zap.Int("in_custody", len(entries)), zap.Int("reset", len(stuck)))
	}
	if len(stuck) > 0 {
		mark, undo, err := netcfg.Untrack(names)
		if err != nil {
			return fmt.Errorf("ledger %s: %w", path, err)
		}
		refused, err := terminator.Settle(stuck, mark)
		if err := errors.Join(err, undo()); err != nil {
			return fmt.Errorf("ledger %s: %w", path, err)
		}
		if refused > 0 {
			log.Info("some resets, most of them guesses, did not leave this host", zap.Int("packets", refused))
		}
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	return nil
}
