package terminator

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// How much memory an array takes or gives back at once. Ours.
const (
	arraySmall = 4 << 20   // below it a piece
	arrayPiece = 128 << 10 // of ordinary pages: most tables are small
	arrayBlock = 2 << 20   // a huge page of most machines, so that a large table needs few entries of the TLB
)

// array is a row of values without pointers that grows and shrinks at its end,
// outside the collector's heap: it neither reads them nor waits for their growth.
// Addresses are reserved for as many as there may ever be, and memory is taken as
// far as it is used; so a value stays where it is, and growing copies nothing.
type array[T any] struct {
	values []T // all there is room for
	n      int // in use
	open   int // bytes from the beginning that may be touched
	mem    []byte
	mapped []byte // as the system gave it
}

// reserve makes the array empty, for up to most values.
func (a *array[T]) reserve(most int) error {
	var t T
	size := (most*int(unsafe.Sizeof(t)) + arrayBlock - 1) &^ (arrayBlock - 1)
	mapped, err := unix.Mmap(-1, 0, size+arrayBlock, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return fmt.Errorf("terminator: addresses for a table of %d flows: %w: lower limits.flows, or raise the limit of address space (ulimit -v)", most, err)
	}
	skip := int(-uintptr(unsafe.Pointer(&mapped[0])) & (arrayBlock - 1))
	a.mapped, a.mem, a.n, a.open = mapped, mapped[skip:skip+size], 0, 0
	a.values = unsafe.Slice((*T)(unsafe.Pointer(&a.mem[0])), most)
	// Without huge pages it is only slower.
	_ = unix.Madvise(a.mem[min(arraySmall, size):], unix.MADV_HUGEPAGE)
	return nil
}

// free gives everything back.
func (a *array[T]) free() {
	if a.mapped != nil {
		_ = unix.Munmap(a.mapped)
		*a = array[T]{}
	}
}

// at gives a value in use.
func (a *array[T]) at(i uint32) *T { return &a.values[:a.n][i] }

// room makes sure of memory for n more values; false: there is none.
func (a *array[T]) room(n int) bool {
	if a.n+n > len(a.values) {
		return false
	}
	var t T
	need := (a.n + n) * int(unsafe.Sizeof(t))
	for a.open < need {
		if !a.extend() {
			return false
		}
	}
	// The first touch of a block takes a while, 100 µs or, where a host has to find
	// the memory, many milliseconds: a step ahead somebody else touches it.
	if step := arrayStep(a.open); need > step/2 && a.open < len(a.mem) && a.open-need < step && a.extend() {
		ahead := a.mem[a.open-step : a.open]
		go func() { _ = unix.Madvise(ahead, unix.MADV_POPULATE_WRITE) }()
	}
	return true
}

// arrayStep gives how much comes next for an array of so many bytes.
func arrayStep(open int) int {
	if open < arraySmall {
		return arrayPiece
	}
	return arrayBlock
}

// extend opens one step more.
func (a *array[T]) extend() bool {
	step := arrayStep(a.open)
	if unix.Mprotect(a.mem[a.open:a.open+step], unix.PROT_READ|unix.PROT_WRITE) != nil {
		return false
	}
	a.open += step
	return true
}

// push adds a zero value, for which room has been made.
func (a *array[T]) push() (i uint32) {
	var zero T
	i = uint32(a.n)
	a.n++
	a.values[i] = zero
	return i
}

// pop removes the last value. Memory goes back to the system when two steps and a
// half are empty: half a step less than would have one opened ahead again.
func (a *array[T]) pop() {
	a.n--
	var t T
	step := arrayStep(a.open - 1)
	if used := a.n * int(unsafe.Sizeof(t)); a.open-used >= 5*step/2 {
		last := a.mem[a.open-step : a.open]
		// In this order, for somebody may be touching it yet.
		_ = unix.Mprotect(last, unix.PROT_NONE)
		_ = unix.Madvise(last, unix.MADV_DONTNEED)
		a.open -= step
	}
}
