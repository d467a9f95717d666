package main

import (
	"context"
	"time"

	"accd/admin"

	"go.uber.org/zap"
)

// Shards turn at least every 100 ms, and the kernel steers for 700 ms after a
// beat: so a beat may be missed, and a shard be late.
const (
	beatEvery = 150 * time.Millisecond
	beatGap   = 600 * time.Millisecond // after a pause of that long steering may have lapsed
)

// heartbeat keeps steering alive as long as every shard turns. When one stands
// still, steering lapses by itself, and traffic flows without accd. It closes
// steered after the first beat. When steering cannot be kept alive because the
// host has changed, the daemon ends: what it holds cannot reach its receivers,
// and the next start repairs the host.
func (d *daemon) heartbeat(ctx context.Context, steered chan<- struct{}) {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	turned := d.Turns()
	last := time.Now()    // of the last beat
	var failing time.Time // since then beats fail; zero: they do not
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := d.Turns()
		if i := standing(turned, now); i >= 0 {
			if time.Since(last) > beatGap {
				d.log.Warn("a shard stands still: nothing is steered", zap.Int("shard", i))
				d.become(admin.Bypassed)
			}
			continue
		}
		turned = now
		// Packets of known flows may have gone by while nothing was steered.
		if time.Since(last) > beatGap {
			if err := d.Gap(ctx); err != nil {
				d.log.Warn("heartbeat", zap.Error(err))
				continue
			}
		}
		if err := d.beat(ctx); err != nil {
			if ctx.Err() != nil || d.Describe().State == admin.Draining {
				continue
			}
			if failing.IsZero() {
				failing = time.Now()
				d.log.Warn("heartbeat", zap.Error(err))
			}
			d.become(admin.Bypassed)
			if time.Since(failing) > beatGap {
				d.failed <- err
				return
			}
			continue
		}
		last, failing = time.Now(), time.Time{}
		d.become(admin.Accelerating)
		if steered != nil {
			close(steered)
			steered = nil
		}
	}
}

// beat keeps steering alive once. Where somebody has taken its nft table away, it
// makes that anew and asks for all flows again.
func (d *daemon) beat(ctx context.Context) error {
	lost, err := d.steering.Restore()
	if lost && err == nil {
		d.log.Warn("somebody has removed or emptied the nft table: it is made anew, and all flows are asked for again")
		err = d.Resteer(ctx)
	}
	if err != nil {
		return err
	}
	return d.steering.Beat()
}

// standing gives a shard that has made no turn since, -1 if all have.
func standing(before, now []uint64) int {
	for i := range now {
		if now[i] == before[i] {
			return i
		}
	}
	return -1
}
