package wire

import "encoding/binary"

// Kinds of TCP options (IANA registry; the RFC of each in brackets).
const (
	optEOL       = 0                  // RFC 9293
	optNOP       = 1                  // RFC 9293
	optMSS       = 2                  // RFC 9293
	optWScale    = 3                  // RFC 7323
	optSACKPerm  = 4                  // RFC 2018
	optSACK      = 5                  // RFC 2018
	optTS        = 8                  // RFC 7323
	optMD5       = 19                 // RFC 2385
	optAO        = 29                 // RFC 5925
	optMPTCP     = 30                 // RFC 8684
	optFastOpen  = 34                 // RFC 7413
	optAccECN0   = 172                // RFC 9768
	optAccECN1   = 174                // RFC 9768
	MaxWScale    = 14                 // RFC 7323, 2.3: larger values count as 14
	MaxWindow    = 65535 << MaxWScale // bytes, the largest window there is (RFC 7323, 2.3)
	maxSACKBlock = 4                  // what 40 bytes of options hold
)

// OptionSet says which options a segment carried.
type OptionSet uint16

// Members of an OptionSet.
const (
	HasMSS OptionSet = 1 << iota
	HasWScale
	HasSACKPermitted
	HasSACK
	HasTS
	HasFastOpen
	HasMPTCP
	HasMD5
	HasAO
	HasAccECN
	HasUnknown   // a kind this package does not know
	HasMalformed // a length of 0 or 1, past the end, or wrong for the kind
)

// Block is one SACK block: the bytes [Left, Right) (RFC 2018, 3).
type Block struct{ Left, Right Seq }

// Options are the options of one segment. Fields are meaningful only where
// Set says so.
type Options struct {
	Set    OptionSet
	MSS    uint16
	WScale uint8  // as sent, may exceed MaxWScale
	TSVal  uint32 // RFC 7323, 3
	TSEcr  uint32
	NSACK  uint8 // number of valid SACK blocks
	SACK   [maxSACKBlock]Block
	AccECN AccECN
}

// AccECN is the AccECN option (RFC 9768, 3.2.3): the lower 24 bits of up to three
// byte counters, in the order ECT(0), CE, ECT(1), or from the end.
type AccECN struct {
	Order1 bool  // ECT(1), CE, ECT(0)
	Fields uint8 // how many there are
	Count  [3]uint32
}

// AccECNLen gives the room in bytes that an AccECN option with so many fields
// takes, padding included.
func AccECNLen(fields int) int { return (2 + 3*fields + 3) &^ 3 }

// Has reports whether all options of set were present.
func (o *Options) Has(set OptionSet) bool { return o.Set&set == set }

// Only reports whether no options but those of set were present.
func (o *Options) Only(set OptionSet) bool { return o.Set&^set == 0 }

// Blocks gives the SACK blocks in the order of the wire.
func (o *Options) Blocks() []Block { return o.SACK[:o.NSACK] }

// Decode fills o from the option bytes of a TCP header. It never fails: what
// cannot be read sets HasMalformed and ends the parse (RFC 9293, MUST-7), and
// what came before stays.
func (o *Options) Decode(b []byte) {
	o.Set, o.NSACK = 0, 0
	// The common case on the data path: NOP NOP TS and nothing else.
	if len(b) == 12 && binary.BigEndian.Uint32(b) == 0x0101080a {
		o.Set = HasTS
		o.TSVal = binary.BigEndian.Uint32(b[4:])
		o.TSEcr = binary.BigEndian.Uint32(b[8:])
		return
	}
	for len(b) > 0 {
		switch b[0] {
		case optEOL:
			return
		case optNOP:
			b = b[1:]
			continue
		}
		if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
			o.Set |= HasMalformed
			return
		}
		o.one(b[0], b[2:b[1]])
		b = b[b[1]:]
	}
}

