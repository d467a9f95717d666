package main

import (
	"accd/netcfg"
	"accd/terminator"
	"accd/terminator/link"
)

// openTap gives the terminator descriptors of its own for the queues of a tap:
// netcfg's stay open for the heartbeat, and the shards' outlive them when
// steering goes down.
func openTap(t *netcfg.Tap) (terminator.Tap, error) {
	out := terminator.Tap{MAC: t.MAC}
	files, err := t.Duplicate()
	if err != nil {
		return out, err
	}
	for i, f := range files {
		q, err := link.NewTap(f, t.MTU, t.Offload)
		if err != nil {
			for _, f := range files[i+1:] {
				_ = f.Close()
			}
			return out, err
		}
		out.Queues = append(out.Queues, q)
	}
	return out, nil
}
