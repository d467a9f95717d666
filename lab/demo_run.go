package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"accd/netcfg/netlab"
)

// patience is how long a program of the demo may take to start, or to stop.
const patience = 10 * time.Second

// fetchLimit bounds one run; the slowest takes about a minute.
const fetchLimit = 3 * time.Minute

// run makes one of the demo's runs.
func (d *demo) run(ctx context.Context, name string) (run *Run, err error) {
	congestion := "cubic"
	if name == directBBR {
		congestion = "bbr"
	}
	if err := setCongestion(d.top.Server, congestion); err != nil {
		return nil, err
	}
	if err := setCongestion(d.top.Client, "cubic"); err != nil {
		return nil, err
	}
	// A perfect link until everything is in its place.
	if err := d.top.WAN.Set(Path{}, Path{}); err != nil {
		return nil, err
	}
	var accd *box
	if name == accdBBR {
		if accd, err = d.startAccd(ctx); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, accd.stop()) }()
	}
	// The neighbours find each other before the clock runs.
	c, err := d.top.Client.Dial(ctx, "tcp", strings.TrimSuffix(strings.TrimPrefix(d.url(), "http://"), "/file"))
	if err != nil {
		return nil, fmt.Errorf("the client does not reach the server: %w", err)
	}
	if err := c.Close(); err != nil {
		return nil, err
	}

	if err := d.top.WAN.Set(demoPaths(d.Seed)); err != nil {
		return nil, err
	}
	run = &Run{Name: name}
	if err := d.fetch(ctx, run); err != nil {
		return nil, err
	}
	_, toClient := d.top.WAN.Stats()
	run.Retransmissions = toClient.Retransmitted
	if accd != nil {
		if err := accd.wantCustody(ctx, d.Size); err != nil {
			return nil, fmt.Errorf("%w\n%s", err, accd.said())
		}
	}
	return run, nil
}

// setCongestion sets the congestion control of a namespace's kernel, and lets
// it forget what earlier runs taught it about the path.
func setCongestion(ns *netlab.Namespace, name string) error {
	if err := ns.Sysctl("net.ipv4.tcp_no_metrics_save", "1"); err != nil {
		return err
	}
	return ns.Congestion(name)
}

// fetch lets the client's curl fetch the file, and fills in the time, the
// samples and whether the file is right.
func (d *demo) fetch(ctx context.Context, run *Run) error {
	ctx, cancel := context.WithTimeoutCause(ctx, fetchLimit, fmt.Errorf("curl was not done after %v", fetchLimit))
	defer cancel()
	file := filepath.Join(d.dir, run.Name)
	// -q: no configuration of the user has a say.
	cmd := exec.CommandContext(ctx, d.curl, "-q", "--silent", "--show-error", "--fail", "--noproxy", "*",
		"--output", file, "--write-out", "%{time_total}", d.url())
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	cmd.SysProcAttr = ownGroup()
	if err := d.top.Client.Start(cmd); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()

	begin := time.Now()
	last, at := int64(0), begin
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		var err error
		ended := false
		select {
		case err = <-done:
			ended = true
		case <-tick.C:
		}
		now := time.Now()
		_, s := d.top.WAN.Stats()
		if !ended || now.Sub(at) > sampleEvery/10 {
			mbit := float64(s.Payload-last) * 8 / 1e6 / now.Sub(at).Seconds()
			run.samples = append(run.samples, mbit)
			d.progress.sample(run.Name, min(s.Payload, d.Size), d.Size, now.Sub(begin).Seconds(), mbit)
		}
		last, at = s.Payload, now
		switch {
		case !ended:
			continue
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return fmt.Errorf("curl: %w: %s", err, strings.TrimSpace(errOut.String()))
		}
		break
	}
	if _, err := fmt.Sscan(out.String(), &run.Seconds); err != nil {
		return fmt.Errorf("curl said %q instead of its time: %w", out.String(), err)
	}
	var err error
	run.SHA256OK, err = d.checkFile(file)
	return errors.Join(err, os.Remove(file))
}
