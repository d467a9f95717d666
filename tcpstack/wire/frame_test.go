package wire

import (
	"bytes"
	"encoding/binary"
	"testing"
)

var synOptions = Options{Set: HasMSS | HasSACKPermitted | HasTS | HasWScale, MSS: 1460, TSVal: 77, WScale: 7}

func header(tuple Tuple) Header {
	return Header{
		DstMAC: [6]byte{2, 0xac, 0xcd, 0, 0, 1}, SrcMAC: [6]byte{2, 0, 0, 0, 0, 9}, Tuple: tuple,
		TOS: 0xb8, TTL: 61, Seq: SeqOf(0xfffffff0), Ack: SeqOf(12), Flags: ACK | PSH | AE, Window: 513, Urgent: 3, Options: &synOptions,
	}
}

// TestHeaderRoundTrip: what Put writes, Parse reads.
func TestHeaderRoundTrip(t *testing.T) {
	payload := []byte("seven b")
	for _, tuple := range []Tuple{tuple4, tuple6} {
		h := header(tuple)
		if !tuple.Is4() {
			h.FlowLabel = 0xabcde
		}
		f := append(frame(h, payload), 0, 0, 0) // Ethernet padding
		var v View
		if k := v.Parse(f); k != KindTCP {
			t.Fatalf("%v: kind %v", tuple, k)
		}
		if v.Tuple() != tuple || v.SrcPort() != tuple.SrcPort || v.DstPort() != tuple.DstPort {
			t.Errorf("tuple %v, want %v", v.Tuple(), tuple)
		}
		if v.Seq() != h.Seq || v.Ack() != h.Ack || v.Flags() != h.Flags || v.Window() != h.Window || v.Urgent() != h.Urgent {
			t.Errorf("%v: TCP fields differ", tuple)
		}
		if v.TOS() != h.TOS || v.TTL() != h.TTL || v.FlowLabel() != h.FlowLabel || v.Is6 == tuple.Is4() {
			t.Errorf("%v: IP fields differ: tos %#x ttl %d label %#x", tuple, v.TOS(), v.TTL(), v.FlowLabel())
		}
		if !bytes.Equal(v.Payload(), payload) || !v.ChecksumOK() {
			t.Errorf("%v: payload %q, checksum %v", tuple, v.Payload(), v.ChecksumOK())
		}
		if !bytes.Equal(f[0:6], h.DstMAC[:]) || !bytes.Equal(f[6:12], h.SrcMAC[:]) {
			t.Errorf("%v: MAC addresses", tuple)
		}
		if tuple.Is4() && naive(f[v.L3:v.L4]) != 0xffff {
			t.Errorf("IPv4 header checksum")
		}
		var o Options
		if o.Decode(v.OptionBytes()); o.MSS != 1460 || o.TSVal != 77 {
			t.Errorf("options %+v", o)
		}
		var ip View
		if k := ip.ParseIP(f[EthLen:]); k != KindTCP || ip.Tuple() != tuple || !ip.ChecksumOK() {
			t.Errorf("%v: ParseIP gives %v %v", tuple, k, ip.Tuple())
		}
	}
}

func TestPutLeavesAPartialChecksum(t *testing.T) {
	for _, tuple := range []Tuple{tuple4, tuple6} {
		h := header(tuple)
		h.PayloadLen = 65000
		b := make([]byte, MaxHeader)
		n, l4 := h.Put(b)
		src, dst := tuple.Src[:], tuple.Dst[:]
		if tuple.Is4() {
			src, dst = src[12:], dst[12:]
		}
		pseudo := append(append(bytes.Clone(src), dst...), 0, ProtoTCP)
		pseudo = binary.BigEndian.AppendUint16(pseudo, uint16(n-l4+65000))
		if got, want := binary.BigEndian.Uint16(b[l4+16:]), naive(pseudo); got != want {
			t.Errorf("%v: %#04x, want %#04x", tuple, got, want)
		}
	}
}

