package netcfg

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
)

// Steering is a host on which connections are steered to two taps. Its methods
// may be called from any goroutine; those that name a namespace run on a thread
// of it.
type Steering struct {
	log     *zap.Logger
	journal *journal
	nft     *nftTable
	taps    [roles]*Tap
	ways    *ways // nil: there is to be no shortcut
	flows   *flowChanges
	beats   [][]byte // the frames that refresh the heartbeat
	host    *netlink.Handle
	lost    atomic.Uint64 // calls of Forget without effect

	mu    sync.Mutex // guards what follows
	plan  Plan
	on    []*family
	track tracking
	down  bool
}

// Up brings the host to the plan, having removed what a process that died may
// have left. Nothing is steered before the first Beat. If it fails it leaves the
// host as it was. ErrRunning means that another process has done it already. It
// works in the namespace of the calling thread.
func Up(ctx context.Context, plan Plan, log *zap.Logger) (_ *Steering, err error) {
	if err := needPrivileges(); err != nil {
		return nil, err
	}
	plan = plan.withDefaults()
	if err := plan.validate(); err != nil {
		return nil, err
	}
	s := &Steering{log: log, plan: plan}
	if s.journal, err = openJournal(plan.StateDir); err != nil {
		return nil, err
	}
	// Another process may have the host in hand with a journal elsewhere: what
	// is not ours is not undone.
	if err := awaitTapsGone(&plan.Names); err != nil {
		return nil, errors.Join(err, s.journal.release())
	}
	if err := undoHost(&plan.Names, s.journal); err != nil {
		return nil, errors.Join(err, s.journal.release())
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.undo())
		}
	}()

	if s.host, err = newHandle(); err != nil {
		return nil, err
	}
	h := s.host
	x, err := readHost(h)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(x.obstacles(&plan), plan.firewall()); err != nil {
		return nil, err
	}
	s.on = x.forwards
	for _, f := range families {
		if !slices.Contains(x.forwards, f) {
			log.Warn("family is not steered because the host does not forward it", zap.String("family", f.name))
		}
	}
	keys := newSpreadKeys()
	for r := range s.taps {
		t, err := OpenTap(TapOptions{Name: plan.tap(role(r)), Queues: plan.Queues, Plain: plan.Plain})
		if err != nil {
			return nil, err
		}
		s.taps[r] = t
		if plan.Queues > 1 {
			if err := t.spread(keys); err != nil {
				log.Info("the kernel chooses queues in its own way, which takes longer: CAP_BPF is missing, or an old kernel", zap.Error(err))
			}
		}
		if !t.Offload && !plan.Plain {
			log.Warn("tap has no virtio-net header: every frame is one MTU at most, which is slow", zap.String("tap", t.Name))
		}
	}
	// Packets that are steered to a tap that is gone would be lost.
	release, err := closeBefore(s.taps[:])
	if err != nil {
		return nil, err
	}
	defer release()
	if !plan.NoShortcut {
		if s.ways, err = openWays(&plan); err != nil {
			return nil, err
		}
		if who := s.ways.onlooker(); who != "" {
			log.Info("no shortcut: somebody looks at packets", zap.String("who", who))
		} else {
			s.track = untracked
		}
	}
	if s.nft, err = openTable(nftables.TableFamilyINet, plan.Table, plan.owned()); err != nil {
		return nil, err
	}
	want := desired(&plan, x, s.indexes(), s.track)
	for _, t := range want.taps {
		if err := t.apply(h); err != nil {
			return nil, err
		}
	}
	s.beats = beatFrames(s.taps[client])
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("netcfg: %w", err)
	}
	for _, x := range want.settings {
		if err := s.journal.set(x); err != nil {
			return nil, err
		}
	}
	if err := s.nft.install(want.ruleset); err != nil {
		return nil, err
	}
	for _, r := range want.rules {
		if err := r.apply(h); err != nil {
			return nil, err
		}
	}
	if s.track == untracked {
		s.openShortcut()
	}
	s.flows = startFlowChanges(s.nft, &plan, log)
	log.Info("steering is up", zap.String("client_tap", plan.ClientTap), zap.String("server_tap", plan.ServerTap),
		zap.Int("queues", plan.Queues), zap.Bool("offload", s.taps[client].Offload), zap.Bool("block", plan.Block))
	return s, nil
}

// Taps gives the tap of the client legs and that of the server legs. They stay
// open until Down, which closes them.
func (s *Steering) Taps() (client, server *Tap) { return s.taps[0], s.taps[1] }

// indexes gives those of the taps.
func (s *Steering) indexes() [roles]int {
	return [roles]int{s.taps[client].Index, s.taps[server].Index}
}

// Reload changes which connections are steered from now on. Known flows keep
// their steering. What cannot change in a running process is an error: names,
// marks, queues, sizes of sets and the way to fail. The shortcut follows a second later.
func (s *Steering) Reload(plan Plan) error {
	plan = plan.withDefaults()
	if err := plan.validate(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return errDown
	}
	if old, now := s.plan.fixed(), plan.fixed(); !reflect.DeepEqual(old, now) {
		return fmt.Errorf("netcfg: reload: taps, queues, names, marks, tables, set sizes and fail mode are fixed while accd runs: restart it (have %+v, want %+v)", old, now)
	}
	if err := s.nft.replace(steering(&plan, s.indexes(), s.on, s.track)); err != nil {
		return err
	}
	s.plan = plan
	if s.ways != nil {
		s.ways.stale = true
	}
	return nil
}

// fixed is the plan without what a reload may change.
func (p Plan) fixed() Plan {
	p.LAN, p.WAN, p.Clauses = Network{}, Network{}, nil
	p.FlowTimeout, p.OpeningTimeout, p.BeatTimeout = 0, 0, 0
	return p
}

var errDown = errors.New("netcfg: steering is down")

// Down stops steering and puts everything back. Nobody uses the files of the taps
// any more. It works in the namespace of the calling thread, which is that of Up.
// Going down twice is harmless.
func (s *Steering) Down() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return nil
	}
	s.down = true
	err := s.undo()
	if err == nil {
		s.log.Info("steering is down, the host is as it was")
	}
	return err
}

// undo takes back what Up did, as far as it came.
func (s *Steering) undo() error {
	var errs []error
	if s.flows != nil {
		s.flows.stop()
	}
	// Before the taps, or what takes the shortcut would be lost.
	if s.ways != nil {
		errs = append(errs, s.ways.close())
	}
	// The taps before the table that guards against packets for a tap that is gone.
	for _, t := range s.taps {
		if t != nil {
			errs = append(errs, t.Close())
		}
	}
	if s.nft != nil {
		errs = append(errs, s.nft.close())
	}
	if s.host != nil {
		s.host.Close()
	}
	errs = append(errs, undoHost(&s.plan.Names, s.journal))
	if err := errors.Join(errs...); err != nil {
		// The journal stays for Cleanup.
		return errors.Join(err, s.journal.file.Close())
	}
	return s.journal.remove()
}
