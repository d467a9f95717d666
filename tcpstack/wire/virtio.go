package wire

import "encoding/binary"

// VirtioLen is the length in bytes of a VirtioHeader on a tap: the kernel's
// default, which keeps the IP header behind 14 bytes of Ethernet aligned.
const VirtioLen = 10

// Bits of VirtioHeader.Flags (virtio 1.2, 5.1.6).
const (
	VirtioNeedsCsum = 1 // the checksum from CsumStart on is partial
	VirtioDataValid = 2 // the checksum has been verified
)

// Values of VirtioHeader.GSOType.
const (
	VirtioGSONone  = 0
	VirtioGSOTCPv4 = 1
	VirtioGSOTCPv6 = 4
	VirtioGSOECN   = 0x80 // or'ed: CWR only on the first segment
)

// VirtioHeader is what a tap with IFF_VNET_HDR puts before each frame
// (virtio 1.2, 5.1.6; native byte order). The zero header describes a plain
// frame whose checksums are complete and unverified.
type VirtioHeader struct {
	Flags      uint8
	GSOType    uint8
	HdrLen     uint16 // bytes of headers; a hint, not to be trusted on receive
	GSOSize    uint16 // payload bytes per segment; 0: not a superpacket
	CsumStart  uint16 // offset in the frame where the partial checksum starts
	CsumOffset uint16 // offset behind CsumStart where it is stored
}

// Decode fills h from the first VirtioLen bytes of b.
func (h *VirtioHeader) Decode(b []byte) {
	_ = b[VirtioLen-1]
	h.Flags = b[0]
	h.GSOType = b[1]
	h.HdrLen = binary.NativeEndian.Uint16(b[2:])
	h.GSOSize = binary.NativeEndian.Uint16(b[4:])
	h.CsumStart = binary.NativeEndian.Uint16(b[6:])
	h.CsumOffset = binary.NativeEndian.Uint16(b[8:])
}

// Encode writes h to the first VirtioLen bytes of b.
func (h *VirtioHeader) Encode(b []byte) {
	_ = b[VirtioLen-1]
	b[0] = h.Flags
	b[1] = h.GSOType
	binary.NativeEndian.PutUint16(b[2:], h.HdrLen)
	binary.NativeEndian.PutUint16(b[4:], h.GSOSize)
	binary.NativeEndian.PutUint16(b[6:], h.CsumStart)
	binary.NativeEndian.PutUint16(b[8:], h.CsumOffset)
}
