package netcfg

import (
	"encoding/hex"
	"strings"

	"github.com/google/nftables/expr"
)

// word gives the n-th Ethernet source address by which a frame out of a tap tells
// our nft tables something. No other frame has such a source: the kernel gives its own
// addresses to what it sends, and accd passes on what it gets.
func word(n byte) [6]byte { return [6]byte{0x02, 0xac, 0xce, 0, 0, n} }

// The words.
var (
	aside        = word(0) // the packet is for our tables only, which see what it is
	farewellWord = word(1) // see FarewellMAC
	shortcutWord = word(2) // see ShortcutMAC
)

// says matches frames with a word.
func says(w [6]byte) part {
	return part{text: "@ll,48,48 0x" + strings.TrimLeft(hex.EncodeToString(w[:]), "0"), exprs: []expr.Any{
		&expr.Payload{Base: expr.PayloadBaseLLHeader, Offset: 6, Len: 6, DestRegister: reg1},
		&expr.Cmp{Register: reg1, Data: w[:]},
	}}
}

// saysNothing matches frames without any.
func saysNothing() part {
	w := aside
	return part{text: "@ll,48,24 != 0x" + hex.EncodeToString(w[:3]), exprs: []expr.Any{
		&expr.Payload{Base: expr.PayloadBaseLLHeader, Offset: 6, Len: 3, DestRegister: reg1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg1, Data: w[:3]},
	}}
}
