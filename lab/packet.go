package lab

import (
	"encoding/binary"

	"accd/tcpstack/buf"
	"accd/tcpstack/wire"
)

// packet is a frame as it entered a Link, and how it divides into segments.
type packet struct {
	vh   *wire.VirtioHeader
	ref  buf.Ref
	view wire.View
	mss  int // payload bytes of each segment but the last; 0: the frame is one segment
	segs int // number of segments, at least 1

	capable  bool // it is TCP and ECN-capable
	impaired bool // it can be lost and the like, and is counted: unicast IP
}

func (p *packet) init(vh *wire.VirtioHeader, ref buf.Ref) {
	p.vh, p.ref, p.mss, p.segs = vh, ref, 0, 1
	kind := p.view.Parse(ref.Bytes())
	p.impaired = kind != wire.KindNotIP && kind != wire.KindBad && p.view.Frame[0]&1 == 0
	p.capable = kind == wire.KindTCP && p.view.ECN() != wire.NotECT
	if vh.GSOSize > 0 && kind == wire.KindTCP {
		if n := p.view.End - p.view.Data; n > int(vh.GSOSize) {
			p.mss = int(vh.GSOSize)
			p.segs = (n + p.mss - 1) / p.mss
		}
	}
}

// payload gives the number of TCP payload bytes in the segments [from, to).
func (p *packet) payload(from, to int) int {
	switch {
	case p.view.Kind != wire.KindTCP:
		return 0
	case p.mss == 0:
		return p.view.End - p.view.Data
	}
	return min(p.view.Data+to*p.mss, p.view.End) - p.view.Data - from*p.mss
}

// wireLen gives the bytes that segment i takes on the line.
func (p *packet) wireLen(i int) int {
	if p.mss == 0 {
		return p.ref.Len()
	}
	return p.view.Data + p.payload(i, i+1)
}

// cut makes f the segments [from, to) of the packet. f gets a reference of its
// own.
func (p *packet) cut(from, to int, f *Frame) {
	f.segs, f.payload = 0, p.payload(from, to)
	if p.impaired {
		f.segs = to - from
	}
	if to-from == p.segs {
		f.Virtio, f.headLen, f.Body = *p.vh, 0, p.ref.Retain()
		return
	}
	v := &p.view
	begin := v.Data + from*p.mss
	f.Body = p.ref.Slice(begin, begin+f.payload).Retain()
	f.headLen = v.Data
	head := f.head[:v.Data]
	copy(head, v.Frame)

	// What a device does that cuts a superpacket (as Linux's TSO): each
	// segment counts on in the IPv4 ID and the sequence number; FIN and PSH
	// stay with the last, CWR with the first (RFC 3168, 6.1.2).
	ip, tcp := head[v.L3:v.L4], head[v.L4:]
	length := len(tcp) + f.payload
	var src, dst []byte
	if v.Is6 {
		binary.BigEndian.PutUint16(ip[4:], uint16(length))
		src, dst = ip[8:24], ip[24:40]
	} else {
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)+length))
		binary.BigEndian.PutUint16(ip[4:], binary.BigEndian.Uint16(ip[4:])+uint16(from))
		ip[10], ip[11] = 0, 0
		binary.BigEndian.PutUint16(ip[10:], ^wire.Fold(wire.Sum(ip, 0)))
		src, dst = ip[12:16], ip[16:20]
	}
	binary.BigEndian.PutUint32(tcp[4:], v.Seq().Add(from*p.mss).Uint32())
	flags := v.Flags()
	if to < p.segs {
		flags &^= wire.FIN | wire.PSH
	}
	if from > 0 {
		flags &^= wire.CWR
	}
	tcp[13] = byte(flags)
	binary.BigEndian.PutUint16(tcp[16:], wire.Fold(wire.PseudoSum(src, dst, wire.ProtoTCP, length)))

	f.Virtio = wire.VirtioHeader{
		Flags: wire.VirtioNeedsCsum, HdrLen: uint16(v.Data), CsumStart: uint16(v.L4), CsumOffset: 16,
	}
	if f.payload > p.mss {
		f.Virtio.GSOSize = uint16(p.mss)
		f.Virtio.GSOType = p.vh.GSOType
		if from > 0 {
			f.Virtio.GSOType &^= wire.VirtioGSOECN
		}
	}
}

// mark says CE in f, one segment of the packet: its headers become its own.
func (p *packet) mark(f *Frame) {
	v := p.view
	if f.headLen == 0 {
		payload := f.Body.Slice(v.Data, f.Body.Len()).Retain()
		f.Body.Release()
		f.Body, f.headLen = payload, v.Data
		copy(f.head[:], v.Frame[:v.Data])
	}
	v.Frame = f.Head()
	v.SetECN(wire.CE)
}

// corrupt replaces f, which is one segment of the packet, by a copy in which one
// bit that the checksum covers is flipped. bit is random.
func (p *packet) corrupt(f *Frame, pool *buf.Pool, bit uint32) {
	whole := append(append(make([]byte, 0, f.headLen+f.Body.Len()), f.Head()...), f.Body.Bytes()...)
	end := len(whole)
	if f.headLen == 0 {
		end = p.view.End // padding may follow
	}
	if start := int(f.Virtio.CsumStart); f.Virtio.Flags&wire.VirtioNeedsCsum != 0 && start < end {
		if at := start + int(f.Virtio.CsumOffset); at+2 <= end {
			sum := ^wire.Fold(wire.Sum(whole[start:end], 0))
			if sum == 0 {
				sum = 0xffff // RFC 768: 0 would mean that there is no checksum
			}
			binary.BigEndian.PutUint16(whole[at:], sum)
		}
	}
	if covered := whole[p.view.L4:end]; len(covered) > 0 {
		covered[int(bit/8)%len(covered)] ^= 1 << (bit % 8)
	}
	f.Body.Release()
	f.Virtio, f.headLen, f.Body = wire.VirtioHeader{}, 0, pool.Copy(whole)
}
