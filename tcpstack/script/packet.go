package script

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"accd/tcpstack/wire"
)

// packet is a packet as scripts write it: sequence numbers count from the SYN, so
// that the first byte of payload is 1.
type packet struct {
	flags    wire.Flags
	seq, len int // payload
	ack, win int // win as on the wire; -1: what it was before
	urg      int // the urgent pointer
	gso      int
	ecn      wire.ECN
	opts     wire.Options // SACK blocks and timestamps are in the fields below
	sack     [][2]int
	ts       [2]uint32
	ecr      bool // ts[1] is given
	noTS     bool // without timestamps although they were agreed
}

// codepoints are those of the IP header (RFC 3168, 5), by their numbers.
var codepoints = [4]string{"", "[ect1]", "[ect0]", "[ce]"}

const flagLetters = "FSRP.UEWA"

// parsePacket reads what follows < or >:
//
//	P. 1:1001(1000) ack 1 win 512 <mss 1460,sackOK,TS 100 200,wscale 7,sack 1:2 3:4>
func parsePacket(s string) (*packet, error) {
	p := &packet{win: -1}
	if a, b, ok := strings.Cut(s, "<"); ok {
		inner, after, ok := strings.Cut(b, ">")
		if !ok {
			return nil, fmt.Errorf("options without an end: <%s", b)
		}
		if err := p.options(inner); err != nil {
			return nil, err
		}
		s = a + after
	}
	w := strings.Fields(s)
	if len(w) < 2 {
		return nil, fmt.Errorf("a packet needs flags and a sequence number")
	}
	if w[0] != "none" {
		for _, c := range w[0] {
			i := strings.IndexRune(flagLetters, c)
			if i < 0 {
				return nil, fmt.Errorf("no flag %q; there are %s, and none", c, flagLetters)
			}
			p.flags |= 1 << i
		}
	}
	if err := p.sequence(w[1]); err != nil {
		return nil, err
	}
	for w = w[2:]; len(w) > 0; w = w[min(2, len(w)):] {
		if i := slices.Index(codepoints[:], w[0]); i > 0 && len(w) == 1 {
			p.ecn = wire.ECN(i)
			break
		}
		if len(w) < 2 {
			return nil, fmt.Errorf("%s needs a value", w[0])
		}
		n, err := strconv.Atoi(w[1])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w[0], err)
		}
		switch w[0] {
		case "ack":
			p.ack = n
		case "win":
			p.win = n
		case "urg":
			p.urg = n
		default:
			return nil, fmt.Errorf("no part of a packet: %q; there are ack, win, urg, <options> and [ect0], [ect1] or [ce]", w[0])
		}
	}
	return p, nil
}

// sequence reads 1, 1:1001, 1(1000) or 1:1001(1000).
func (p *packet) sequence(s string) (err error) {
	text, count, counted := strings.Cut(strings.TrimSuffix(s, ")"), "(")
	first, end, ended := strings.Cut(text, ":")
	if p.seq, err = strconv.Atoi(first); err != nil {
		return err
	}
	if counted {
		if p.len, err = strconv.Atoi(count); err != nil {
			return err
		}
	}
	if !ended {
		return nil
	}
	n, err := strconv.Atoi(end)
	if err != nil {
		return err
	}
	if counted && n-p.seq != p.len {
		return fmt.Errorf("%s: that are %d bytes", s, n-p.seq)
	}
	p.len = n - p.seq
	return nil
}

// simple are the options without a value, by their names in scripts.
var simple = []struct {
	name string
	set  wire.OptionSet
}{
	{"sackOK", wire.HasSACKPermitted},
	{"FO", wire.HasFastOpen},
	{"MPTCP", wire.HasMPTCP},
	{"MD5", wire.HasMD5},
	{"AO", wire.HasAO},
	{"unknown", wire.HasUnknown},
	{"malformed", wire.HasMalformed},
}

