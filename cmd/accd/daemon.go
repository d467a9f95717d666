package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"

	"accd/admin"
	"accd/netcfg"
	"accd/policy"
	"accd/splice"
	"accd/tcpstack/wire"
	"accd/terminator"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// drainTime is how long a stop waits for receivers that do not read.
const drainTime = 4 * time.Second

// daemon is everything that runs, wired together.
type daemon struct {
	*terminator.Terminator
	file     string
	log      *zap.Logger
	level    zap.AtomicLevel
	first    *policy.Table // what it began with: some of it stays until a restart
	claim    *admin.Claim
	steering *netcfg.Steering
	server   *http.Server
	ended    chan error // from Run of the Terminator
	failed   chan error // from the heartbeat
	stop     func()     // ends Run and the heartbeat
	beating  sync.WaitGroup

	forgotten chan struct{} // steering knows no flow any more
	restored  int           // times the heartbeat has made the nft table anew,
	told      time.Time     // and when it said so last

	mu       sync.Mutex // guards describe
	describe admin.Daemon
}

// startDaemon brings everything up. When it fails, everything is as before.
func startDaemon(ctx context.Context, file string, table *policy.Table, level zap.AtomicLevel, log *zap.Logger) (_ *daemon, err error) {
	ctx, stop := context.WithCancel(ctx)
	d := &daemon{file: file, log: log, level: level, first: table, stop: stop, ended: make(chan error, 1), failed: make(chan error, 1), forgotten: make(chan struct{}, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	d.obey(table)
	if d.claim, err = admin.Take(table.Admin.Socket); err != nil {
		return nil, err
	}
	// First of all, for those whom a crash left hanging.
	if err := settleLedger(d.ledgerFile(), afterDeath, names(&table.Steer, &table.Admin), log); err != nil {
		return nil, err
	}
	if d.steering, err = netcfg.Up(ctx, plan(table, table), log); err != nil {
		if errors.Is(err, netcfg.ErrRunning) {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %w", errHost, err)
	}
	cfg := terminator.Config{
		Policy: table,
		MTU:    mtus(table),
		Steer:  d.steer,
		Forget: d.forget, Farewell: netcfg.FarewellMAC(), Shortcut: netcfg.ShortcutMAC(),
		Idle: table.Steer.FlowTimeout,
		Log:  log,
	}
	if cfg.LedgerMem, err = mapLedger(d.ledgerFile()); err != nil {
		return nil, err
	}
	client, server := d.steering.Taps()
	for side, tap := range map[splice.Side]*netcfg.Tap{splice.Client: client, splice.Server: server} {
		if cfg.Taps[side], err = openTap(tap); err != nil {
			return nil, err
		}
	}
	spareProcessors(len(client.Files))
	if d.Terminator, err = terminator.New(cfg); err != nil {
		return nil, err
	}
	go func() { d.ended <- d.Run(ctx) }()

	l, err := d.claim.Listen()
	if err != nil {
		return nil, err
	}
	d.server = admin.NewServer(d, log)
	go func() {
		if err := d.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("status cannot be asked for any more", zap.Error(err))
		}
	}()
	steered := make(chan struct{})
	d.beating.Go(func() { d.heartbeat(ctx, steered) })
	d.beating.Go(func() { d.recall(ctx) })
	select {
	case <-steered:
	case err := <-d.ended:
		d.ended <- nil // for close
		return nil, err
	case err := <-d.failed:
		return nil, fmt.Errorf("%w: %w", errHost, err)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	d.tell("READY=1", fmt.Sprintf("MAINPID=%d", os.Getpid()))
	log.Info("accd is running", zap.String("version", programVersion()), zap.String("config", file),
		zap.String("hash", table.Hash), zap.String("socket", table.Admin.Socket))
	return d, nil
}

// close takes down what is up, in the opposite order.
func (d *daemon) close() error {
	var err error
	// Steering ends first, while the shards still pass what is under way.
	if d.steering != nil {
		err = d.steering.Down()
	}
	d.stop()
	d.beating.Wait()
	if d.Terminator != nil {
		// After an orderly stop the ledger lists nobody but flows that were
		// reset, perhaps with an RST that got lost.
		err = errors.Join(err, <-d.ended, settleLedger(d.ledgerFile(), afterStop, names(&d.first.Steer, &d.first.Admin), d.log))
	}
	if d.server != nil {
		err = errors.Join(err, d.server.Close())
	}
	if d.claim != nil {
		err = errors.Join(err, d.claim.Release())
	}
	return err
}

func (d *daemon) ledgerFile() string { return admin.Beside(d.first.Admin.Socket, "ledger") }

// steer asks for a flow's packets to come to the taps again.
func (d *daemon) steer(client wire.Tuple) {
	d.steering.Steer(endpoints(client))
}

// forget ends the steering of a flow that is over.
func (d *daemon) forget(client wire.Tuple) {
	d.steering.Forget(endpoints(client))
}

func endpoints(t wire.Tuple) (src, dst netip.AddrPort) {
	return netip.AddrPortFrom(t.Src.Netip(), t.SrcPort), netip.AddrPortFrom(t.Dst.Netip(), t.DstPort)
}

// serve runs until a signal ends it or something fails.
func (d *daemon) serve(ctx context.Context, signals <-chan os.Signal) error {
	for {
		select {
		case s := <-signals:
			if s == unix.SIGHUP {
				d.reload(ctx)
				continue
			}
			return d.shutdown(ctx, signals)
		case <-ctx.Done():
			return d.shutdown(ctx, signals)
		case err := <-d.ended:
			d.ended <- nil // for close
			return errors.Join(err, d.close())
		case err := <-d.failed:
			return errors.Join(err, d.close())
		}
	}
}

// reload reads the configuration again. A bad one changes nothing.
func (d *daemon) reload(ctx context.Context) {
	d.tell(reloading()...)
	defer d.tell("READY=1")
	if err := d.tryReload(ctx); err != nil {
		d.log.Error("reload refused, the old configuration stays", zap.String("config", d.file), zap.Error(err))
		d.mu.Lock()
		d.describe.Config.LastReload = err.Error()
		d.mu.Unlock()
	}
}

func (d *daemon) tryReload(ctx context.Context) error {
	table, problems, err := load(d.file)
	if err != nil {
		return err
	}
	for _, line := range problems.Lines() {
		d.log.Warn("configuration", zap.String("problem", line))
	}
	if table == nil {
		return fmt.Errorf("%s in %s, the first: %s", problems.Summary(), d.file, problems.Lines()[0])
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	// The kernel first: it may refuse, the shards do not.
	if err := d.steering.Reload(plan(table, d.first)); err != nil {
		return err
	}
	if err := d.Reload(ctx, table); err != nil {
		return err
	}
	d.obey(table)
	d.log.Info("configuration loaded", zap.String("config", d.file), zap.String("hash", table.Hash))
	return nil
}

// obey notes what table says of the daemon itself.
func (d *daemon) obey(table *policy.Table) {
	tuneCollector()
	// The words of the configuration are those of zap.
	if err := d.level.UnmarshalText([]byte(table.Log.Level)); err != nil {
		d.log.Error("log level stays as it was", zap.Error(err))
	}
	var restart []string
	for _, x := range []struct {
		what    string
		changed bool
	}{
		{"steering", table.Steer != d.first.Steer},
		{"limits.flows", table.Limits.Flows != d.first.Limits.Flows},
		{"admin", table.Admin != d.first.Admin},
	} {
		if x.changed {
			restart = append(restart, x.what)
			d.log.Warn("this change takes effect at the next start", zap.String("setting", x.what))
		}
	}
	failTo := "wire"
	if d.first.Steer.Block {
		failTo = "block"
	}
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.describe.Started.IsZero() {
		d.describe = admin.Daemon{
			Version: programVersion(), PID: os.Getpid(), Started: now,
			Mode: d.first.Steer.Mode, State: admin.Bypassed, FailTo: failTo,
		}
	}
	d.describe.Config = admin.Config{File: d.file, Hash: table.Hash, Loaded: now, Rules: len(table.Verdicts()), Restart: restart}
}

// Describe implements admin.Source.
func (d *daemon) Describe() admin.Daemon {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.describe
}

// become notes a change of state, but none from draining back.
func (d *daemon) become(s admin.State) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.describe.State == s || d.describe.State == admin.Draining {
		return
	}
	d.describe.State = s
	d.log.Info("state", zap.String("state", string(s)))
}

// shutdown lets go of all flows and ends. A second signal does not wait for
// receivers that do not read, a third for nothing.
func (d *daemon) shutdown(ctx context.Context, signals <-chan os.Signal) error {
	d.tell("STOPPING=1")
	d.become(admin.Draining)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	done := make(chan struct{})
	defer close(done)
	go func() {
		for n := 0; ; {
			select {
			case <-done:
				return
			case s := <-signals:
				if s == unix.SIGHUP {
					continue
				}
				cancel()
				if n++; n == 2 {
					d.log.Error("ended by a third signal: accd cleanup puts the host back")
					os.Exit(exitFailed)
				}
			}
		}
	}()
	killed, err := d.Drain(drain)
	if err != nil {
		d.log.Error("not everything was drained", zap.Error(err))
	}
	if err := d.close(); err != nil {
		return err
	}
	d.log.Info("accd has ended", zap.Int("flows_reset", killed))
	return nil
}

func (d *daemon) tell(state ...string) {
	if err := notify(state...); err != nil {
		d.log.Warn("the service manager does not listen", zap.Error(err))
	}
}
