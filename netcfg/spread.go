package netcfg

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// spread has the kernel choose the queue of a packet by a function of its own
// addresses and ports, the same in both directions and on every tap with the same
// keys. Otherwise the kernel finds the queue in a list of what was written lately, for
// every packet read and written, with a timer that ages the list; it is short (4,096
// entries) and connections by the ten thousand wait for each other there.
//
// It needs CAP_BPF, or CAP_SYS_ADMIN before Linux 5.8.
func (t *Tap) spread(keys spreadKeys) error {
	program := keys.program()
	license := [1]byte{}
	attr := struct {
		kind, count    uint32
		insns, license uint64
		_              [96]byte // what this kind of program has no use for
	}{
		kind: unix.BPF_PROG_TYPE_SOCKET_FILTER, count: uint32(len(program)),
		insns: uint64(uintptr(unsafe.Pointer(&program[0]))), license: uint64(uintptr(unsafe.Pointer(&license))),
	}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	runtime.KeepAlive(program)
	runtime.KeepAlive(&license)
	if errno != 0 {
		return fmt.Errorf("netcfg: tap %s: the program that spreads packets: %w", t.Name, errno)
	}
	// The device holds on to the program itself.
	f := os.NewFile(fd, "bpf")
	defer f.Close()
	return control(t.Files[0], func(tap int) error {
		if err := unix.IoctlSetPointerInt(tap, unix.TUNSETSTEERINGEBPF, int(fd)); err != nil {
			return fmt.Errorf("netcfg: tap %s: TUNSETSTEERINGEBPF: %w", t.Name, err)
		}
		return nil
	})
}

// spreadKeys make the choice of queues one that nobody outside can foresee, or all
// connections could be made to meet in one.
type spreadKeys [4]int32

func newSpreadKeys() (k spreadKeys) {
	var b [16]byte
	rand.Read(b[:])
	for i := range k {
		k[i] = int32(binary.NativeEndian.Uint32(b[4*i:])) | 1
	}
	return k
}

// Registers of the program. A load clobbers the first six.
const (
	bpfResult  = 0 // of loads, and of the program
	bpfPacket  = 6 // what loads read from
	bpfSum     = 7 // of both ends' squares
	bpfEnd     = 8 // of one end: address and port
	bpfHeader  = 9 // length of the IPv4 header
	bpfContext = 1 // the packet, in the beginning
)

// Offsets in a frame: behind Ethernet's 14 bytes, RFC 791, 3.1; RFC 8200, 3.
const (
	frameType     = 12
	frameIP       = 14
	frameFragment = 20
	frameProtocol = 23
	frameSrc      = 26
	frameDst      = 30
	frame6Next    = 20
	frame6Src     = 22
	frame6Dst     = 38
	frame6Ports   = 54
)

type bpfInsn struct {
	op        uint8
	registers uint8 // destination in the low half, source in the high one
	off       int16
	imm       int32
}

// program gives the sum over both ends of (address · k0 + port · k1 + k2)², 64 bits
// wide, of which the upper half counts. What is not TCP, or shows no ports, goes by
// its addresses, anything else to the first queue.
func (k *spreadKeys) program() []bpfInsn {
	var code []bpfInsn
	add := func(op uint8, dst, src uint8, imm int32) int {
		code = append(code, bpfInsn{op: op, registers: dst | src<<4, imm: imm})
		return len(code) - 1
	}
	here := func(jumps ...int) { // where jumps lead to
		for _, j := range jumps {
			code[j].off = int16(len(code) - j - 1)
		}
	}
	const alu, x, k64 = unix.BPF_ALU64, unix.BPF_X, unix.BPF_K
	load := func(size uint8, at int32) { add(unix.BPF_LD|unix.BPF_ABS|size, 0, 0, at) }
	behind := func(at int32) { add(unix.BPF_LD|unix.BPF_IND|unix.BPF_H, 0, bpfHeader, at) }
	mul := func(r uint8, by int32) { add(alu|unix.BPF_MUL|k64, r, 0, by) }
	jump := func(cond uint8, value int32) int { return add(unix.BPF_JMP|cond|k64, bpfResult, 0, value) }
	set := func(to, from uint8) { add(alu|unix.BPF_MOV|x, to, from, 0) }
	plus := func(to, from uint8) { add(alu|unix.BPF_ADD|x, to, from, 0) }
	address := func(at, words int32) {
		add(alu|unix.BPF_MOV|k64, bpfEnd, 0, k[2])
		for i := range words {
			load(unix.BPF_W, at+4*i)
			plus(bpfEnd, bpfResult)
			mul(bpfEnd, k[0])
		}
	}
	// square adds the square of bpfEnd to the sum.
	square := func() {
		add(alu|unix.BPF_MUL|x, bpfEnd, bpfEnd, 0)
		plus(bpfSum, bpfEnd)
	}
	port := func(load func()) {
		load()
		mul(bpfResult, k[1])
		plus(bpfEnd, bpfResult)
	}
	// ends adds both ends, with their ports or without.
	ends := func(src, dst, words int32, first, second func()) {
		add(alu|unix.BPF_MOV|k64, bpfSum, 0, k[3])
		address(src, words)
		if first != nil {
			port(first)
		}
		square()
		address(dst, words)
		if second != nil {
			port(second)
		}
		square()
	}
	ja := func() int { return add(unix.BPF_JMP|unix.BPF_JA, 0, 0, 0) }

	set(bpfPacket, bpfContext)
	load(unix.BPF_H, frameType)
	is6 := jump(unix.BPF_JEQ, unix.ETH_P_IPV6)
	isNone := jump(unix.BPF_JNE, unix.ETH_P_IP)

	load(unix.BPF_B, frameProtocol)
	bare := jump(unix.BPF_JNE, unix.IPPROTO_TCP)
	load(unix.BPF_H, frameFragment)
	later := add(unix.BPF_JMP|unix.BPF_JSET|k64, bpfResult, 0, 0x1fff) // not the first fragment
	load(unix.BPF_B, frameIP)
	add(alu|unix.BPF_AND|k64, bpfResult, 0, 0xf)
	mul(bpfResult, 4)
	set(bpfHeader, bpfResult)
	ends(frameSrc, frameDst, 1, func() { behind(frameIP) }, func() { behind(frameIP + 2) })
	done := []int{ja()}
	here(bare, later)
	ends(frameSrc, frameDst, 1, nil, nil)
	done = append(done, ja())

	here(is6)
	load(unix.BPF_B, frame6Next)
	bare = jump(unix.BPF_JNE, unix.IPPROTO_TCP)
	ends(frame6Src, frame6Dst, 4, func() { load(unix.BPF_H, frame6Ports) }, func() { load(unix.BPF_H, frame6Ports+2) })
	done = append(done, ja())
	here(bare)
	ends(frame6Src, frame6Dst, 4, nil, nil)

	here(done...)
	set(bpfResult, bpfSum)
	add(alu|unix.BPF_RSH|k64, bpfResult, 0, 32)
	add(unix.BPF_JMP|unix.BPF_EXIT, 0, 0, 0)
	here(isNone)
	add(alu|unix.BPF_MOV|k64, bpfResult, 0, 0)
	add(unix.BPF_JMP|unix.BPF_EXIT, 0, 0, 0)
	return code
}
