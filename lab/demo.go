package lab

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Names of the runs of a demo.
const (
	directCubic = "direct-cubic"
	directBBR   = "direct-bbr"
	accdBBR     = "accd-bbr"
)

// Options says what RunDemo does. The zero Options is the demo as documented.
type Options struct {
	HTML     string    // file for the report as a page; "": none
	Progress io.Writer // where progress is shown, live if it is a terminal; nil: nowhere
	Accd     string    // program that understands "run -c FILE"; "": this one
	Runs     []string  // names of the runs, in order; nil: all three
	Size     int64     // bytes to fetch; 0: 32 MiB
	Seed     uint64    // of the losses; 0: 1
}

// The emulated link of the demo.
const (
	demoRate      = 100e6 // bits per second
	demoRTT       = 80 * time.Millisecond
	demoLoss      = 1.0 / 1000
	demoFirstLoss = 150 // the segment towards the client that is lost first
	demoLimit     = demoRate / 1e6 * 1448 / 1514
	demoPort      = 8080
	sampleEvery   = 100 * time.Millisecond
)

// demoPaths gives both directions of the demo's link.
func demoPaths(seed uint64) (toServer, toClient Path) {
	toServer = Path{Rate: demoRate, Delay: demoRTT / 2, Queue: BDP(demoRate, demoRTT), Seed: seed}
	toClient = toServer
	toClient.Loss, toClient.LossFrom, toClient.Lose = demoLoss, demoFirstLoss, []int64{demoFirstLoss}
	return toServer, toClient
}

// demo is what RunDemo works with.
type demo struct {
	Options
	dir      string // temporary, for everything
	curl     string
	sum      [sha256.Size]byte // of the file
	top      *Topology
	progress *progress
}

// RunDemo builds a WAN out of namespaces and an emulator, lets curl fetch a file
// from nginx across it, directly and through accd, and reports how long that
// took. It needs root, nginx and curl, and leaves nothing behind, also when ctx
// ends early. When a run's file comes damaged, it gives both the report and an
// error.
func RunDemo(ctx context.Context, o Options) (r *Report, err error) {
	if o.Size == 0 {
		o.Size = 32 << 20
	}
	if o.Seed == 0 {
		o.Seed = 1
	}
	if o.Runs == nil {
		o.Runs = []string{directCubic, directBBR, accdBBR}
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("demo: it makes network namespaces and tap devices, which needs root: sudo accd demo")
	}
	nginx, curl, err := programs()
	if err != nil {
		return nil, err
	}
	if o.Accd == "" {
		if o.Accd, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("demo: where is this program? %w", err)
		}
	}
	dir, err := os.MkdirTemp("", "accd-demo-")
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	d := &demo{Options: o, dir: dir, curl: curl, progress: newProgress(o.Progress, demoLimit)}

	d.progress.say("building the network, and %d MiB of random bytes", o.Size>>20)
	if err := d.makeFile(); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	if d.top, err = NewTopology("demo"); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	defer func() { err = errors.Join(err, d.top.Close()) }()
	server, err := d.startNginx(ctx, nginx)
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	defer func() { err = errors.Join(err, server.stop()) }()

	r = &Report{size: o.Size, limit: demoLimit, sample: sampleEvery, lines: conditions(o.Seed)}
	for _, name := range o.Runs {
		run, err := d.run(ctx, name)
		if err != nil {
			d.progress.clear()
			return nil, fmt.Errorf("demo: %s: %w", name, err)
		}
		r.Runs = append(r.Runs, *run)
		r.finish()
		d.progress.done(&r.Runs[len(r.Runs)-1])
	}
	if o.HTML != "" {
		if err := r.saveHTML(o.HTML); err != nil {
			return nil, fmt.Errorf("demo: %w", err)
		}
	}
	for _, run := range r.Runs {
		if !run.SHA256OK {
			return r, fmt.Errorf("demo: %s: what curl received is not what nginx served: their SHA-256 differ", run.Name)
		}
	}
	return r, nil
}

// programs finds what the demo needs.
func programs() (nginx, curl string, err error) {
	var missing []string
	find := func(name string) string {
		path, err := exec.LookPath(name)
		if err == nil {
			return path
		}
		// Where it is when a user's PATH was kept on the way to root.
		if path := "/usr/sbin/" + name; exec.Command(path, "-v").Run() == nil {
			return path
		}
		missing = append(missing, name)
		return ""
	}
	nginx, curl = find("nginx"), find("curl")
	if missing != nil {
		return "", "", fmt.Errorf("demo: %s not found: `make demo` installs what is missing and starts no service; elsewhere install the programs %s",
			strings.Join(missing, " and "), strings.Join(missing, " and "))
	}
	return nginx, curl, nil
}

// conditions says in words what the runs have in common.
func conditions(seed uint64) []string {
	return []string{
		fmt.Sprintf("Link between client and box: %d Mbit/s, %d ms round trip, queue of one bandwidth-delay product (%d kB) each way.",
			int(demoRate/1e6), demoRTT.Milliseconds(), BDP(demoRate, demoRTT)/1000),
		fmt.Sprintf("One segment in 1,000 towards the client is lost at random, the first is number %d; the same seed (%d) for each run.", demoFirstLoss, seed),
		"Link between box and server: veth, unlimited.",
		"direct-cubic and direct-bbr: the kernel's TCP from end to end, the box forwards. accd-bbr: the kernel's cubic at both ends, accd on the box sends to the WAN with BBR.",
		"Time is curl's time_total: connecting, request and the last byte. Retransmissions are data segments towards the client that the emulator has seen before.",
	}
}

// makeFile makes the file that is fetched.
func (d *demo) makeFile() error {
	f, err := os.OpenFile(filepath.Join(d.dir, "file"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	h := sha256.New()
	_, err = io.CopyN(io.MultiWriter(f, h), rand.Reader, d.Size)
	h.Sum(d.sum[:0])
	return errors.Join(err, f.Close())
}

// checkFile says whether what was fetched is the file.
func (d *demo) checkFile(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return false, err
	}
	return [sha256.Size]byte(h.Sum(nil)) == d.sum, nil
}

func (r *Report) saveHTML(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(r.WriteHTML(f), f.Close())
}

// url gives where the file is.
func (d *demo) url() string {
	return "http://" + netip.AddrPortFrom(ServerAddr4, demoPort).String() + "/file"
}