// Frames that accd only passes on, and those that contradict themselves.
func TestParseKinds(t *testing.T) {
	plain4, plain6 := frame(header(tuple4), []byte("x")), frame(header(tuple6), []byte("x"))
	for _, c := range []struct {
		name string
		base []byte
		edit func(f []byte) []byte
		want Kind
	}{
		{"ARP", plain4, func(f []byte) []byte { f[12], f[13] = 8, 6; return f }, KindNotIP},
		{"empty", plain4, func(f []byte) []byte { return nil }, KindBad},
		{"Ethernet only", plain4, func(f []byte) []byte { return f[:14] }, KindBad},
		{"cut in IP", plain4, func(f []byte) []byte { return f[:30] }, KindBad},
		{"cut in payload", plain4, func(f []byte) []byte { return f[:len(f)-1] }, KindBad},
		{"cut in payload, IPv6", plain6, func(f []byte) []byte { return f[:len(f)-1] }, KindBad},
		{"version 5", plain4, func(f []byte) []byte { f[14] = 0x55; return f }, KindBad},
		{"header length 16", plain4, func(f []byte) []byte { f[14] = 0x44; return f }, KindBad},
		{"total below header", plain4, func(f []byte) []byte { f[16], f[17] = 0, 19; return f }, KindBad},
		{"more fragments", plain4, func(f []byte) []byte { f[20] |= 0x20; return f }, KindFragment},
		{"fragment offset", plain4, func(f []byte) []byte { f[21] = 1; return f }, KindFragment},
		{"IPv4 options", plain4, func(f []byte) []byte { f[14] = 0x46; return f }, KindIPOptions},
		{"UDP", plain4, func(f []byte) []byte { f[23] = 17; return f }, KindOther},
		{"echo", plain4, func(f []byte) []byte { f[23], f[34] = 1, 8; return f }, KindOther},
		{"UDP over IPv6", plain6, func(f []byte) []byte { f[20] = 17; return f }, KindOther},
		{"fragment header", plain6, func(f []byte) []byte { f[20] = 44; return f }, KindFragment},
		{"hop-by-hop", plain6, func(f []byte) []byte { f[20] = 0; return f }, KindIPOptions},
		{"data offset 4", plain4, func(f []byte) []byte { f[46] = 0x40; return f }, KindBad},
		{"data offset past the end", plain4, func(f []byte) []byte { f[46] = 0xf0; return f }, KindBad},
	} {
		var v View
		if got := v.Parse(c.edit(bytes.Clone(c.base))); got != c.want || v.Kind != got {
			t.Errorf("%s: kind %d, want %d", c.name, got, c.want)
		}
	}
}

// What has IP options or is a first fragment still shows its ports.
func TestTCPTuple(t *testing.T) {
	plain4, plain6 := frame(header(tuple4), []byte("x")), frame(header(tuple6), []byte("x"))
	insert := func(f []byte, at int, b ...byte) []byte {
		f = append(append(bytes.Clone(f[:at]), b...), f[at:]...)
		return f
	}
	options4 := insert(plain4, 34, 1, 1, 1, 0)
	options4[14] = 0x46
	binary.BigEndian.PutUint16(options4[16:], uint16(len(options4)-14))
	fragment4 := bytes.Clone(plain4)
	fragment4[20] |= 0x20
	later4 := bytes.Clone(fragment4)
	later4[21] = 9
	udp4 := bytes.Clone(options4)
	udp4[23] = 17
	hop6 := insert(plain6, 54, ProtoTCP, 0, 1, 4, 0, 0, 0, 0)
	hop6[20] = 0
	first6 := insert(plain6, 54, ProtoTCP, 0, 0, 1, 0, 0, 0, 0)
	first6[20] = 44
	both6 := insert(first6, 54, 44, 0, 1, 4, 0, 0, 0, 0)
	both6[20] = 60
	later6 := bytes.Clone(first6)
	later6[57] = 8
	for _, f := range [][]byte{hop6, first6, both6, later6} {
		binary.BigEndian.PutUint16(f[18:], uint16(len(f)-54))
	}
	for _, c := range []struct {
		name  string
		frame []byte
		tuple Tuple
		want  bool
	}{
		{"IPv4 options", options4, tuple4, true}, {"first fragment", fragment4, tuple4, true}, {"later fragment", later4, tuple4, false},
		{"UDP with options", udp4, tuple4, false}, {"hop-by-hop", hop6, tuple6, true}, {"first fragment, IPv6", first6, tuple6, true},
		{"options and fragment, IPv6", both6, tuple6, true}, {"later fragment, IPv6", later6, tuple6, false},
	} {
		var v View
		if k := v.Parse(c.frame); k != KindFragment && k != KindIPOptions && c.name != "UDP with options" {
			t.Fatalf("%s: kind %d", c.name, k)
		}
		if got, seq, ok := v.TCPTuple(); ok != c.want || ok && (got != c.tuple || seq != header(c.tuple).Seq) {
			t.Errorf("%s: %v %v %v", c.name, got, seq, ok)
		}
	}
}

