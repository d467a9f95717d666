package tcpstack_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"accd/tcpstack"
	"accd/tcpstack/buf"
	"accd/tcpstack/cc"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// bench is one connection, or none, brought into a state by segments. Numbers
// count from the initial ones, which wrap soon.
type bench struct {
	t        *testing.T
	now      mono.Time
	key      wire.Tuple
	cfg      tcpstack.Config
	listener *tcpstack.Listener
	conn     *tcpstack.Conn // nil in CLOSED and LISTEN
	in, out  tcpstack.Stream
	pool     buf.Pool
	sent     []tcpstack.Packet
	iss, irs wire.Seq
	window   int
}

// The window that each side offers, and what each has sent in a connection that
// is established. Old acknowledgments exist only where enough was sent.
const (
	matrixWindow   = 1000
	matrixWritten  = 2500
	matrixReceived = 200
)

func newBench(t *testing.T) *bench {
	b := &bench{
		t: t, now: mono.Time(time.Hour), window: matrixWindow,
		key: wire.TupleOf(netip.MustParseAddrPort("10.0.0.1:40000"), netip.MustParseAddrPort("10.0.0.2:80")),
		iss: wire.SeqOf(0xffff_f800), irs: wire.SeqOf(0xffff_ff80),
	}
	b.cfg = tcpstack.Config{Buffer: matrixWindow + matrixReceived, Unpaced: true, NoTimestamps: true, NoSACK: true, NoWindowScale: true}
	b.cfg.NewController, _ = cc.Constructor("reno", nil)
	b.listener = tcpstack.NewListener(1, tcpstack.Secret{}, tcpstack.Secret{}, &b.cfg)
	return b
}

// arrive gives a segment to the connection, to the listener, or to nobody.
func (b *bench) arrive(flags wire.Flags, seq, n, ack int) {
	b.t.Helper()
	s := &tcpstack.Segment{Seq: b.irs.Add(seq), Ack: b.iss.Add(ack), Flags: flags, Window: uint16(b.window)}
	if n > 0 {
		s.Payload = b.pool.Copy(make([]byte, n))
	}
	var p tcpstack.Packet
	switch {
	case b.conn != nil:
		b.conn.Receive(b.now, s)
	case b.listener == nil:
		if tcpstack.Refuse(&b.key, s, &p) {
			b.sent = append(b.sent, p)
		}
		s.Drop()
	default:
		switch b.listener.Receive(b.now, &b.key, s, &p) {
		case tcpstack.Answered:
			b.sent = append(b.sent, p)
		case tcpstack.Opens:
			b.conn = new(tcpstack.Conn)
			b.listener.Accept(b.now, b.conn, &b.key, s, &b.in, &b.out, nil)
		}
	}
	b.turn()
}

func (b *bench) turn() {
	var p tcpstack.Packet
	for b.conn != nil && b.conn.Transmit(b.now, &p) {
		p.Payload = nil
		b.sent = append(b.sent, p)
		p = tcpstack.Packet{}
	}
}

// establish passes a handshake, data in both directions, and a pause in which
// what limits challenge ACKs is forgotten.
func (b *bench) establish() {
	b.conn = tcpstack.Dial(b.now, b.key, b.iss, &b.in, &b.out, &b.cfg)
	b.turn()
	b.arrive(wire.SYN|wire.ACK, 0, 0, 1)
	b.out.Append(b.pool.Copy(make([]byte, matrixWritten)))
	b.turn()
	for at := 1; at < 1+matrixWritten; at += 500 {
		b.arrive(wire.ACK, 1, 0, at+500)
	}
	b.arrive(wire.ACK, 1, matrixReceived, 1+matrixWritten)
	b.in.Discard(b.in.End())
	b.turn()
	b.now = b.now.Add(time.Second)
}

// bring brings the bench into a state, and gives SND.NXT and RCV.NXT.
func (b *bench) bring(state string) (nxt, rcv int) {
	b.t.Helper()
	nxt, rcv = 1+matrixWritten, 1+matrixReceived
	fin := func() { b.arrive(wire.FIN|wire.ACK, rcv, 0, 1+matrixWritten); rcv++ }
	shut := func() { b.out.Close(); b.turn(); nxt++ }
	switch state {
	case "CLOSED":
		b.listener = nil
		return 1, 1
	case "LISTEN":
		return 1, 1
	case "SYN-SENT":
		b.conn = tcpstack.Dial(b.now, b.key, b.iss, &b.in, &b.out, &b.cfg)
		b.turn()
		nxt, rcv = 1, 1
	case "SYN-RECEIVED":
		syn := &tcpstack.Segment{Seq: b.irs, Flags: wire.SYN, Window: uint16(b.window)}
		b.conn = tcpstack.Accept(b.now, b.key, b.iss, syn, &b.in, &b.out, &b.cfg)
		b.turn()
		nxt, rcv = 1, 1
	default:
		b.establish()
	}
	switch state {
	case "FIN-WAIT-1":
		shut()
	case "FIN-WAIT-2":
		shut()
		b.arrive(wire.ACK, rcv, 0, nxt)
	case "CLOSE-WAIT":
		fin()
	case "CLOSING":
		shut()
		fin()
	case "LAST-ACK":
		fin()
		shut()
	case "TIME-WAIT":
		shut()
		b.arrive(wire.FIN|wire.ACK, rcv, 0, nxt)
		rcv++
	}
	if got := b.state(); got != state {
		b.t.Fatalf("the segments that should lead to %s lead to %s", state, got)
	}
	b.sent = b.sent[:0]
	return nxt, rcv
}

