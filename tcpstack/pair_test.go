package tcpstack

import (
	"math/rand/v2"
	"testing"
	"time"

	"accd/tcpstack/buf"
	"accd/tcpstack/cc"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// pair is two Conns and the pipes between them in virtual time: constant delay,
// a rate, and random loss, nothing more. simnet has the rest.
type pair struct {
	now   mono.Time
	pool  buf.Pool
	conn  [2]*Conn
	in    [2]Stream
	out   [2]Stream
	wires [2][]flight
	free  [2]mono.Time
	delay time.Duration
	rate  float64 // bytes per second; 0: no limit
	loss  float64
	queue int // bytes; 0: no limit
	rng   *rand.Rand
	sent  [2]int
	cfg   [2]*Config
}

type flight struct {
	at  mono.Time
	seg Segment
	b   []byte
}

func newPair(cfg [2]*Config, edit func(*Snapshot)) *pair {
	p := &pair{now: mono.Time(time.Second), delay: 5 * time.Millisecond, rng: rand.New(rand.NewPCG(1, 2))}
	for i := range p.conn {
		a, b := wire.SeqOf(0xfffffff0+uint32(i)*1000), wire.SeqOf(0xfffffff0+uint32(1-i)*1000)
		s := Snapshot{MSS: 1460, SndScale: 8, RcvScale: 8, SACK: true, Timestamps: true,
			SndUna: a, SndNxt: a, SndWnd: 65536, RcvNxt: b, RcvEdge: b.Add(65536),
			TSRecent: 5, TSRecentAge: 1, TSVal: 5}
		s.Tuple.Src[10], s.Tuple.Src[11] = 0xff, 0xff
		if edit != nil {
			edit(&s)
		}
		p.conn[i] = Resume(p.now, &s, &p.in[i], &p.out[i], cfg[i])
	}
	return p
}

// openPair is a pair that has yet to open its connection: 0 dials 1.
func openPair(cfg [2]*Config) *pair {
	p := &pair{now: mono.Time(time.Second), delay: 5 * time.Millisecond, rng: rand.New(rand.NewPCG(1, 2))}
	p.conn[0] = Dial(p.now, storyKey(), wire.SeqOf(0xfffffff0), &p.in[0], &p.out[0], cfg[0])
	p.cfg = cfg
	return p
}

func (p *pair) flush() {
	var pkt Packet
	for i, c := range p.conn {
		for c != nil && c.Transmit(p.now, &pkt) {
			p.send(i, &pkt)
		}
	}
}

func (p *pair) send(i int, pkt *Packet) {
	var data []byte
	for _, b := range pkt.Payload {
		data = append(data, b...)
	}
	size := pkt.Len
	if pkt.GSOSize > 0 {
		size = pkt.GSOSize
	}
	for off := 0; off == 0 || off < len(data); off += size {
		b := data[off:min(off+size, len(data))]
		s := Segment{Seq: pkt.Seq.Add(off), Ack: pkt.Ack, Flags: pkt.Flags, Window: pkt.Window, Options: pkt.Options, ECN: pkt.ECN}
		if off+len(b) < len(data) {
			s.Flags &^= wire.FIN | wire.PSH
		}
		if off > 0 {
			s.Flags &^= wire.CWR
		}
		p.sent[i]++
		if p.rng.Float64() < p.loss {
			continue
		}
		start := max(p.now, p.free[i])
		if p.rate > 0 {
			if p.queue > 0 && start.Sub(p.now).Seconds()*p.rate > float64(p.queue) {
				continue
			}
			start = start.Add(time.Duration(float64(len(b)+66) / p.rate * 1e9))
		}
		p.free[i] = start
		p.wires[i] = append(p.wires[i], flight{start.Add(p.delay), s, b})
		if size == 0 {
			break
		}
	}
}

// step moves to the next event; false: nothing will ever happen again.
func (p *pair) step() bool {
	p.flush()
	at := mono.Never
	for i, c := range p.conn {
		if c != nil {
			at = min(at, c.Deadline())
		}
		if w := p.wires[i]; len(w) > 0 {
			at = min(at, w[0].at)
		}
	}
	if at == mono.Never {
		return false
	}
	p.now = max(p.now, at)
	for i := range p.conn {
		for len(p.wires[i]) > 0 && p.wires[i][0].at <= p.now {
			f := p.wires[i][0]
			p.wires[i] = p.wires[i][1:]
			f.seg.Payload = p.pool.Copy(f.b)
			if p.conn[1-i] == nil {
				p.conn[1-i] = Accept(p.now, storyKey(), wire.SeqOf(1000), &f.seg, &p.in[1-i], &p.out[1-i], p.cfg[1-i])
				continue
			}
			p.conn[1-i].Receive(p.now, &f.seg)
		}
		if p.conn[i] != nil {
			p.conn[i].Expire(p.now)
		}
	}
	return true
}

func (p *pair) write(i, n int) {
	for n > 0 {
		k := min(n, 60000)
		p.out[i].Append(p.pool.Copy(make([]byte, k)))
		n -= k
	}
}

func config(name string) *Config {
	return &Config{NewController: func(c cc.Config) cc.Controller {
		k, err := cc.New(name, c)
		if err != nil {
			panic(err)
		}
		return k
	}}
}

// transfer moves n bytes from 0 to 1 and gives the virtual time it took.
func (p *pair) transfer(t *testing.T, n int) time.Duration {
	t.Helper()
	start := p.now
	p.write(0, n)
	p.out[0].Close()
	got := 0
	for steps := 0; got < n || !p.in[1].Closed(); steps++ {
		if !p.step() || steps > 5_000_000 {
			t.Fatalf("stuck at %d of %d after %v: %+v", got, n, p.now.Sub(start), p.conn[0].Stats())
		}
		got += p.in[1].Len()
		p.in[1].Discard(p.in[1].End())
	}
	return p.now.Sub(start)
}

func TestTransfer(t *testing.T) {
	for _, algorithm := range []string{"reno", "cubic", "bbr"} {
		for _, loss := range []float64{0, 0.001, 0.01, 0.05} {
			for _, sack := range []bool{true, false} {
				cfg := config(algorithm)
				p := newPair([2]*Config{cfg, cfg}, func(s *Snapshot) { s.SACK = sack })
				p.delay, p.rate, p.queue, p.loss = 20*time.Millisecond, 12.5e6, 500_000, loss
				const n = 8 << 20
				d := p.transfer(t, n)
				s := p.conn[0].Stats()
				t.Logf("%-6s loss %.3f sack %-5v %8v share %.2f rtx %d timeouts %d fast %d spurious %d tlp %d",
					algorithm, loss, sack, d.Round(time.Millisecond), n/d.Seconds()/(12.5e6*1448/1514),
					s.Retransmitted, s.Timeouts, s.FastRecoveries, s.Spurious, s.TailProbes)
				for p.step() {
				}
				if p.conn[0].flight != 0 || p.conn[0].lostBytes != 0 || !p.conn[0].FINAcked() {
					t.Errorf("flight %d lost %d after the end", p.conn[0].flight, p.conn[0].lostBytes)
				}
				if p.pool.InUse() != 0 {
					t.Errorf("%d bytes of slabs leaked; out %d in %d reassembly %d", p.pool.InUse(), p.out[0].n, p.in[1].n, p.conn[1].reasm.bytes)
				}
			}
		}
	}
}

// Two Conns open a connection, exchange streams both ways and close, under loss.
func TestOpenTransferClose(t *testing.T) {
	for _, loss := range []float64{0, 0.01, 0.1, 0.3} {
		cfg := config("cubic")
		p := openPair([2]*Config{cfg, cfg})
		p.loss = loss
		p.write(1, 100_000)
		p.out[1].Close()
		p.transfer(t, 200_000)
		for p.step() {
			for i := range p.in {
				p.in[i].Discard(p.in[i].End())
			}
		}
		for i, c := range p.conn {
			if c.State() != Closed || c.Err() != nil || p.in[i].Base() != uint64(100_000*(1+i)) {
				t.Errorf("loss %.2f: %d ends %v, %v, after %d bytes", loss, i, c.State(), c.Err(), p.in[i].Base())
			}
		}
		if p.pool.InUse() != 0 {
			t.Errorf("loss %.2f: %d bytes of slabs leaked", loss, p.pool.InUse())
		}
	}
}

func TestLongFatPipe(t *testing.T) {
	for _, loss := range []float64{0, 0.001, 0.01} {
		for _, algorithm := range []string{"bbr", "cubic"} {
			cfg := config(algorithm)
			p := newPair([2]*Config{cfg, cfg}, nil)
			p.delay, p.rate, p.queue, p.loss = 40*time.Millisecond, 12.5e6, 1_000_000, loss
			const n = 32 << 20
			d := p.transfer(t, n)
			s := p.conn[0].Stats()
			t.Logf("%-6s loss %.3f %8v share %.2f rtx %d timeouts %d fast %d spurious %d tlp %d %s", algorithm, loss,
				d.Round(time.Millisecond), n/d.Seconds()/(12.5e6*1448/1514),
				s.Retransmitted, s.Timeouts, s.FastRecoveries, s.Spurious, s.TailProbes, p.conn[0].Control())
		}
	}
}
