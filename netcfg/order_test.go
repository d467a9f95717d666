package netcfg

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// However many smaller descriptors are free, the next are larger than a tap's.
func TestCloseBefore(t *testing.T) {
	open := func() *os.File {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	descriptor := func(f *os.File) (n int) {
		if err := control(f, func(fd int) error { n = fd; return nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	first, second, file := open(), open(), open()
	defer file.Close()
	first.Close()
	second.Close()
	free := func() (n int) {
		fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
		return fd
	}
	before := free()
	release, err := closeBefore([]*Tap{{Files: []*os.File{file}}})
	if err != nil {
		t.Fatal(err)
	}
	if fd := free(); fd < descriptor(file) {
		t.Errorf("the next descriptor is %d, that of the tap %d", fd, descriptor(file))
	}
	if release(); free() != before {
		t.Errorf("the next descriptor is %d, was %d", free(), before)
	}
}
