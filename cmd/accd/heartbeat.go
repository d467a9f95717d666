package main

import (
	"context"
	"time"

	"accd/admin"
	"accd/tcpstack/wire"

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

// restoreNote is how often it is said that somebody keeps taking the nft table away.
const restoreNote = 10 * time.Second

// beat keeps steering alive once. Where somebody has taken its nft table away, it
// makes that anew and has all flows asked for again.
func (d *daemon) beat(ctx context.Context) error {
	lost, err := d.steering.Restore()
	if err != nil {
		return err
	}
	if lost {
		d.restored++
		if time.Since(d.told) > restoreNote {
			d.told = time.Now()
			d.log.Warn("somebody has removed, emptied or changed the nft table: it is made anew, and all flows are asked for again",
				zap.Int("times", d.restored))
		}
		if err := d.Gap(ctx); err != nil {
			return err
		}
		select {
		case d.forgotten <- struct{}{}:
		default: // it is said already
		}
	}
	return d.steering.Beat()
}

// recall asks for all flows again whenever steering has forgotten them. That takes
// longer than the heartbeat may wait.
func (d *daemon) recall(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.forgotten:
		}
		err := d.Resteer(ctx, func(client wire.Tuple) { d.steering.Recall(endpoints(client)) })
		if err != nil && ctx.Err() == nil {
			d.log.Warn("not all flows are steered again", zap.Error(err))
		}
	}
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