// icmp wraps the start of a packet, from its IP header on, in an ICMP error.
func icmp(tuple Tuple, kind, code byte, rest uint32, quote []byte) []byte {
	h := Header{Tuple: tuple.Reverse(), TTL: 60, PayloadLen: len(quote) + 8 - TCPLen}
	b := make([]byte, MaxHeader)
	_, l4 := h.Put(b)
	b = b[:l4]
	msg := append([]byte{kind, code, 0, 0, byte(rest >> 24), byte(rest >> 16), byte(rest >> 8), byte(rest)}, quote...)
	acc := uint64(0)
	if tuple.Is4() {
		b[23] = ProtoICMP
		b[24], b[25] = 0, 0
		binary.BigEndian.PutUint16(b[24:], ^naive(b[14:34]))
	} else {
		b[20] = ProtoICMPv6
		acc = PseudoSum(tuple.Dst[:], tuple.Src[:], ProtoICMPv6, len(msg))
	}
	binary.BigEndian.PutUint16(msg[2:], ^Fold(Sum(msg, acc)))
	return append(b, msg...)
}

// What ICMP says of a segment is read as far as it concerns TCP.
//
// proves: MUST-54 MUST-55
func TestQuote(t *testing.T) {
	for _, c := range []struct {
		name       string
		tuple      Tuple
		kind, code byte
		rest       uint32
		keep       int // bytes quoted
		want       Kind
		mtu        int
	}{
		{"fragmentation needed", tuple4, 3, 4, 1400, 28, KindICMPError, 1400},
		{"unreachable", tuple4, 3, 1, 0, 28, KindICMPError, -1},
		{"time exceeded", tuple4, 11, 0, 0, 60, KindICMPError, -1},
		{"quote too short", tuple4, 3, 4, 1400, 27, KindOther, -1},
		{"source quench", tuple4, 4, 0, 0, 28, KindOther, -1},
		{"redirect", tuple4, 5, 0, 0, 28, KindOther, -1},
		{"packet too big", tuple6, 2, 0, 1280, 48, KindICMPError, 1280},
		{"time exceeded, IPv6", tuple6, 3, 0, 0, 60, KindICMPError, -1},
		{"quote too short, IPv6", tuple6, 2, 0, 1280, 47, KindOther, -1},
		{"echo, IPv6", tuple6, 128, 0, 0, 48, KindOther, -1},
	} {
		inner := frame(header(c.tuple), make([]byte, 100))[EthLen:]
		f := icmp(c.tuple, c.kind, c.code, c.rest, inner[:c.keep])
		var v View
		if got := v.Parse(f); got != c.want {
			t.Errorf("%s: kind %d, want %d", c.name, got, c.want)
			continue
		}
		if c.want != KindICMPError {
			continue
		}
		if tuple, seq := v.Quote(); tuple != c.tuple || seq != SeqOf(0xfffffff0) {
			t.Errorf("%s: quotes %v %v", c.name, tuple, seq)
		}
		if mtu, ok := v.PacketTooBig(); ok != (c.mtu >= 0) || ok && mtu != c.mtu {
			t.Errorf("%s: MTU %d %v", c.name, mtu, ok)
		}
		if !v.ChecksumOK() {
			t.Errorf("%s: checksum refused", c.name)
		}
		f[v.L4+8] ^= 0x10
		if v.ChecksumOK() {
			t.Errorf("%s: bad checksum accepted", c.name)
		}
	}
}

