// Package terminator runs the flows: a shard per queue of the taps reads frames,
// gives them to flows, and writes what passes and what flows make.
package terminator

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"accd/policy"
	"accd/splice"
	"accd/tcpstack/pathmem"
	"accd/tcpstack/wire"
	"accd/terminator/link"
)

// Tap is one of the two devices. Queue i belongs to shard i.
type Tap struct {
	Queues []link.Queue
	MAC    [6]byte // the device's own
}

// Config is what a Terminator is made of.
type Config struct {
	Taps   [2]Tap // by the splice.Side they face; with equally many queues
	Policy *policy.Table
	// MTU is the largest IP packet in bytes that the interfaces of a network
	// carry, by splice.Network; 0: 1500.
	MTU [3]int
	// LedgerMem is the memory, of splice.LedgerSize bytes, where the flows in
	// custody are listed so that the list outlives the process. What it says
	// of an earlier process is lost. nil: no list.
	LedgerMem []byte
	// Steer asks for a client's tuple to be steered to the taps again. It is
	// called by shards and must not block; nil: nobody listens.
	Steer func(client wire.Tuple)
	// Forget says that the flow of a client's tuple is over and needs no
	// steering; called as Steer is. nil: nobody listens.
	Forget func(client wire.Tuple)
	// Farewell is the Ethernet source address of a frame with FIN or RST that is the last
	// of a flow, for which Forget is then not called; zero: there is none.
	Farewell [6]byte
	// Shortcut is the Ethernet source address of a frame out of the server's tap whose
	// flow may take the shortcut from now on: steering hands whole segments of it
	// without SYN to the taps as they come in, with the destination they
	// have on the wire, before the host looks at or forwards them. Zero: there is none,
	// and such frames are not for accd.
	Shortcut [6]byte
	// Idle is how long a flow without packets is remembered: as long as its
	// element in the steering set; 0: one hour.
	Idle time.Duration
	// Openings is how many handshakes each shard follows at once; 0: 16,384.
	Openings int
	Log      *zap.Logger // nil: none
}

// Terminator runs the shards.
type Terminator struct {
	cfg    Config
	clock  clock
	shards []*shard
	owners owners
	flows  atomic.Int64 // of all shards
	most   int          // flows there may be, by the policy of the start
	ended  chan struct{}
}

