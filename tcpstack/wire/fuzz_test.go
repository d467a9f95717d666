package wire

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// bytesOf hands out a fuzzer's bytes, zeros behind their end.
type bytesOf struct{ b []byte }

func (r *bytesOf) take(n int) []byte {
	out := make([]byte, n)
	r.b = r.b[copy(out, r.b):]
	return out
}

func (r *bytesOf) u8() uint8   { return r.take(1)[0] }
func (r *bytesOf) u16() uint16 { return binary.BigEndian.Uint16(r.take(2)) }
func (r *bytesOf) u32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }

// header makes headers of the fuzzer's bytes, with options that fit.
func (r *bytesOf) header() (h Header) {
	kind := r.u8()
	copy(h.DstMAC[:], r.take(6))
	copy(h.SrcMAC[:], r.take(6))
	h.Tuple = Tuple{Src: Addr(r.take(16)), Dst: Addr(r.take(16)), SrcPort: r.u16(), DstPort: r.u16()}
	if kind&1 != 0 {
		for _, a := range []*Addr{&h.Tuple.Src, &h.Tuple.Dst} {
			copy(a[:], []byte{10: 0xff, 11: 0xff})
			clear(a[:10])
		}
	} else {
		h.Tuple.Src[10], h.Tuple.Dst[10] = 0, 0 // neither is IPv4-mapped
		h.FlowLabel = r.u32() & 0xfffff
	}
	h.TOS, h.TTL = r.u8(), r.u8()
	h.Seq, h.Ack, h.Flags = SeqOf(r.u32()), SeqOf(r.u32()), Flags(r.u16()&0x1ff)
	h.Window, h.Urgent = r.u16(), r.u16()
	if kind&2 != 0 {
		h.Options = &Options{Set: OptionSet(r.u16()) & (HasMSS | HasWScale | HasSACKPermitted | HasSACK | HasTS)}
		o := h.Options
		if o.Has(HasMSS) {
			o.MSS = r.u16()
		}
		if o.Has(HasWScale) {
			o.WScale = r.u8()
		}
		if o.Has(HasTS) {
			o.TSVal, o.TSEcr = r.u32(), r.u32()
		}
		if o.Has(HasSACK) {
			o.NSACK = 1 + r.u8()%maxSACKBlock
			for i := range o.NSACK {
				o.SACK[i] = Block{SeqOf(r.u32()), SeqOf(r.u32())}
			}
		}
	}
	return h
}

// FuzzHeader: whatever headers are written, with whatever payload in whatever
// pieces, they read back the same and the checksums hold. A router's ICMP error
// that quotes any of it names the connection and the sequence number.
func FuzzHeader(f *testing.F) {
	f.Add([]byte{1}, []byte("abc"), byte(1))
	f.Add([]byte("\x03\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02"+string(make([]byte, 52))+"\x00\x1d\x05\xb4"), []byte("payload in pieces"), byte(5))
	f.Add([]byte("\x02 six, and all the options there are, 0123456789 0123456789 0123456789\xff\xff"), []byte{}, byte(0))
	f.Fuzz(func(t *testing.T, fields, payload []byte, cut byte) {
		r := &bytesOf{fields}
		h := r.header()
		payload = payload[:min(len(payload), 60000)]
		h.PayloadLen = len(payload)
		b := make([]byte, MaxHeader)
		n, l4 := h.Put(b)
		at := int(cut) % (len(payload) + 1)
		FinishChecksum(b[:n], l4, [][]byte{payload[:at/2], payload[at/2 : at], nil, payload[at:]})
		frame := append(b[:n], payload...)

		var v View
		if k := v.Parse(frame); k != KindTCP || v.L4 != l4 || v.Data != n || v.End != len(frame) {
			t.Fatalf("kind %d, header at %d, payload at [%d, %d), want %d, [%d, %d)", k, v.L4, v.Data, v.End, l4, n, len(frame))
		}
		if v.Tuple() != h.Tuple || v.Seq() != h.Seq || v.Ack() != h.Ack || v.Flags() != h.Flags || v.Window() != h.Window || v.Urgent() != h.Urgent {
			t.Fatalf("%+v reads back as %v, seq %v, ack %v, flags %v, window %d", h, v.Tuple(), v.Seq(), v.Ack(), v.Flags(), v.Window())
		}
		if v.TOS() != h.TOS || v.TTL() != h.TTL || v.FlowLabel() != h.FlowLabel {
			t.Fatalf("IP fields %d, %d, %d of %+v", v.TOS(), v.TTL(), v.FlowLabel(), h)
		}
		if !v.ChecksumOK() {
			t.Fatal("the checksum does not hold")
		}
		if !v.Is6 && naive(frame[v.L3:v.L4]) != 0xffff {
			t.Fatal("the checksum of the IPv4 header does not hold")
		}
		var o Options
		if o.Decode(v.OptionBytes()); o.Has(HasMalformed) || h.Options == nil && o.Set != 0 {
			t.Fatalf("options % x", v.OptionBytes())
		}
		if len(payload) > 0 {
			frame[v.Data+at%len(payload)] ^= 1 << (cut % 8)
			if v.ChecksumOK() {
				t.Fatal("the checksum holds for a payload with one bit changed")
			}
		}
		quoted(t, &h, frame[EthLen:], int(r.u8()))
	})
}

