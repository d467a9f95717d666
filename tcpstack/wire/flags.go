package wire

// Flags are the control bits of a TCP header, AE included (RFC 9293, 3.1;
// RFC 9768, 3.1): bit 0 is FIN, bit 8 is AE.
type Flags uint16

// The control bits.
const (
	FIN Flags = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
	AE
)

// Has reports whether all bits of g are set in f.
func (f Flags) Has(g Flags) bool { return f&g == g }

// Any reports whether a bit of g is set in f.
func (f Flags) Any(g Flags) bool { return f&g != 0 }

// String gives the bits as letters, as tcpdump does: "S.", "F.", "P.", ".".
func (f Flags) String() string {
	const letters = "FSRP.UEWA"
	var b [len(letters)]byte
	n := 0
	for i := range letters {
		if f&(1<<i) != 0 && letters[i] != '.' {
			b[n] = letters[i]
			n++
		}
	}
	if f.Has(ACK) {
		b[n] = '.'
		n++
	}
	if n == 0 {
		return "none"
	}
	return string(b[:n])
}