// New makes a Terminator, which owns the queues from then on.
func New(cfg Config) (*Terminator, error) {
	n := len(cfg.Taps[0].Queues)
	if n == 0 || n != len(cfg.Taps[1].Queues) {
		return nil, fmt.Errorf("terminator: the taps have %d and %d queues; they need equally many, one at least", n, len(cfg.Taps[1].Queues))
	}
	if n > shardMask {
		return nil, fmt.Errorf("terminator: the taps have %d queues: want %d at most", n, shardMask)
	}
	offload := cfg.Taps[0].Queues[0].Caps().Offload
	for _, tap := range cfg.Taps {
		for _, q := range tap.Queues {
			if q.Caps().Offload != offload {
				return nil, errors.New("terminator: some queues have a virtio-net header and some have not; all must or none")
			}
		}
	}
	if cfg.Idle == 0 {
		cfg.Idle = time.Hour
	}
	if cfg.Openings == 0 {
		cfg.Openings = 16384
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	t := &Terminator{cfg: cfg, clock: newClock(), most: cfg.Policy.Limits.Flows, ended: make(chan struct{})}
	t.owners.init(t.most, rand.Uint64())
	ledgers := make([]*splice.Ledger, n)
	if cfg.LedgerMem != nil {
		var err error
		if ledgers, err = splice.NewLedgers(cfg.LedgerMem, n); err != nil {
			return nil, fmt.Errorf("terminator: %w", err)
		}
	}
	for i := range n {
		s, err := t.newShard(i, offload, ledgers[i])
		if err != nil {
			for _, s := range t.shards {
				s.close()
			}
			return nil, err
		}
		t.shards = append(t.shards, s)
	}
	return t, nil
}

// paths is how many destination prefixes a shard remembers.
const paths = 4096

func (t *Terminator) newShard(i int, offload bool, ledger *splice.Ledger) (*shard, error) {
	s := &shard{t: t, index: i, log: t.cfg.Log, quiet: make(chan struct{})}
	var fds []int
	for side := range s.dev {
		tap := &t.cfg.Taps[side]
		s.dev[side] = device{queue: tap.Queues[i], mac: tap.MAC, neighbour: [6]byte{0x02, 0xac, 0xcd}, offload: offload}
		s.out[side].queue = tap.Queues[i]
		fds = append(fds, tap.Queues[i].FD())
	}
	// Any shard may get all flows, and handshakes that are split beyond them.
	if err := s.flows.reserve(t.most+t.cfg.Openings, rand.Uint64()); err != nil {
		return nil, err
	}
	if err := s.wait.Open(fds...); err != nil {
		s.flows.free()
		return nil, err
	}
	s.pool.Memory = &s.slabs
	s.opening = splice.NewOpening(t.cfg.Openings)
	s.opening.Count = &s.custody
	s.clients.seed, s.secret = rand.Uint64(), newSecret()
	s.terms.init(&t.cfg, offload)
	s.env = splice.Env{Pool: &s.pool, Ledger: ledger, Count: &s.custody, Paths: pathmem.New(paths), Steer: t.cfg.Steer}
	s.init(t.clock.now())
	s.obey(t.cfg.Policy)
	return s, nil
}

// close gives back what the system lent the shard.
func (s *shard) close() {
	s.wait.Close()
	s.flows.free()
	s.slabs.free()
}

// obey makes a table the shard's policy, for new flows.
func (s *shard) obey(p *policy.Table) {
	n := len(s.t.cfg.Taps[0].Queues)
	share := func(total int) int { return (total + n - 1) / n }
	s.policy, s.answers = p, p.AnswersEarly()
	s.terms.forget()
	s.clients.limit = p.Limits.PerClientOpening
	s.newFlows.rate = share(p.Limits.NewFlowsPerSecond)
	s.pool.Budget = share(int(p.Limits.Memory))
}

// Run runs the shards until ctx is done, which is no error, or a tap is gone. It
// closes the queues.
func (t *Terminator) Run(ctx context.Context) error {
	defer close(t.ended)
	var wg sync.WaitGroup
	failed := make(chan error, len(t.shards))
	for _, s := range t.shards {
		wg.Go(func() {
			// A thread per shard: the kernel keeps it where its caches are. It
			// ends with the shard.
			runtime.LockOSThread()
			link.Urgent()
			if err := s.loop(); err != nil {
				failed <- err
			}
		})
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	for _, s := range t.shards {
		s.quit.Store(true)
		s.wake()
	}
	wg.Wait()
	for _, s := range t.shards {
		s.close()
		for side := range s.dev {
			err = errors.Join(err, s.dev[side].queue.Close())
		}
	}
	return err
}

// ask runs do on every shard's goroutine, one after the other, and waits for
// all, for ctx, or for the end of Run.
func (t *Terminator) ask(ctx context.Context, do func(*shard)) error {
	for _, s := range t.shards {
		if err := t.askOne(ctx, s, do); err != nil {
			return err
		}
	}
	return nil
}

// askOne is ask for one shard.
func (t *Terminator) askOne(ctx context.Context, s *shard, do func(*shard)) error {
	done := make(chan struct{})
	s.ask(func(s *shard) {
		defer close(done)
		do(s)
	})
	select {
	case <-done:
		return nil
	case <-t.ended:
		return errors.New("terminator: the shards have ended")
	case <-ctx.Done():
		return fmt.Errorf("terminator: shard %d does not answer: %w", s.index, ctx.Err())
	}
}

// Reload makes p the policy of new flows.
func (t *Terminator) Reload(ctx context.Context, p *policy.Table) error {
	return t.ask(ctx, func(s *shard) { s.obey(p) })
}

// Gap says that steering had a gap: packets of any flow may have gone by.
func (t *Terminator) Gap(ctx context.Context) error {
	return t.ask(ctx, func(s *shard) { s.gap() })
}

// Resteer gives steer all flows, when steering has forgotten them, those that were
// heard last first: not all may get a place. steer runs on the caller's goroutine and
// may block.
func (t *Terminator) Resteer(ctx context.Context, steer func(client wire.Tuple)) error {
	var clients []wire.Tuple
	for _, recent := range [2]bool{true, false} {
		for _, s := range t.shards {
			for end := -1; end != 0; {
				if err := t.askOne(ctx, s, func(s *shard) { clients, end = s.heard(clients[:0], end, recent) }); err != nil {
					return err
				}
				for _, client := range clients {
					steer(client)
				}
			}
		}
	}
	return nil
}

// Turns gives how many turns each shard has made. It does not wait for them: a
// number that stands still for longer than 100 ms is a shard that hangs.
func (t *Terminator) Turns() []uint64 {
	n := make([]uint64, len(t.shards))
	for i, s := range t.shards {
		n[i] = s.turns.Load()
	}
	return n
}

// killTime is how long the resets at the end of a drain may take. Ours.
const killTime = time.Second

// Drain lets no flow enter custody any more and returns when nothing is held.
// When ctx is done first, flows that hold bytes are reset on both sides; killed
// is how many. Run goes on, and passes.
func (t *Terminator) Drain(ctx context.Context) (killed int, err error) {
	if err := t.ask(ctx, (*shard).drain); err != nil {
		return 0, err
	}
	for _, s := range t.shards {
		select {
		case <-s.quiet:
			continue
		case <-t.ended:
			return 0, errors.New("terminator: the shards have ended")
		case <-ctx.Done():
		}
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTime)
		defer cancel()
		err := t.ask(last, func(s *shard) { killed += s.kill() })
		return killed, err
	}
	return 0, nil
}
