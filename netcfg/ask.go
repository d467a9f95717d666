package netcfg

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// asker is a connection to the kernel for questions that are asked so often that what
// a netlink library does for each would be felt: small ones, with one message for an
// answer.
type asker struct {
	fd       int
	sequence uint32
	question [unix.SizeofNlMsghdr + askHeader]byte
	answer   [512]byte
}

// askHeader is the length of what stands between netlink's header and the attributes,
// in question and answer.
const askHeader = 4

// openAsker connects to a subsystem of the kernel (NETLINK_NETFILTER, ...), in the
// namespace of the calling thread.
func openAsker(subsystem int) (*asker, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, subsystem)
	if err != nil {
		return nil, err
	}
	// To nobody else than the kernel.
	if err := unix.Connect(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &asker{fd: fd}, nil
}

func (a *asker) close() error { return unix.Close(a.fd) }

// ask asks a question, whose header is zero, and gives an attribute of the answer, at
// least so many bytes long and good until the next question. It does not block: the
// kernel answers before the question is sent.
func (a *asker) ask(message, attribute uint16, size int) ([]byte, error) {
	a.sequence++
	q := a.question[:]
	binary.NativeEndian.PutUint32(q, uint32(len(q)))
	binary.NativeEndian.PutUint16(q[4:], message)
	binary.NativeEndian.PutUint16(q[6:], unix.NLM_F_REQUEST)
	binary.NativeEndian.PutUint32(q[8:], a.sequence)
	if _, err := unix.Write(a.fd, q); err != nil {
		return nil, err
	}
	for {
		n, err := unix.Read(a.fd, a.answer[:])
		if err != nil {
			return nil, err
		}
		m := a.answer[:n]
		if n < len(q) {
			return nil, fmt.Errorf("the kernel's answer to message %#x has only %d bytes", message, n)
		}
		if binary.NativeEndian.Uint32(m[8:]) != a.sequence {
			continue // an answer that nobody waited for
		}
		if binary.NativeEndian.Uint16(m[4:]) == unix.NLMSG_ERROR {
			return nil, unix.Errno(-int32(binary.NativeEndian.Uint32(m[unix.SizeofNlMsghdr:])))
		}
		if b := netlinkAttribute(m[len(q):], attribute); len(b) >= size {
			return b, nil
		}
		return nil, fmt.Errorf("the kernel's answer to message %#x has no attribute %d of %d bytes", message, attribute, size)
	}
}

// netlinkAttribute finds an attribute among those of a message; nil if there is none.
func netlinkAttribute(all []byte, kind uint16) []byte {
	const flags = unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER
	for len(all) >= unix.SizeofNlAttr {
		size := int(binary.NativeEndian.Uint16(all))
		if size < unix.SizeofNlAttr || size > len(all) {
			return nil
		}
		if binary.NativeEndian.Uint16(all[2:])&^flags == kind {
			return all[unix.SizeofNlAttr:size]
		}
		all = all[min((size+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1), len(all)):]
	}
	return nil
}
