package main

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// How many connections are open: what a connection takes is the growth from the
// one number to the other.
const (
	idleFew  = 500
	idleMany = 9500
	idleWarm = 3000 // before
)

var idleMetrics = []metric{
	{key: "user", label: "memory of the box's program", unit: "KiB", less: true},
	{key: "kernel", label: "kernel memory of the box beyond forwarding's", unit: "KiB", less: true, beyond: true},
}

// idle measures what a connection that has said something and fell silent takes
// on the box: memory of the program, and slabs of the kernel. The latter are those
// of the whole machine, the sockets of client and server included; only the
// difference to the baseline says something.
//
// The program has had connections before, as it has wherever some are idle: what its
// tables and heap grew to then is no connection's. It has not carried bulk: accd gives
// back what that needed in the next ten seconds, which would count as less than nothing.
func idle(t *trial) (err error) {
	if err := allowFiles(2*idleMany + 500); err != nil {
		return err
	}
	var ends []socket
	defer func() { resetAll(ends) }()
	more := func(n int) error {
		opened, err := t.open(n)
		ends = append(ends, opened...)
		return err
	}
	if err := t.warm(); err != nil {
		return err
	}
	if err := more(idleFew); err != nil {
		return err
	}
	user, kernel, err := t.memory()
	if err != nil {
		return err
	}
	if err := t.meter(func() error { return more(idleMany - idleFew) }); err != nil {
		return err
	}
	userAfter, kernelAfter, err := t.memory()
	if err != nil {
		return err
	}
	each := func(before, after int64) float64 { return float64(after-before) / (idleMany - idleFew) }
	if t.box != nil {
		t.values["user"] = each(user, userAfter) / (1 << 10)
	}
	t.values["kernel"] = each(kernel, kernelAfter) / (1 << 10)
	return nil
}

// warm has the box carry some connections.
func (t *trial) warm() error {
	ends, err := t.open(idleWarm)
	resetAll(ends)
	return err
}

func resetAll(ends []socket) {
	for _, s := range ends {
		s.reset()
	}
}

// allowFiles allows this program so many open files at least.
func allowFiles(n uint64) error {
	var files unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files)
	if err == nil && files.Cur < n {
		files.Cur, files.Max = n, max(files.Max, n)
		err = unix.Setrlimit(unix.RLIMIT_NOFILE, &files)
	}
	if err != nil {
		return fmt.Errorf("%d open files: %w: raise the hard limit (ulimit -n)", n, err)
	}
	return nil
}

// insist dials again if it is refused: a box whose own TCP has the same ports in
// TIME-WAIT, from the warm-up, refuses for half a second.
func insist(from netip.Addr, to netip.AddrPort) (c socket, err error) {
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		c, err = dial(from, to)
		if !errors.Is(err, unix.ECONNREFUSED) || time.Since(begin) > 2*time.Second {
			return c, err
		}
	}
}

// open opens n connections on which a byte went there and back, and gives all
// their ends.
func (t *trial) open(n int) (ends []socket, err error) {
	l, at, err := t.net.listen()
	if err != nil {
		return nil, err
	}
	defer l.close()
	const threads = 8
	var mu sync.Mutex
	keep := func(s socket) {
		mu.Lock()
		defer mu.Unlock()
		ends = append(ends, s)
	}
	both := newCrew()
	for i := range threads {
		share := n / threads
		if i < n%threads {
			share++
		}
		both.start(t.net.client, func() error {
			for range share {
				c, err := insist(clientAddr(i), at)
				if err != nil {
					return err
				}
				keep(c)
				if err := c.ask(); err != nil {
					return err
				}
			}
			return nil
		})
		both.start(nil, func() error {
			for range share {
				c, err := l.accept()
				if err != nil {
					return err
				}
				keep(c)
				var b [1]byte
				if _, err := c.read(b[:]); err != nil {
					return err
				}
				if err := c.write(b[:]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err = both.wait()
	return ends, err
}

// memory gives what the box's program and the kernel's slabs take, in bytes, once
// that changes no more.
func (t *trial) memory() (user, kernel int64, err error) {
	if t.box != nil {
		user, err = settled(func() (int64, error) { return programMemory(t.box.pid()) })
	}
	kernel, e := settled(slabs)
	return user, kernel, errors.Join(err, e)
}

// settled reads a value until it stays within a thousandth for half a second, at
// most for three.
func settled(read func() (int64, error)) (v int64, err error) {
	const every, calm, limit = 100 * time.Millisecond, 5, 30
	same := 0
	for i := 0; i < limit && same < calm; i++ {
		w, err := read()
		if err != nil {
			return 0, err
		}
		if max(v, w)-min(v, w) <= w/1000 {
			same++
		} else {
			v, same = w, 0
		}
		time.Sleep(every)
	}
	return v, nil
}

// programMemory gives the memory of a process in bytes, its part of what it
// shares included.
func programMemory(pid int) (int64, error) {
	file := fmt.Sprintf("/proc/%d/smaps_rollup", pid)
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		var kib int64
		if _, err := fmt.Sscanf(line, "Pss: %d kB", &kib); err == nil {
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("%s has no Pss", file)
}

// notOfConnections are slabs, by the begin of their names, that processes
// and files fill while a bench runs. No connection is made of them.
var notOfConnections = regexp.MustCompile(`^(proc|ext4|btrfs|xfs|shmem|kernfs|vm_area|anon_vma|maple|radix|task|buffer_head|inode_cache|mm_struct|signal|sighand|files|pid)`)

// slabs gives the memory in bytes of the objects that the kernel has in use and
// that connections may be made of.
func slabs() (total int64, err error) {
	f, err := os.Open("/proc/slabinfo")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		var name string
		var active, all, size int64
		if _, err := fmt.Sscan(s.Text(), &name, &active, &all, &size); err == nil && !notOfConnections.MatchString(name) {
			total += active * size
		}
	}
	return total, s.Err()
}
