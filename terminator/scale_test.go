package terminator

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"accd/policy"
	"accd/splice"
	"accd/tcpstack/buf"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
	"accd/terminator/link"
)

var (
	scaleTo     = flag.Int("scale", 10_000, "how many flows TestScale goes up to, in steps of ten")
	scaleShards = flag.Int("scale.shards", 1, "how many shards, each with its goroutine, TestScale spreads them over")
)

// population is many connections through a terminator between queues in memory.
// Client and server are two templates: whose turn it is and where its stream
// stands follows from the number of the connection.
type population struct {
	*box
	drivers []*driver
	sent    []uint32 // bytes each client has sent
}

// driver plays all endpoints of one shard, on a goroutine of its own, and times
// the turns of the shard and nothing else.
type driver struct {
	*population
	shard  *shard
	index  int
	rng    *rand.Rand
	now    mono.Time
	pool   buf.Pool
	frame  link.Frame
	view   wire.View
	kinds  [kinds]template
	owed   []reply // ACKs the servers owe
	behind int     // how many of them stay owed
	turns  []time.Duration
	// CPU time of turns, which who else runs here does not change: of all, and the most.
	spent, longest time.Duration
	given          int // packets
}

// reply is an ACK of a server.
type reply struct {
	client wire.Tuple
	ack    uint32
}

// template is a frame in which only names and numbers change.
type template struct {
	side  splice.Side
	frame []byte
}

const (
	aSYN = iota
	aSYNACK
	anACK
	data
	serverACK
	aRST
	kinds
)

const scalePayload = 200

// Who reads the frames trusts the device: what is measured is not checksums.
var verified = wire.VirtioHeader{Flags: wire.VirtioDataValid}

func newPopulation(t testing.TB, shards int) *population {
	p := &population{box: newBox(t, shards, func(c *Config) {
		c.Policy.Limits = policy.Limits{Flows: 1 << 20, Memory: 1 << 40, NewFlowsPerSecond: 0, PerClientOpening: 0}
		c.LedgerMem = make([]byte, splice.LedgerSize(16384))
	})}
	for i, s := range p.term.shards {
		s.many = aheadFlows
		d := &driver{population: p, shard: s, index: i, rng: rand.New(rand.NewPCG(1, uint64(i))), now: p.now}
		for kind, pk := range map[int]packet{
			aSYN:      {tuple: web4, flags: wire.SYN, seq: 1000, window: 65535, options: &synOptions, net: splice.LAN},
			aSYNACK:   {tuple: web4.Reverse(), flags: wire.SYN | wire.ACK, seq: 5000, ack: 1001, window: 65535, options: &synAckOptions, net: splice.WAN},
			anACK:     {tuple: web4, flags: wire.ACK, seq: 1001, ack: 5001, window: 512, options: &clientTS, net: splice.LAN},
			data:      {tuple: web4, flags: wire.ACK | wire.PSH, seq: 1001, ack: 5001, window: 512, options: &clientTS, net: splice.LAN, payload: make([]byte, scalePayload)},
			serverACK: {tuple: web4.Reverse(), flags: wire.ACK, seq: 5001, ack: 1001, window: 512, options: &serverTS, net: splice.WAN},
			aRST:      {tuple: web4, flags: wire.RST, seq: 1001, net: splice.LAN},
		} {
			side := splice.Client
			if kind == aSYNACK || kind == serverACK {
				side = splice.Server
			}
			d.kinds[kind] = template{side, pk.frame()}
		}
		p.drivers = append(p.drivers, d)
	}
	return p
}

// name gives the client's address and port of connection i.
func name(i int) (addr uint32, port uint16) { return 10<<24 | uint32(i)>>6, 1024 + uint16(i)&63 }

// put gives the shard a packet of connection i.
func (d *driver) put(kind, i int) {
	k := &d.kinds[kind]
	addr, port := name(i)
	ip, tcp, seq := wire.EthLen+12, wire.EthLen+wire.IPv4Len, 4
	if k.side == splice.Server {
		ip, tcp, seq = ip+4, tcp+2, 8
	}
	binary.BigEndian.PutUint32(k.frame[ip:], addr)
	binary.BigEndian.PutUint16(k.frame[tcp:], port)
	if kind != aSYN && kind != aSYNACK {
		at := wire.EthLen + wire.IPv4Len + seq
		binary.BigEndian.PutUint32(k.frame[at:], 1001+d.sent[i])
	}
	d.send(k)
}