func (b *bench) state() string {
	switch {
	case b.conn != nil:
		return b.conn.State().String()
	case b.listener != nil:
		return "LISTEN"
	}
	return "CLOSED"
}

// flagsOf are the flags of an event.
var flagsOf = map[string]wire.Flags{
	"SYN": wire.SYN, "SYN-ACK": wire.SYN | wire.ACK, "ACK": wire.ACK, "FIN": wire.FIN, "FIN-ACK": wire.FIN | wire.ACK,
	"RST": wire.RST, "RST-ACK": wire.RST | wire.ACK, "SYN-FIN": wire.SYN | wire.FIN, "data": wire.ACK | wire.PSH,
	"none": 0, "URG": wire.URG | wire.ACK,
}

// came plays one cell.
func came(t *testing.T, c cell) outcome {
	b := newBench(t)
	nxt, rcv := b.bring(c.state)
	seq := map[string]int{"left": rcv - 100, "next": rcv, "in": rcv + 100, "right": rcv + 2*matrixWindow}[c.seq]
	ack := map[string]int{"ancient": nxt - 2*matrixWindow, "old": nxt - 2, "ok": nxt, "future": nxt + 1}[c.ack]
	n := 0
	if c.event == "data" {
		n = 10
	}
	b.arrive(flagsOf[c.event], seq, n, ack)
	got := outcome{b.state(), "-"}
	if len(b.sent) > 0 {
		got.reply = b.reply(&b.sent[0], nxt, rcv, seq, ack)
	}
	if len(b.sent) > 1 {
		got.reply += fmt.Sprintf(" and %d more", len(b.sent)-1)
	}
	b.in.Reset()
	b.out.Reset()
	if b.conn != nil {
		b.conn.Release()
	}
	if used := b.pool.InUse(); used != 0 {
		t.Errorf("%v: %d bytes of slabs leaked", c, used)
	}
	return got
}

// reply names a packet as outcome does.
func (b *bench) reply(p *tcpstack.Packet, nxt, rcv, seq, ack int) string {
	s, a := p.Seq.Sub(b.iss), p.Ack.Sub(b.irs)
	switch {
	case p.Flags == wire.RST && s == ack:
		return "rst"
	case p.Flags == wire.RST|wire.ACK && p.Seq == (wire.Seq{}):
		return "rst."
	case p.Flags == wire.SYN|wire.ACK && a == seq+1:
		return "syn-ack"
	case p.Flags == wire.ACK && p.Len == 0 && s == nxt && b.state() == "ESTABLISHED" && a == seq+1 && seq != rcv-1:
		return "ack" // of a SYN-ACK: RCV.NXT is what it says
	case p.Flags == wire.ACK && p.Len == 0 && s == nxt && a == rcv:
		return "ack"
	case p.Flags == wire.ACK && p.Len == 0 && s == nxt && a > rcv:
		return fmt.Sprintf("ack+%d", a-rcv)
	}
	return fmt.Sprintf("%v seq %d(%d) ack %d", p.Flags, s, p.Len, a)
}

// TestMatrix holds every state × event × sequence number × acknowledgment number
// to the oracle, and the whole to testdata/matrix.txt.
//
// proves: MUST-11 MAY-12
func TestMatrix(t *testing.T) {
	var golden bytes.Buffer
	cells, unexpected := 0, 0
	fmt.Fprintf(&golden, "# state × event × sequence number: the outcome by acknowledgment number (%s).\n", strings.Join(matrixAcks, ", "))
	fmt.Fprintf(&golden, "# One outcome stands for all four. go test ./tcpstack -run TestMatrix -update writes this file.\n")
	for _, state := range matrixStates {
		for _, event := range matrixEvents {
			for _, seq := range matrixSeqs {
				var row []string
				same := true
				for _, ack := range matrixAcks {
					c := cell{state, event, seq, ack}
					got, want := came(t, c), expected(c)
					if got != want {
						unexpected++
						t.Errorf("%s, %s, seq %s, ack %s: came %s %s, the RFC wants %s %s", state, event, seq, ack, got.state, got.reply, want.state, want.reply)
					}
					cells++
					row = append(row, fmt.Sprintf("%s %s", got.state, got.reply))
					same = same && row[0] == row[len(row)-1]
				}
				if same {
					row = row[:1]
				}
				fmt.Fprintf(&golden, "%-13s %-8s %-6s %s\n", state, event, seq, strings.Join(row, ", "))
			}
		}
	}
	fmt.Fprintf(&golden, "# %d cells, %d unexpected\n", cells, unexpected)
	const path = "testdata/matrix.txt"
	if *update {
		if err := os.WriteFile(path, golden.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(old, golden.Bytes()) {
		t.Errorf("%s differs; if the change is meant, go test ./tcpstack -run TestMatrix -update and review the diff", path)
	}
}
