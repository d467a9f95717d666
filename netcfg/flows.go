package netcfg

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/nftables"
	"go.uber.org/zap"
)

// Steer steers the flow between a client's and a server's address and port, as
// the client's packets have them, for another FlowTimeout. It only asks and does
// not block: when too much is asked at once, or the set is full, the flow stays
// native and Lost counts it.
func (s *Steering) Steer(client, server netip.AddrPort) {
	s.flows.ask(flowChange{client, server})
}

// Recall is Steer for many flows at once: it waits until there is room to ask, or
// until Down.
func (s *Steering) Recall(client, server netip.AddrPort) {
	select {
	case s.flows.patient <- flowChange{client, server}:
	case <-s.flows.quit:
	}
}

// Lost counts the calls of Steer and Forget that had no effect.
func (s *Steering) Lost() uint64 { return s.flows.lost.Load() + s.lost.Load() }

const (
	flowBacklog = 8192 // flows that may wait
	flowBatch   = 256  // flows in one transaction
)

// flowChanges adds flows to the sets in the kernel on a goroutine of its own: a
// transaction takes longer than a shard may wait.
type flowChanges struct {
	nft     *nftTable
	timeout time.Duration
	log     *zap.Logger
	changes chan flowChange
	patient chan flowChange // of those who wait; it has no room, so that changes have theirs
	quit    chan struct{}
	done    sync.WaitGroup
	lost    atomic.Uint64
}

type flowChange struct {
	client, server netip.AddrPort
}

func startFlowChanges(nft *nftTable, p *Plan, log *zap.Logger) *flowChanges {
	c := &flowChanges{
		nft: nft, timeout: p.FlowTimeout, log: log,
		changes: make(chan flowChange, flowBacklog), patient: make(chan flowChange), quit: make(chan struct{}),
	}
	c.done.Go(c.run)
	return c
}

func (c *flowChanges) ask(x flowChange) {
	select {
	case c.changes <- x:
	default:
		c.lost.Add(1)
	}
}

// stop ends the goroutine; changes that still wait are not made.
func (c *flowChanges) stop() {
	close(c.quit)
	c.done.Wait()
}

func (c *flowChanges) run() {
	var warned time.Time
	for {
		var batch []flowChange
		select {
		case <-c.quit:
			return
		case x := <-c.changes:
			batch = append(batch, x)
		case x := <-c.patient:
			batch = append(batch, x)
		}
		// One warning in ten seconds: what is lost is counted.
		if err := c.commit(c.more(batch)); err != nil && time.Since(warned) > 10*time.Second {
			warned = time.Now()
			c.log.Warn("steering set not changed", zap.Error(err), zap.Uint64("lost", c.lost.Load()))
		}
	}
}

// more fills a batch with what else waits.
func (c *flowChanges) more(batch []flowChange) []flowChange {
	for len(batch) < flowBatch {
		select {
		case x := <-c.changes:
			batch = append(batch, x)
		case x := <-c.patient:
			batch = append(batch, x)
		default:
			return batch
		}
	}
	return batch
}

// commit adds flows, neighbours of a family together.
func (c *flowChanges) commit(batch []flowChange) error {
	var last error
	for len(batch) > 0 {
		f := batch[0].family()
		n := slices.IndexFunc(batch, func(x flowChange) bool { return x.family() != f })
		if n < 0 {
			n = len(batch)
		}
		elements := make([]nftables.SetElement, n)
		for i, x := range batch[:n] {
			elements[i] = nftables.SetElement{Key: x.key(), Timeout: c.timeout}
		}
		if err := c.nft.add(f.flows(), elements); err != nil {
			c.lost.Add(uint64(n))
			last = err
		}
		batch = batch[n:]
	}
	return last
}

func (x *flowChange) family() *family {
	if x.client.Addr().Unmap().Is4() {
		return v4
	}
	return v6
}

// key gives the element: each part on a multiple of four bytes.
func (x *flowChange) key() []byte {
	var k []byte
	for _, e := range []netip.AddrPort{x.client, x.server} {
		k = append(k, e.Addr().Unmap().AsSlice()...)
		k = append(k, byte(e.Port()>>8), byte(e.Port()), 0, 0)
	}
	return k
}