func (d *driver) send(k *template) {
	if err := d.ends[d.index][k.side].Send(&verified, k.frame, nil); err != nil {
		d.t.Fatal(err)
	}
}

// turn times turns until the shard has nothing more to do now, then takes what
// has come out of it; servers owe ACKs of the data in it.
func (d *driver) turn(given int) {
	d.now = d.now.Add(100 * time.Microsecond)
	for more := true; more; {
		from, busy := time.Now(), threadTime()
		next := d.shard.guarded(d.now)
		busy = threadTime() - busy
		d.turns = append(d.turns, time.Since(from))
		d.spent += busy
		d.longest = max(d.longest, busy)
		more = next == d.now
	}
	d.given += given
	for side, end := range d.ends[d.index] {
		for {
			ok, err := end.Recv(&d.pool, &d.frame)
			if err != nil {
				d.t.Fatal(err)
			}
			if !ok {
				break
			}
			if splice.Side(side) != splice.Server || d.view.Parse(d.frame.Bytes) != wire.KindTCP || d.view.Data == d.view.End {
				continue
			}
			d.owed = append(d.owed, reply{d.view.Tuple(), d.view.Seq().Add(d.view.End - d.view.Data).Uint32()})
		}
	}
}

// answer has the servers send the first n ACKs they owe.
func (d *driver) answer(n int) {
	k := &d.kinds[serverACK]
	for _, r := range d.owed[:n] {
		copy(k.frame[wire.EthLen+16:], r.client.Src[12:])
		binary.BigEndian.PutUint16(k.frame[wire.EthLen+wire.IPv4Len+2:], r.client.SrcPort)
		binary.BigEndian.PutUint32(k.frame[wire.EthLen+wire.IPv4Len+8:], r.ack)
		d.send(k)
	}
	d.owed = d.owed[:copy(d.owed, d.owed[n:])]
}

const perTurn = turnFrames - 1 // packets given before a turn, which finds that there are no more

// each has a step done for n connections, taken by pick, as many at once as a
// turn reads.
func (d *driver) each(n int, pick func(k int) int, step func(from, to int, pick func(k int) int)) {
	for from := 0; from < n; from += perTurn {
		step(from, min(from+perTurn, n), pick)
	}
}

// open makes handshakes.
func (d *driver) open(from, to int, pick func(int) int) {
	for _, kind := range []int{aSYN, aSYNACK, anACK} {
		for k := from; k < to; k++ {
			d.put(kind, pick(k))
		}
		d.turn(to - from)
	}
}

// wire has packets pass: keepalives, as idle connections send them.
func (d *driver) wire(from, to int, pick func(int) int) {
	for k := from; k < to; k++ {
		d.put(anACK, pick(k))
	}
	d.turn(to - from)
}

// exchange has clients send a request each, which enters custody and leaves it.
func (d *driver) exchange(from, to int, pick func(int) int) {
	for k := from; k < to; k++ {
		i := pick(k)
		d.put(data, i)
		d.sent[i] += scalePayload
	}
	d.turn(to - from)
	for len(d.owed) > 0 {
		n := len(d.owed)
		d.answer(n)
		d.turn(n)
	}
}

// stay has clients send without a pause: servers are behind by one packet of each.
func (d *driver) stay(from, to int, pick func(int) int) {
	n := max(0, len(d.owed)-d.behind)
	for k := from; k < to; k++ {
		i := pick(k)
		d.put(data, i)
		d.sent[i] += scalePayload
	}
	d.answer(n)
	d.turn(to - from + n)
}

// rest lets all that clients have sent be delivered.
func (d *driver) rest() {
	for range 10_000 {
		n := len(d.owed)
		if n == 0 && d.shard.active == 0 {
			return
		}
		d.answer(n)
		d.turn(n)
	}
	d.t.Errorf("%d flows stay in custody", d.shard.active)
}

