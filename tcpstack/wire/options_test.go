package wire

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Options are read at any alignment, and survive illegal lengths.
//
// proves: MUST-4 MUST-6 MUST-7 MUST-64 MUST-68
func TestOptionsDecode(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []byte
		want Options
	}{
		{"none", nil, Options{}},
		{"end of list hides the rest", []byte{0, 2, 4, 5, 180}, Options{}},
		{"Linux SYN", []byte{2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 7, 0, 0, 0, 0, 1, 3, 3, 7},
			Options{Set: HasMSS | HasSACKPermitted | HasTS | HasWScale, MSS: 1460, TSVal: 7, WScale: 7}},
		{"timestamps only", []byte{1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 8}, Options{Set: HasTS, TSVal: 9, TSEcr: 8}},
		{"timestamps unaligned", []byte{8, 10, 0, 0, 0, 9, 0, 0, 0, 8, 1, 1}, Options{Set: HasTS, TSVal: 9, TSEcr: 8}},
		{"scale above 14", []byte{3, 3, 200}, Options{Set: HasWScale, WScale: 200}},
		{"two SACK blocks", []byte{5, 18, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0, 9},
			Options{Set: HasSACK, NSACK: 2, SACK: [4]Block{{SeqOf(1), SeqOf(2)}, {SeqOf(5), SeqOf(9)}}}},
		{"fast open, MPTCP, MD5, AO, unknown", []byte{34, 2, 30, 4, 0, 0, 19, 2, 29, 4, 1, 1, 200, 3, 0},
			Options{Set: HasFastOpen | HasMPTCP | HasMD5 | HasAO | HasUnknown}},
		// RFC 9293, MUST-7: illegal lengths are survived.
		{"length 0", []byte{3, 3, 7, 8, 0, 0}, Options{Set: HasWScale | HasMalformed, WScale: 7}},
		{"length 1", []byte{200, 1, 3, 3, 7}, Options{Set: HasMalformed}},
		{"past the end", []byte{2, 4, 5}, Options{Set: HasMalformed}},
		{"kind without length", []byte{1, 2}, Options{Set: HasMalformed}},
		{"MSS of 3 bytes goes on", []byte{2, 3, 5, 3, 3, 7}, Options{Set: HasMalformed | HasWScale, WScale: 7}},
		{"SACK not of blocks", []byte{5, 6, 0, 0, 0, 0}, Options{Set: HasMalformed}},
	} {
		var o Options
		o.Decode(c.in)
		if diff := cmp.Diff(c.want, o, cmp.AllowUnexported(Seq{})); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", c.name, diff)
		}
	}
}

// TestOptionsRoundTrip writes every combination and reads it back.
//
// proves: MUST-68 MUST-69
func TestOptionsRoundTrip(t *testing.T) {
	members := []OptionSet{HasMSS, HasWScale, HasSACKPermitted, HasTS}
	for bitset := range 1 << len(members) {
		for k := range uint8(5) {
			in := Options{NSACK: k}
			for i, m := range members {
				if bitset&(1<<i) == 0 {
					continue
				}
				in.Set |= m
				switch m {
				case HasMSS:
					in.MSS = 1460
				case HasWScale:
					in.WScale = 9
				case HasTS:
					in.TSVal, in.TSEcr = 0xfffffff0, 5
				}
			}
			if k > 0 {
				in.Set |= HasSACK
			}
			for i := range k {
				in.SACK[i] = Block{SeqOf(uint32(i) * 10), SeqOf(uint32(i)*10 + 5)}
			}
			b := bytes.Repeat([]byte{0xee}, 48)
			n := in.Encode(b)
			if n%4 != 0 || n > 40 || b[n] != 0xee {
				t.Fatalf("%+v: wrote %d bytes: % x", in, n, b)
			}
			var out Options
			out.Decode(b[:n])
			fit := min(k, uint8((40-n+8*int(out.NSACK))/8))
			if in.Has(HasSACK) && out.NSACK == 0 {
				t.Fatalf("%+v: no block fitted", in)
			}
			in.NSACK = min(fit, out.NSACK)
			for i := in.NSACK; i < 4; i++ {
				in.SACK[i] = Block{}
			}
			if diff := cmp.Diff(in, out, cmp.AllowUnexported(Seq{})); diff != "" {
				t.Fatalf("(-want +got)\n%s", diff)
			}
		}
	}
	// RFC 2018, 3 with RFC 7323: three blocks fit beside timestamps.
	o := Options{Set: HasTS | HasSACK, NSACK: 4}
	if n := o.Encode(make([]byte, 40)); n != 40 {
		t.Errorf("timestamps and SACK take %d bytes", n)
	}
}