func (p *packet) options(s string) error {
	for one := range strings.SplitSeq(s, ",") {
		w := strings.Fields(one)
		if len(w) == 0 {
			continue
		}
		if i := slices.IndexFunc(simple, func(o struct {
			name string
			set  wire.OptionSet
		}) bool {
			return o.name == w[0]
		}); i >= 0 {
			p.opts.Set |= simple[i].set
			continue
		}
		if err := p.option(w[0], w[1:]); err != nil {
			return fmt.Errorf("option %s: %w", strings.TrimSpace(one), err)
		}
	}
	return nil
}

func (p *packet) option(name string, args []string) error {
	var n [3]uint64
	if name != "sack" {
		for i, a := range args[:min(len(args), len(n))] {
			var err error
			if n[i], err = strconv.ParseUint(a, 0, 32); err != nil {
				return err
			}
		}
	}
	switch {
	case name == "noTS" && len(args) == 0:
		p.noTS = true
	case name == "mss" && len(args) == 1:
		p.opts.Set |= wire.HasMSS
		p.opts.MSS = uint16(n[0])
	case name == "wscale" && len(args) == 1:
		p.opts.Set |= wire.HasWScale
		p.opts.WScale = uint8(n[0])
	case name == "TS" && (len(args) == 1 || len(args) == 2):
		p.opts.Set |= wire.HasTS
		p.ts, p.ecr = [2]uint32{uint32(n[0]), uint32(n[1])}, len(args) == 2
	case (name == "accecn0" || name == "accecn1") && len(args) <= 3:
		p.opts.Set |= wire.HasAccECN
		p.opts.AccECN = wire.AccECN{Order1: name == "accecn1", Fields: uint8(len(args))}
		for i := range args {
			p.opts.AccECN.Count[i] = uint32(n[i])
		}
	case name == "sack" && len(args) > 0 && len(args) <= 4:
		p.opts.Set |= wire.HasSACK
		for _, a := range args {
			var b packet
			if err := b.sequence(a); err != nil {
				return err
			}
			p.sack = append(p.sack, [2]int{b.seq, b.seq + b.len})
		}
	default:
		return fmt.Errorf("there are mss N, wscale N, sackOK, TS VAL [ECR], noTS, sack L:R..., accecn0 E0B CEB E1B, accecn1 E1B CEB E0B, FO, MPTCP, MD5, AO, unknown, malformed")
	}
	return nil
}

// show writes a packet as parsePacket reads it.
func (p *packet) show(set *settings) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-2v %d:%d(%d)", p.flags, p.seq, p.seq+p.len, p.len)
	if p.flags.Has(wire.ACK) {
		fmt.Fprintf(&b, " ack %d", p.ack)
	}
	if set.showWin {
		fmt.Fprintf(&b, " win %d", p.win)
	}
	if p.flags.Has(wire.URG) {
		fmt.Fprintf(&b, " urg %d", p.urg)
	}
	if p.gso > 0 {
		fmt.Fprintf(&b, " gso %d", p.gso)
	}
	var o []string
	if p.opts.Has(wire.HasMSS) {
		o = append(o, fmt.Sprintf("mss %d", p.opts.MSS))
	}
	for _, s := range simple {
		if p.opts.Has(s.set) {
			o = append(o, s.name)
		}
	}
	if p.opts.Has(wire.HasTS) {
		o = append(o, fmt.Sprintf("TS %d %d", p.ts[0], p.ts[1]))
	}
	if p.opts.Has(wire.HasWScale) {
		o = append(o, fmt.Sprintf("wscale %d", p.opts.WScale))
	}
	if a := p.opts.AccECN; p.opts.Has(wire.HasAccECN) {
		name := "accecn0"
		if a.Order1 {
			name = "accecn1"
		}
		for _, n := range a.Count[:a.Fields] {
			name += fmt.Sprint(" ", n)
		}
		o = append(o, name)
	}
	if len(p.sack) > 0 {
		var blocks strings.Builder
		for _, k := range p.sack {
			fmt.Fprintf(&blocks, " %d:%d", k[0], k[1])
		}
		o = append(o, "sack"+blocks.String())
	}
	if len(o) > 0 {
		fmt.Fprintf(&b, " <%s>", strings.Join(o, ","))
	}
	if p.ecn != wire.NotECT {
		b.WriteString(" " + codepoints[p.ecn])
	}
	return b.String()
}
