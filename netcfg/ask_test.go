package netcfg

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// What the kernel refuses is its error, and the next question has its own answer.
func TestAsk(t *testing.T) {
	a, err := openAsker(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	for range 2 {
		if _, err := a.ask(0xfff0, 1, 4); !errors.Is(err, unix.EOPNOTSUPP) {
			t.Errorf("a message that there is not: %v, want %v", err, unix.EOPNOTSUPP)
		}
	}
}

func TestNetlinkAttribute(t *testing.T) {
	one := binaryAttribute(1, 'a')
	two := binaryAttribute(2|unix.NLA_F_NESTED, 'b', 'c', 'd', 'e', 'f')
	for _, c := range []struct {
		all  []byte
		want string
	}{
		{nil, ""},
		{one, ""},
		{two, "bcdef"},
		{slices.Concat(one, two), "bcdef"},
		{slices.Concat(two, one), "bcdef"},
		{slices.Concat(one, two)[:len(one)+7], ""},                         // cut off
		{slices.Concat(binary.NativeEndian.AppendUint32(nil, 3), two), ""}, // shorter than itself
		{[]byte{1, 2, 3}, ""},
	} {
		if got := string(netlinkAttribute(c.all, 2)); got != c.want {
			t.Errorf("%v: %q, want %q", c.all, got, c.want)
		}
	}
}

// binaryAttribute gives an attribute, padded.
func binaryAttribute(kind uint16, value ...byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofNlAttr+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, kind), value...)
	for len(b)%unix.NLA_ALIGNTO != 0 {
		b = append(b, 0)
	}
	return b
}
