package main

import (
	"fmt"
	"os"

	"accd/netcfg"
	"accd/terminator"
	"accd/terminator/link"

	"golang.org/x/sys/unix"
)

// openTap gives the terminator descriptors of its own for the queues of a tap:
// netcfg's stay open for the heartbeat, and the shards' outlive them when
// steering goes down.
func openTap(t *netcfg.Tap) (terminator.Tap, error) {
	out := terminator.Tap{MAC: t.MAC}
	for _, f := range t.Files {
		own, err := duplicate(f)
		if err != nil {
			return out, err
		}
		q, err := link.NewTap(own, t.MTU, t.Offload)
		if err != nil {
			return out, err
		}
		out.Queues = append(out.Queues, q)
	}
	return out, nil
}

func duplicate(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("tap %s: %w", f.Name(), err)
	}
	var fd int
	var dup error
	if err := raw.Control(func(p uintptr) { fd, dup = unix.FcntlInt(p, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return nil, fmt.Errorf("tap %s: %w", f.Name(), err)
	}
	if dup != nil {
		return nil, fmt.Errorf("tap %s: duplicating a queue: %w", f.Name(), dup)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
