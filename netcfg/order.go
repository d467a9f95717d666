package netcfg

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// closeBefore sees to it that what is opened from now on closes before the taps when the
// process dies: the kernel closes descriptors from the last to the first then, so the next
// ones have to be larger than those of the taps. Until release is called the smaller ones
// are taken.
func closeBefore(taps []*Tap) (release func(), err error) {
	last := 0
	for _, t := range taps {
		for _, f := range t.Files {
			if err := control(f, func(fd int) error { last = max(last, fd); return nil }); err != nil {
				return nil, fmt.Errorf("netcfg: tap %s: %w", t.Name, err)
			}
		}
	}
	var taken []int
	release = func() {
		for _, fd := range taken {
			unix.Close(fd)
		}
	}
	for len(taken) == 0 || taken[len(taken)-1] < last {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			release()
			return nil, fmt.Errorf("netcfg: descriptors before those of the taps: %w", err)
		}
		taken = append(taken, fd)
	}
	return release, nil
}
