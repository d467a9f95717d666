package e2e

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"accd/e2e/peers"
	"accd/lab"
	"accd/netcfg/netlab"
)

var (
	allPeers   = flag.Bool("peers.all", false, "run every combination of the differential peers, not a share")
	peersFile  = flag.String("peers.out", "", "write the results of the differential peers to this file, one JSON object a line")
	peersSeed  = flag.Uint64("peers.seed", uint64(time.Now().UnixNano()), "of the share that is run, and of what is lost")
	peersShare = flag.Int("peers.share", 6, "combinations of the share for each pair of stacks and each loss")
)

// pairing says on which TCP the ends run.
type pairing struct {
	name           string
	client, server bool     // whether that end runs gVisor's TCP, not the kernel's
	algorithms     []string // what both ends have
	options        []string // that can be off: gVisor has no switch for some of the kernel's, but does as its peer does
}

// kernelOptions can be off in the kernel, by net.ipv4.tcp_*.
var kernelOptions = []string{"sack", "timestamps", "window_scaling"}

var pairings = []pairing{
	{"kernel-kernel", false, false, []string{"reno", "cubic", "bbr"}, kernelOptions},
	{"gvisor-kernel", true, false, []string{"reno", "cubic"}, append(kernelOptions, "rack")},
	{"kernel-gvisor", false, true, []string{"reno", "cubic"}, append(kernelOptions, "rack")},
}

// combination is how two ends are set, and the path between them.
type combination struct {
	Peers   string  `json:"peers"` // client-server
	Control string  `json:"congestion"`
	Without string  `json:"without,omitempty"` // the option that is off; empty: none
	ECN     int     `json:"ecn"`               // net.ipv4.tcp_ecn of the kernel's ends
	Loss    float64 `json:"loss"`              // share of segments, both ways
	Family  string  `json:"family"`

	pairing *pairing
	seed    uint64
}

func (c *combination) String() string {
	with := "all"
	if c.Without != "" {
		with = "no-" + c.Without
	}
	return fmt.Sprintf("%s/%s/%s/ecn%d/loss%g/%s", c.Peers, c.Control, with, c.ECN, c.Loss, c.Family)
}

// peerResult is a line of the machine-readable results.
type peerResult struct {
	combination
	Seconds float64 `json:"seconds"` // until both ends were done
	Bytes   int64   `json:"bytes"`   // of payload, both ways
	Taken   int64   `json:"taken"`   // of them acknowledged by accd
	Lost    int64   `json:"lost"`    // segments
	Marked  int64   `json:"marked"`  // segments, with CE: only where ECN was agreed on
	Error   string  `json:"error,omitempty"`
}

const (
	peerBytes = 600 * kib // of each transfer: some hundred segments, so that loss happens
	peerPort  = 5201
	peerTime  = 60 * time.Second // no combination takes longer
)

// orders are the connections of a combination, all at the same time: one only
// upwards, one only downwards, one both ways.
var orders = []peers.Order{{ID: 1, Up: peerBytes}, {ID: 2, Down: peerBytes}, {ID: 3, Up: peerBytes, Down: peerBytes}}

// Whatever TCP the endpoints run, with whatever of its options, over a path that
// loses segments: what is sent arrives, through accd's custody, and in time.
func TestPeers(t *testing.T) {
	t.Parallel()
	t.Logf("-peers.seed %d", *peersSeed)
	var mu sync.Mutex
	var results []peerResult
	t.Run("stacks", func(t *testing.T) {
		for i := range pairings {
			p := &pairings[i]
			todo := make(chan combination)
			// Networks are made one after the other, and then used at the
			// same time: most of the time a combination waits.
			const atOnce = 2
			var workers sync.WaitGroup
			for range atOnce {
				if (p.client || p.server) && os.Getenv("PEER_GVISOR") == "" {
					t.Skipf("%s: PEER_GVISOR does not name the program of e2e/peers/gvisor; make e2e builds it", p.name)
				}
				n := newNetwork(t, shape{emulated: true, bareClient: p.client, bareServer: p.server})
				d := n.startAccd(config{})
				workers.Go(func() {
					for c := range todo {
						t.Run(c.String(), func(t *testing.T) {
							o := n.converse(t, d, c)
							mu.Lock()
							results = append(results, o)
							mu.Unlock()
						})
					}
				})
			}
			go func() {
				defer close(todo)
				for _, c := range p.combinations() {
					todo <- c
				}
			}()
			defer workers.Wait()
		}
	})
	report(t, results)
}

// combinations gives those of a pairing that are to be run.
func (p *pairing) combinations() []combination {
	rng := rand.New(rand.NewPCG(*peersSeed, 0))
	var all []combination
	for _, loss := range []float64{0, 0.01, 0.05} {
		var same []combination
		for _, control := range p.algorithms {
			for _, without := range append([]string{""}, p.options...) {
				for ecn := range 3 {
					c := combination{Peers: p.name, Control: control, Without: without, ECN: ecn, Loss: loss, pairing: p}
					c.Family = families[len(same)%len(families)].name
					c.seed = rng.Uint64()
					same = append(same, c)
				}
			}
		}
		if !*allPeers {
			rng.Shuffle(len(same), func(i, j int) { same[i], same[j] = same[j], same[i] })
			same = same[:min(*peersShare, len(same))]
		}
		all = append(all, same...)
	}
	return all
}