// quoted wants an ICMP error about a packet, of which it quotes the IP header
// and at least 8 bytes, to be understood.
func quoted(t *testing.T, h *Header, packet []byte, more int) {
	t.Helper()
	length := IPv4Len
	if !h.Tuple.Is4() {
		length = IPv6Len
	}
	packet = packet[:min(len(packet), length+8+more)]
	typ, code := byte(3), byte(4)
	if !h.Tuple.Is4() {
		typ, code = 2, 0
	}
	var v View
	if k := v.Parse(icmp(h.Tuple.Reverse(), typ, code, 1400, packet)); k != KindICMPError {
		t.Fatalf("an ICMP error is of kind %d", k)
	}
	if about, seq := v.Quote(); about != h.Tuple || seq != h.Seq {
		t.Fatalf("the error is about %v, %v, want %v, %v", about, seq, h.Tuple, h.Seq)
	}
	if mtu, ok := v.PacketTooBig(); !ok || mtu != 1400 {
		t.Fatalf("MTU %d, %v", mtu, ok)
	}
}

// FuzzChecksum: the sum of a buffer is that of RFC 1071, wherever it is cut at
// an even place.
func FuzzChecksum(f *testing.F) {
	f.Add([]byte{}, uint16(0))
	f.Add(bytes.Repeat([]byte{0xff}, 67), uint16(33))
	f.Add([]byte("an odd number of bytes, and more than 32 of them"), uint16(7))
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		b = b[:min(len(b), 4096)]
		at := int(cut) % (len(b) + 1) &^ 1
		want := naive(b)
		if got := Fold(Sum(b, 0)); got != want {
			t.Fatalf("%#04x, want %#04x", got, want)
		}
		if got := Fold(Sum(b[at:], Sum(b[:at], 0))); got != want {
			t.Fatalf("cut at %d: %#04x, want %#04x", at, got, want)
		}
	})
}

// FuzzVirtio: a header reads back as it was written, and the bytes too.
func FuzzVirtio(f *testing.F) {
	f.Add([]byte{1, 1, 66, 0, 0xa8, 5, 34, 0, 16, 0})
	f.Add(make([]byte, VirtioLen))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < VirtioLen {
			return
		}
		b = b[:VirtioLen]
		var h, again VirtioHeader
		h.Decode(b)
		out := make([]byte, VirtioLen)
		h.Encode(out)
		if again.Decode(out); again != h || !bytes.Equal(out, b) {
			t.Fatalf("% x reads as %+v, which writes % x", b, h, out)
		}
	})
}