func (o *Options) one(kind byte, v []byte) {
	switch kind {
	case optMSS:
		if len(v) != 2 {
			o.Set |= HasMalformed
			return
		}
		o.Set |= HasMSS
		o.MSS = binary.BigEndian.Uint16(v)
	case optWScale:
		if len(v) != 1 {
			o.Set |= HasMalformed
			return
		}
		o.Set |= HasWScale
		o.WScale = v[0]
	case optSACKPerm:
		if len(v) != 0 {
			o.Set |= HasMalformed
			return
		}
		o.Set |= HasSACKPermitted
	case optSACK:
		if len(v) == 0 || len(v)%8 != 0 {
			o.Set |= HasMalformed
			return
		}
		o.Set |= HasSACK
		for ; len(v) > 0 && o.NSACK < maxSACKBlock; v = v[8:] {
			o.SACK[o.NSACK] = Block{SeqOf(binary.BigEndian.Uint32(v)), SeqOf(binary.BigEndian.Uint32(v[4:]))}
			o.NSACK++
		}
	case optTS:
		if len(v) != 8 {
			o.Set |= HasMalformed
			return
		}
		o.Set |= HasTS
		o.TSVal = binary.BigEndian.Uint32(v)
		o.TSEcr = binary.BigEndian.Uint32(v[4:])
	case optMD5:
		o.Set |= HasMD5
	case optAO:
		o.Set |= HasAO
	case optMPTCP:
		o.Set |= HasMPTCP
	case optFastOpen:
		o.Set |= HasFastOpen
	case optAccECN0, optAccECN1:
		// RFC 9768, 3.2.3: of other lengths the whole fields count.
		o.Set |= HasAccECN
		o.AccECN = AccECN{Order1: kind == optAccECN1, Fields: uint8(min(len(v)/3, 3))}
		for i := range o.AccECN.Fields {
			f := v[3*i:]
			o.AccECN.Count[i] = uint32(f[0])<<16 | uint32(f[1])<<8 | uint32(f[2])
		}
	default:
		o.Set |= HasUnknown
	}
}

// Encode writes the options of o to b and gives their length in bytes, a
// multiple of 4 and at most 40. SACK blocks that do not fit are left out, the
// last first. Only MSS, WScale, SACKPermitted, TS, SACK and AccECN can be written.
func (o *Options) Encode(b []byte) int {
	n := 0
	if o.Has(HasMSS) {
		b[0], b[1] = optMSS, 4
		binary.BigEndian.PutUint16(b[2:], o.MSS)
		n += 4
	}
	switch {
	case o.Has(HasSACKPermitted | HasTS):
		b[n], b[n+1] = optSACKPerm, 2
		n += 2
	case o.Has(HasSACKPermitted):
		b[n], b[n+1], b[n+2], b[n+3] = optNOP, optNOP, optSACKPerm, 2
		n += 4
	case o.Has(HasTS):
		b[n], b[n+1] = optNOP, optNOP
		n += 2
	}
	if o.Has(HasTS) {
		b[n], b[n+1] = optTS, 10
		binary.BigEndian.PutUint32(b[n+2:], o.TSVal)
		binary.BigEndian.PutUint32(b[n+6:], o.TSEcr)
		n += 10
	}
	if o.Has(HasWScale) {
		b[n], b[n+1], b[n+2], b[n+3] = optNOP, optWScale, 3, o.WScale
		n += 4
	}
	if o.Has(HasAccECN) {
		n += o.AccECN.encode(b[n:])
	}
	if k := min(int(o.NSACK), (40-n-4)/8); o.Has(HasSACK) && k > 0 {
		b[n], b[n+1], b[n+2], b[n+3] = optNOP, optNOP, optSACK, byte(2+8*k)
		n += 4
		for _, s := range o.SACK[:k] {
			binary.BigEndian.PutUint32(b[n:], s.Left.n)
			binary.BigEndian.PutUint32(b[n+4:], s.Right.n)
			n += 8
		}
	}
	return n
}

// encode writes the option and what pads it, and gives their length.
func (a *AccECN) encode(b []byte) int {
	n := 2 + 3*int(a.Fields)
	pad := AccECNLen(int(a.Fields)) - n
	for i := range pad {
		b[i] = optNOP
	}
	b = b[pad:]
	b[0], b[1] = optAccECN0, byte(n)
	if a.Order1 {
		b[0] = optAccECN1
	}
	for i, v := range a.Count[:a.Fields] {
		f := b[2+3*i:]
		f[0], f[1], f[2] = byte(v>>16), byte(v>>8), byte(v)
	}
	return pad + n
}
