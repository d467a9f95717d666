package wire

import "testing"

// RFC 9293, 3.4: all arithmetic is modulo 2^32.
func TestSeqWraps(t *testing.T) {
	a, b := SeqOf(0xfffffff0), SeqOf(0x10)
	if !a.Less(b) || b.Less(a) || !a.LessEq(a) || a.Less(a) {
		t.Error("order across the wrap")
	}
	if b.Sub(a) != 32 || a.Sub(b) != -32 || a.Add(32) != b || b.Add(-32) != a {
		t.Error("distance across the wrap")
	}
	if !SeqOf(0).In(a, b) || b.In(a, b) || !a.In(a, b) || a.In(a, a) {
		t.Error("half-open interval across the wrap")
	}
	if MaxSeq(a, b) != b || MinSeq(a, b) != a || MaxSeq(b, a) != b || MinSeq(b, a) != a {
		t.Error("maximum and minimum across the wrap")
	}
}

func TestTupleReverse(t *testing.T) {
	if r := tuple4.Reverse(); r.Reverse() != tuple4 || r.SrcPort != 80 || !tuple4.Is4() || tuple6.Is4() {
		t.Error("reverse")
	}
	if got := tuple4.String(); got != "10.1.2.3:4711 → 192.0.2.9:80" {
		t.Error(got)
	}
	if got := tuple6.String(); got != "[2001:db8::1]:4711 → [2001:db8:1::2]:443" {
		t.Error(got)
	}
}

func TestFlagsString(t *testing.T) {
	for f, want := range map[Flags]string{0: "none", SYN: "S", SYN | ACK: "S.", FIN | PSH | ACK: "FP.", ACK: ".", SYN | ECE | CWR | AE: "SEWA"} {
		if got := f.String(); got != want {
			t.Errorf("%#x: %q, want %q", uint16(f), got, want)
		}
	}
}