func FuzzOptions(f *testing.F) {
	f.Add([]byte{2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 7, 0, 0, 0, 0, 1, 3, 3, 7})
	f.Add([]byte{5, 34, 0, 0})
	f.Add([]byte{1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 8})
	f.Fuzz(func(t *testing.T, b []byte) {
		b = b[:min(len(b), 40)]
		var o, p Options
		o.Decode(b)
		if int(o.NSACK) > len(o.SACK) {
			t.Fatalf("%d blocks", o.NSACK)
		}
		for i := int(o.NSACK); i < len(o.SACK); i++ {
			o.SACK[i] = Block{}
		}
		// What can be written reads back the same, but for blocks that do not fit.
		var room [40]byte
		n := o.Encode(room[:])
		p.Decode(room[:n])
		if p.NSACK > o.NSACK || p.Has(HasMalformed) {
			t.Fatalf("%+v became %+v", o, p)
		}
		const writable = HasMSS | HasWScale | HasSACKPermitted | HasTS
		if o.Set&writable != p.Set&writable || o.Has(HasMSS) && o.MSS != p.MSS || o.Has(HasTS) && (o.TSVal != p.TSVal || o.TSEcr != p.TSEcr) {
			t.Fatalf("%+v became %+v", o, p)
		}
	})
}

// TestAccECNOption: both orders and all lengths are read and written (RFC 9768,
// 3.2.3); of a length between them the whole fields count, of a longer one three.
func TestAccECNOption(t *testing.T) {
	for _, tt := range []struct {
		bytes []byte
		want  AccECN
	}{
		{[]byte{172, 2}, AccECN{}},
		{[]byte{172, 5, 1, 2, 3}, AccECN{Fields: 1, Count: [3]uint32{0x010203}}},
		{[]byte{172, 8, 1, 2, 3, 4, 5, 6}, AccECN{Fields: 2, Count: [3]uint32{0x010203, 0x040506}}},
		{[]byte{172, 11, 1, 2, 3, 4, 5, 6, 7, 8, 9}, AccECN{Fields: 3, Count: [3]uint32{0x010203, 0x040506, 0x070809}}},
		{[]byte{174, 11, 255, 255, 255, 0, 0, 0, 0, 0, 1}, AccECN{Order1: true, Fields: 3, Count: [3]uint32{0xffffff, 0, 1}}},
	} {
		var o Options
		o.Decode(tt.bytes)
		if o.Set != HasAccECN || o.AccECN != tt.want {
			t.Errorf("% x: %+v", tt.bytes, o)
		}
		var b [40]byte
		n := o.Encode(b[:])
		if n != AccECNLen(int(tt.want.Fields)) || n%4 != 0 {
			t.Errorf("% x: written with %d bytes", tt.bytes, n)
		}
		var again Options
		if again.Decode(b[:n]); again != o {
			t.Errorf("% x: written as % x", tt.bytes, b[:n])
		}
	}
	for _, tt := range []struct {
		bytes  []byte
		fields uint8
	}{{[]byte{172, 3, 1}, 0}, {[]byte{172, 7, 1, 2, 3, 4, 5}, 1}, {[]byte{174, 14, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, 3}} {
		var o Options
		if o.Decode(tt.bytes); o.Set != HasAccECN || o.AccECN.Fields != tt.fields {
			t.Errorf("% x: %+v", tt.bytes, o)
		}
	}
}