// close has clients abort.
func (d *driver) close(from, to int, pick func(int) int) {
	for k := from; k < to; k++ {
		d.put(aRST, pick(k))
	}
	d.turn(to - from)
}

// flood has SYNs come that nobody completes, of addresses that have no connection.
func (d *driver) flood(from, to int, _ func(int) int) {
	k := &d.kinds[aSYN]
	for range to - from {
		binary.BigEndian.PutUint32(k.frame[wire.EthLen+12:], 11<<24|d.rng.Uint32()&0xffffff)
		binary.BigEndian.PutUint16(k.frame[wire.EthLen+wire.IPv4Len:], uint16(d.rng.Uint32()))
		d.send(k)
	}
	d.turn(to - from)
}

// sample is what a phase of the measurement gave.
type sample struct {
	packet        time.Duration // CPU time
	p50, p99, max time.Duration // of a turn
	busy          time.Duration // CPU time of the turn that took the most
	gc            float64       // share of the CPU time that was used
	pause         time.Duration // the longest
}

func (s sample) String() string {
	us := func(d time.Duration) float64 { return float64(d) / 1e3 }
	return fmt.Sprintf("%9d %8.0f %8.0f %8.0f %8.0f %8.2f %8.0f", s.packet.Nanoseconds(), us(s.p50), us(s.p99), us(s.max), us(s.busy), 100*s.gc, us(s.pause))
}

// phase runs a step on every shard at once.
func (p *population) phase(do func(d *driver)) sample {
	for _, d := range p.drivers {
		d.turns, d.spent, d.longest, d.given = d.turns[:0], 0, 0, 0
	}
	before := readCollector()
	var wg sync.WaitGroup
	for _, d := range p.drivers {
		wg.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			do(d)
		})
	}
	wg.Wait()
	s := readCollector().since(before)
	var turns []time.Duration
	var spent time.Duration
	packets := 0
	for _, d := range p.drivers {
		turns = append(turns, d.turns...)
		spent, packets = spent+d.spent, packets+d.given
		s.busy = max(s.busy, d.longest)
	}
	slices.Sort(turns)
	s.packet = spent / time.Duration(max(packets, 1))
	s.p50, s.p99, s.max = turns[len(turns)/2], turns[len(turns)*99/100], turns[len(turns)-1]
	return s
}

// collector is what the garbage collector has done so far.
type collector struct {
	gc, used float64 // seconds of CPU: its own, and of the process
	pauses   metrics.Float64Histogram
}

func readCollector() (c collector) {
	m := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/cpu/classes/gc/mark/idle:cpu-seconds"}, {Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(m)
	// What it does where nothing else would run takes nothing from anybody.
	c.gc = m[0].Value.Float64() - m[1].Value.Float64()
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		panic(err)
	}
	c.used = float64(used.Utime.Nano()+used.Stime.Nano()) / 1e9
	h := m[2].Value.Float64Histogram()
	c.pauses = metrics.Float64Histogram{Counts: slices.Clone(h.Counts), Buckets: h.Buckets}
	return c
}

func (c collector) since(b collector) (s sample) {
	s.gc = (c.gc - b.gc) / (c.used - b.used)
	for i, n := range c.pauses.Counts {
		if n > b.pauses.Counts[i] {
			s.pause = time.Duration(c.pauses.Buckets[i+1] * 1e9)
		}
	}
	return s
}

// threadTime gives the CPU time of the calling thread.
func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err)
	}
	return time.Duration(t.Nano())
}

// resident gives the bytes of memory the process occupies.
func resident() int {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		panic(err)
	}
	var size, pages int
	fmt.Sscan(string(b), &size, &pages)
	return pages * os.Getpagesize()
}