// TestEditsMendChecksums: after any mix of edits the checksums are what a fresh
// computation gives; a partial one stays.
func TestEditsMendChecksums(t *testing.T) {
	r := rng(t)
	for range 3000 {
		tuple := tuple4
		if r.IntN(2) == 0 {
			tuple = tuple6
		}
		h := header(tuple)
		h.Options = nil
		h.Flags, h.Seq, h.TTL, h.TOS = Flags(r.Uint32()&0x1ff), SeqOf(r.Uint32()), uint8(r.Uint32()), uint8(r.Uint32())
		payload := fill(r, make([]byte, 24+r.IntN(30)))
		nops := r.IntN(5)
		mss := uint16(r.Uint32())
		opts := bytes.Repeat([]byte{1}, 24)
		copy(opts[nops:], []byte{2, 4, byte(mss >> 8), byte(mss)})
		copy(payload, opts)
		f := frame(h, payload)
		var v View
		v.Parse(f)
		// Turn the first 24 bytes of payload into options.
		off := binary.BigEndian.Uint16(f[v.L4+12:])
		v.patch(v.L4+12, off+6<<12)
		v.Parse(f)
		v.Partial = r.IntN(4) == 0
		sum := binary.BigEndian.Uint16(f[v.L4+16:])
		clamp := uint16(r.Uint32())
		if got := v.ClampMSS(clamp); got != (mss > clamp) {
			t.Fatalf("ClampMSS(%d) of %d at %d reports %v", clamp, mss, nops, got)
		}
		flags := Flags(r.Uint32() & 0x1ff)
		v.SetFlags(flags)
		ttl := uint8(r.Uint32())
		v.SetTTL(ttl)
		var o Options
		o.Decode(v.OptionBytes())
		if o.MSS != min(mss, clamp) || v.Flags() != flags || v.TTL() != ttl || !bytes.Equal(v.Payload(), payload[24:]) {
			t.Fatalf("MSS %d flags %v ttl %d", o.MSS, v.Flags(), v.TTL())
		}
		if v.Partial && binary.BigEndian.Uint16(f[v.L4+16:]) != sum {
			t.Fatal("a partial checksum was changed")
		}
		if !v.Partial && !v.ChecksumOK() {
			t.Fatalf("TCP checksum after edits, MSS at %d", nops)
		}
		if !v.Is6 && naive(f[v.L3:v.L4]) != 0xffff || !v.HeaderOK() {
			t.Fatal("IPv4 header checksum after edits")
		}
		f[v.L3+1+r.IntN(v.L4-v.L3-1)] ^= 1 << r.IntN(8)
		if v.HeaderOK() != v.Is6 {
			t.Fatalf("a corrupt header, IPv6 %v, is right: %v", v.Is6, v.HeaderOK())
		}
	}
}

func TestClampMSSSurvivesBadOptions(t *testing.T) {
	for _, opts := range [][]byte{{2, 0, 0, 0}, {2, 4, 5, 180}, {1, 1, 1, 2}, {3, 1, 2, 4}, {0, 2, 4, 5}, {3, 9, 0, 0}} {
		h := header(tuple4)
		h.Options = nil
		f := frame(h, opts)
		var v View
		v.Parse(f)
		v.patch(v.L4+12, binary.BigEndian.Uint16(f[v.L4+12:])+1<<12)
		v.Parse(f)
		want := opts[0] == 2 && opts[1] == 4
		if got := v.ClampMSS(1000); got != want || !v.ChecksumOK() {
			t.Errorf("% x: %v", opts, got)
		}
	}
}

func TestVirtioHeaderRoundTrip(t *testing.T) {
	in := VirtioHeader{1, 4 | VirtioGSOECN, 66, 1448, 34, 16}
	b := make([]byte, VirtioLen)
	in.Encode(b)
	var out VirtioHeader
	if out.Decode(b); out != in {
		t.Errorf("%+v became %+v", in, out)
	}
}

// FuzzParse: nothing panics, every part lies inside the frame, and edits keep
// a right checksum right.
func FuzzParse(f *testing.F) {
	f.Add(frame(header(tuple4), []byte("abc")))
	f.Add(frame(header(tuple6), []byte("abc")))
	f.Add(icmp(tuple4, 3, 4, 1400, frame(header(tuple4), nil)[EthLen:]))
	f.Add(icmp(tuple6, 2, 0, 1280, frame(header(tuple6), nil)[EthLen:]))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = bytes.Clone(b)
		var v View
		v.ParseIP(b)
		kind := v.Parse(b)
		if kind == KindBad || kind == KindNotIP {
			return
		}
		if v.L3 > v.L4 || v.L4 > v.End || v.End > len(b) {
			t.Fatalf("%d: offsets %d %d %d of %d", kind, v.L3, v.L4, v.End, len(b))
		}
		v.TOS()
		v.TTL()
		v.FlowLabel()
		switch kind {
		case KindFragment, KindIPOptions:
			v.TCPTuple()
		case KindICMPError:
			v.Quote()
			v.PacketTooBig()
			v.ChecksumOK()
		case KindTCP:
			if v.Data < v.L4+TCPLen || v.Data > v.End {
				t.Fatalf("payload at %d of [%d, %d)", v.Data, v.L4, v.End)
			}
			v.Tuple()
			var o Options
			o.Decode(v.OptionBytes())
			ok := v.ChecksumOK()
			v.ClampMSS(536)
			v.SetFlags(v.Flags() ^ (ECE | CWR | AE))
			header := v.HeaderOK()
			v.SetTTL(v.TTL() + 1)
			if v.ChecksumOK() != ok || v.HeaderOK() != header {
				t.Fatal("edits changed whether the checksums hold")
			}
		}
	})
}