// converse runs one combination.
func (n *network) converse(t *testing.T, d *daemon, c combination) peerResult {
	// Nothing is lost but by Loss: the queue has room for all that is sent. When it
	// overflows at the end of a slow start, netstack's recovery may take half a minute.
	path := lab.Path{Rate: 50e6, Delay: 5 * time.Millisecond, Queue: 4 * peerBytes, Loss: c.Loss, MarkAbove: 30 * kib, Seed: c.seed}
	back := path
	back.Seed++
	must(t, n.cable.Set(path, back))
	for _, ns := range []*netlab.Namespace{n.client, n.server} {
		must(t, ns.Sysctl("net.ipv4.tcp_ecn", fmt.Sprint(c.ECN)))
		for _, option := range kernelOptions {
			value := "1"
			if option == c.Without {
				value = "0"
			}
			must(t, ns.Sysctl("net.ipv4.tcp_"+option, value))
		}
	}
	f := families[slices.IndexFunc(families, func(f family) bool { return f.name == c.Family })]
	o := peerResult{combination: c}
	for _, x := range orders {
		o.Bytes += x.Up + x.Down
	}
	begin := time.Now()
	var err error
	d.measured(t, func() error {
		err = n.talk(f, c)
		o.Seconds = time.Since(begin).Seconds()
		return err
	}, func(taken directions, gaps int64) error {
		if o.Taken = taken.Up + taken.Down; float64(o.Taken) < custody*float64(o.Bytes) && !stoodStill(t, gaps) {
			err = fmt.Errorf("accd acknowledged %d of %d bytes, want at least %.0f %%", o.Taken, o.Bytes, 100*custody)
		}
		return err
	})
	up, down := n.cable.Stats()
	o.Lost, o.Marked = up.Lost+down.Lost, up.Marked+down.Marked
	if err != nil {
		o.Error = err.Error()
	}
	return o
}

// talk lets both ends do their part and compares what they say.
func (n *network) talk(f family, c combination) error {
	at := netip.AddrPortFrom(f.server, peerPort)
	var server, client end
	if c.pairing.server {
		server = n.gvisor(n.server, &c, f.server, gatewayOf(f.server), "-listen", fmt.Sprint(peerPort))
	} else {
		server = n.kernelServer(f, &c)
	}
	if err := server.start(); err != nil {
		return say("server", err)
	}
	if c.pairing.client {
		client = n.gvisor(n.client, &c, f.client, gatewayOf(f.client), "-connect", at.String())
	} else {
		client = n.kernelClient(at, &c)
	}
	if err := client.start(); err != nil {
		return errors.Join(say("client", err), say("server", server.stop()))
	}
	var asked, answered []peers.Outcome
	err := together(
		func() (err error) { asked, err = client.outcomes(); return say("client", err) },
		func() (err error) { answered, err = server.outcomes(); return say("server", err) })
	err = errors.Join(err, say("client", client.stop()), say("server", server.stop()))
	if err != nil {
		return err
	}
	return agree(asked, answered)
}

// agree wants both ends to tell of the same bytes.
func agree(asked, answered []peers.Outcome) error {
	byID := map[uint64]peers.Outcome{}
	for _, o := range answered {
		byID[o.ID] = o
	}
	if len(asked) != len(orders) || len(byID) != len(orders) {
		return fmt.Errorf("%d connections ended well at the client and %d at the server, want %d", len(asked), len(byID), len(orders))
	}
	for _, a := range asked {
		if b := byID[a.ID]; a.Sent != b.Got || a.Got != b.Sent {
			return fmt.Errorf("connection %d: the client sent %s and got %s, the server got %s and sent %s", a.ID, a.Sent, a.Got, b.Got, b.Sent)
		}
	}
	return nil
}

// control gives a function that sets a socket's congestion control.
func (c *combination) control() func(fd int) error {
	return func(fd int) error {
		return unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, c.Control)
	}
}

// gatewayOf gives the router's address in the network of a host.
func gatewayOf(host netip.Addr) netip.Addr { return host.Prev() }

// report prints what was measured, a line for each setting of the ends, and
// writes it to a file.
func report(t *testing.T, results []peerResult) {
	slices.SortFunc(results, func(a, b peerResult) int { return strings.Compare(a.String(), b.String()) })
	if *peersFile != "" {
		var b []byte
		for _, o := range results {
			line, err := json.Marshal(o)
			must(t, err)
			b = append(append(b, line...), '\n')
		}
		must(t, os.WriteFile(*peersFile, b, 0o644))
	}
	var s strings.Builder
	w := tabwriter.NewWriter(&s, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "peers\tcongestion\twithout\tECN\tloss\tfamily\tseconds\tMbit/s\tcustody %\tlost\tmarked\tresult")
	for _, o := range results {
		verdict := "equal"
		if o.Error != "" {
			verdict = "FAILED"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%g\t%s\t%.2f\t%.1f\t%.1f\t%d\t%d\t%s\n", o.Peers, o.Control, o.Without, o.ECN, o.Loss, o.Family,
			o.Seconds, float64(o.Bytes)*8/1e6/o.Seconds, 100*float64(o.Taken)/float64(o.Bytes), o.Lost, o.Marked, verdict)
	}
	check(t, w.Flush())
	t.Logf("\n%s", s.String())
}

// end is one end of a combination: a TCP with its program.
type end interface {
	start() error                       // until it answers or asks
	outcomes() ([]peers.Outcome, error) // of its connections, when all are done
	stop() error                        // when the other end is done too
}
