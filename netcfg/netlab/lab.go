// Package netlab builds small networks out of network namespaces on one
// machine: namespaces with unique names, veth cables between them, addresses,
// routes, NAT, and programs that run inside. A Lab removes all of it on Close,
// and the next Lab removes what a killed process left behind. It needs root.
//
// Everything is IPv4 and IPv6 alike. Duplicate address detection and router
// advertisements are off, so an address works as soon as it is set.
package netlab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// namesDir is where named namespaces are kept, as ip-netns(8) does.
const namesDir = "/run/netns"

// prefix starts the name of every namespace of every lab.
const prefix = "accdlab"

// Lab is a set of namespaces and what runs in them. It is not safe for
// concurrent use; its namespaces are.
type Lab struct {
	name   string // prefix.tag.pid.starttime
	spaces []*Namespace
}

// New starts an empty lab. The tag tells the labs of one process apart and
// appears in the names of the namespaces; it has no dots. What dead processes
// left of their labs is removed first.
func New(tag string) (*Lab, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("netlab: network namespaces need root: run this with sudo")
	}
	if tag == "" || strings.ContainsAny(tag, "./ ") {
		return nil, fmt.Errorf("netlab: tag %q: want a word without dots, slashes and blanks", tag)
	}
	if err := removeStale(); err != nil {
		return nil, err
	}
	start, err := startTime(os.Getpid())
	if err != nil {
		return nil, fmt.Errorf("netlab: start time of this process: %w", err)
	}
	return &Lab{name: fmt.Sprintf("%s.%s.%d.%s", prefix, tag, os.Getpid(), start)}, nil
}

// Close ends the processes that still run in the lab's namespaces and removes
// the namespaces with all their devices. Closing twice is harmless.
func (l *Lab) Close() error {
	var errs []error
	for _, n := range l.spaces {
		n.links.Close()
		errs = append(errs, n.handle.Close(), remove(n.Name))
	}
	l.spaces = nil
	return errors.Join(errs...)
}

// removeStale removes the namespaces of labs whose process is gone. The start
// time in the name tells a process from a later one with the same number.
func removeStale() error {
	files, err := os.ReadDir(namesDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("netlab: %w", err)
	}
	for _, f := range files {
		part := strings.SplitN(f.Name(), ".", 5)
		if len(part) != 5 || part[0] != prefix {
			continue
		}
		pid, err := strconv.Atoi(part[2])
		if err != nil {
			continue
		}
		if start, err := startTime(pid); err == nil && start == part[3] {
			continue
		}
		// Another process may be removing the same one: that it is gone is
		// all that counts.
		if err := remove(f.Name()); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// startTime gives when process pid started, in clock ticks since boot.
func startTime(pid int) (string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	// The command name, field 2, may hold blanks and parentheses.
	rest := string(b[strings.LastIndexByte(string(b), ')')+1:])
	field := strings.Fields(rest)
	if len(field) < 20 {
		return "", fmt.Errorf("/proc/%d/stat has %d fields after the name, want 20", pid, len(field))
	}
	return field[19], nil
}

// remove ends what runs in a named namespace and removes the name. The kernel
// removes the namespace itself and its devices soon after.
func remove(name string) error {
	path := filepath.Join(namesDir, name)
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err == nil {
		endProcesses(st.Dev, st.Ino)
	}
	if err := netns.DeleteNamed(name); errors.Is(err, unix.EINVAL) {
		// Not a mount point: its maker died between creating the file and
		// mounting the namespace on it.
		return os.Remove(path)
	} else if err != nil {
		return fmt.Errorf("netlab: remove namespace %s: %w", name, err)
	}
	return nil
}

// endProcesses kills the processes whose network namespace is the given file
// and waits until they have left it, at most two seconds.
func endProcesses(dev, ino uint64) {
	for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline); {
		found := false
		dirs, _ := filepath.Glob("/proc/[0-9]*")
		for _, d := range dirs {
			pid, _ := strconv.Atoi(filepath.Base(d))
			var st unix.Stat_t
			if pid == os.Getpid() || unix.Stat(d+"/ns/net", &st) != nil || st.Dev != dev || st.Ino != ino {
				continue
			}
			found = syscall.Kill(pid, syscall.SIGKILL) == nil || found
		}
		if !found {
			return
		}
		time.Sleep(2 * time.Millisecond) // the kernel reports no end of a process that is not our child
	}
}