// TestScale opens connections, ten times as many in each step, and prints what
// they cost in memory and time while they are idle, pass, enter and leave custody,
// and stay there; then a flood of SYNs, and the end of all at once.
func TestScale(t *testing.T) {
	shards := *scaleShards
	p := newPopulation(t, shards)
	p.sent = make([]uint32, *scaleTo)
	for _, d := range p.drivers {
		d.turns = make([]time.Duration, 0, 1<<20)
	}
	debug.FreeOSMemory()
	empty := resident()
	mib := func(n int) float64 { return float64(n) / (1 << 20) }
	var out strings.Builder
	fmt.Fprintf(&out, "shards %d, GOMAXPROCS %d, GOGC %q\n", shards, runtime.GOMAXPROCS(0), os.Getenv("GOGC"))
	fmt.Fprintf(&out, "%8s  %-16s %9s %8s %8s %8s %8s %8s %8s %8s\n", "", "", "ns per", "turn, µs", "", "", "CPU, µs", "GC", "GC, µs", "RSS")
	fmt.Fprintf(&out, "%8s  %-16s %9s %8s %8s %8s %8s %8s %8s %8s\n", "flows", "phase", "packet", "p50", "p99", "max", "max", "%", "pause", "MiB")
	report := func(n int, what string, s sample) {
		fmt.Fprintf(&out, "%8d  %-16s %v %8.0f\n", n, what, s, mib(resident()-empty))
	}
	defer func() { t.Log("\n" + out.String()) }()
	share := func(n int, d *driver) int { return (n - d.index + shards - 1) / shards }
	mine := func(d *driver) func(int) int { return func(k int) int { return d.index + k*shards } }
	had := 0
	for n := 1000; n <= *scaleTo; n *= 10 {
		debug.FreeOSMemory()
		before := resident()
		opened := p.phase(func(d *driver) {
			from := share(had, d)
			d.each(share(n, d)-from, func(k int) int { return mine(d)(from + k) }, d.open)
		})
		report(n, "open", opened)
		debug.FreeOSMemory()
		each := (resident() - before) / (n - had)
		fmt.Fprintf(&out, "%8d  all are idle: %d bytes for each new one, %.0f MiB in all\n", n, each, mib(resident()))
		if n >= 1_000_000 && each > 512 {
			t.Errorf("%d bytes for an idle flow", each)
		}
		had = n
		random := func(d *driver) func(int) int {
			m := share(n, d)
			order := d.rng.Perm(m)
			return func(k int) int { return mine(d)(order[k%m]) }
		}
		load := min(max(n, 100_000), 300_000) / shards
		report(n, "wire", p.phase(func(d *driver) { d.each(load, random(d), d.wire) }))
		report(n, "enter and exit", p.phase(func(d *driver) { d.each(load/2, random(d), d.exchange) }))
		report(n, "1000 in custody", p.phase(func(d *driver) {
			order := random(d)
			few := share(1000, d)
			d.behind = few
			d.each(load, func(k int) int { return order(k % few) }, d.stay)
			if held := d.shard.active; held < few*9/10 {
				t.Errorf("%d of %d stay in custody", held, few)
			}
		}))
		p.phase(func(d *driver) { d.rest() })
		total := 0
		for _, s := range p.term.shards {
			if total += s.flows.len(); s.count.panics > 0 {
				t.Fatal("a shard panicked")
			}
		}
		if total != n {
			t.Fatalf("%d flows, want %d", total, n)
		}
	}
	report(had, "SYN flood", p.phase(func(d *driver) { d.each(had/shards, nil, d.flood) }))
	report(had, "an operator looks", p.phase(func(d *driver) {
		if d.index > 0 {
			return
		}
		p.operator(t)
	}))
	report(had, "all end", p.phase(func(d *driver) { d.each(share(had, d), mine(d), d.close) }))
	if n := p.term.flows.Load(); n != 0 {
		t.Errorf("%d flows are left", n)
	}
	runtime.GC()
	debug.FreeOSMemory()
	fmt.Fprintf(&out, "%8d  when all have left: %.0f MiB more than in the beginning\n", 0, mib(resident()-empty))
}

// operator asks for the status and for flows, while shards turn.
func (p *population) operator(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var b strings.Builder
	done := make(chan struct{})
	go func() {
		defer close(done)
		st, err := p.term.Status(ctx)
		fmt.Fprint(&b, st.Flows, err)
		list, err := p.term.Flows(ctx, Filter{Limit: 100})
		fmt.Fprint(&b, " ", len(list), err)
	}()
	for {
		select {
		case <-done:
			t.Log("an operator sees ", b.String())
			return
		default:
			for _, d := range p.drivers {
				d.turn(1)
			}
		}
	}
}
