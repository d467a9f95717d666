package netcfg

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// addresses matches packets whose source or destination is in one of some
// prefixes of the family, or in none of them.
func (f *family) addresses(field string, prefixes []netip.Prefix, invert bool) part {
	offset := f.src
	if field == "daddr" {
		offset = f.dst
	}
	var all []interval
	for _, p := range prefixes {
		if p.Addr().Is4() == (f == v4) {
			all = append(all, prefixInterval(p))
		}
	}
	text, elements := f.elements(merge(all))
	op := ""
	if invert {
		op = "!= "
	}
	return part{
		text:  fmt.Sprintf("%s %s %s{ %s }", f.ip, field, op, text),
		exprs: []expr.Any{&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: f.addrLen, DestRegister: reg1}},
		anon:  &anonymousSet{key: f.addr, interval: true, elements: elements, invert: invert},
	}
}

// interval is first to last, both included.
type interval struct{ first, last netip.Addr }

func prefixInterval(p netip.Prefix) interval {
	p = p.Masked()
	last := p.Addr().AsSlice()
	for i := p.Bits(); i < len(last)*8; i++ {
		last[i/8] |= 0x80 >> (i % 8)
	}
	end, _ := netip.AddrFromSlice(last)
	return interval{p.Addr(), end}
}

// merge sorts intervals and joins those that overlap or touch: the kernel wants
// them disjoint.
func merge(all []interval) []interval {
	slices.SortFunc(all, func(a, b interval) int { return a.first.Compare(b.first) })
	var out []interval
	for _, v := range all {
		if n := len(out); n > 0 {
			if after := out[n-1].last.Next(); !after.IsValid() || v.first.Compare(after) <= 0 {
				if out[n-1].last.Compare(v.last) < 0 {
					out[n-1].last = v.last
				}
				continue
			}
		}
		out = append(out, v)
	}
	return out
}

// elements gives intervals as text and as the kernel takes them: each start, and
// the first address after it unless there is none.
func (f *family) elements(all []interval) (string, []nftables.SetElement) {
	var words []string
	var elements []nftables.SetElement
	for _, v := range all {
		words = append(words, fmt.Sprintf("%s-%s", v.first, v.last))
		elements = append(elements, nftables.SetElement{Key: v.first.AsSlice()})
		if after := v.last.Next(); after.IsValid() {
			elements = append(elements, nftables.SetElement{Key: after.AsSlice(), IntervalEnd: true})
		}
	}
	return strings.Join(words, ", "), elements
}

// toPorts matches the destination port.
func toPorts(ranges []PortRange) part {
	ranges = slices.Clone(ranges)
	slices.SortFunc(ranges, func(a, b PortRange) int { return int(a.First) - int(b.First) })
	var merged []PortRange
	for _, r := range ranges {
		if n := len(merged); n > 0 && int(r.First) <= int(merged[n-1].Last)+1 {
			merged[n-1].Last = max(merged[n-1].Last, r.Last)
			continue
		}
		merged = append(merged, r)
	}
	var words []string
	set := &anonymousSet{key: nftables.TypeInetService, interval: true}
	for _, r := range merged {
		words = append(words, fmt.Sprintf("%d-%d", r.First, r.Last))
		set.elements = append(set.elements, nftables.SetElement{Key: binary.BigEndian.AppendUint16(nil, r.First)})
		if r.Last != 0xffff {
			set.elements = append(set.elements, nftables.SetElement{Key: binary.BigEndian.AppendUint16(nil, r.Last+1), IntervalEnd: true})
		}
	}
	return part{
		text:  fmt.Sprintf("tcp dport { %s }", strings.Join(words, ", ")),
		exprs: []expr.Any{&expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2, DestRegister: reg1}},
		anon:  set,
	}
}
