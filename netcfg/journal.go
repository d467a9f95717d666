package netcfg

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrRunning says that another process has this network namespace in hand.
var ErrRunning = errors.New("netcfg: accd is running in this network namespace: stop it first")

// journal is a file that lists what was changed on things that are not ours,
// each change before it is made, so that a successor can undo it. Its lock says
// that a process is responsible for the namespace; the kernel gives it back when
// the process dies.
type journal struct {
	file *os.File
	path string
}

// change is one line of the journal.
type change struct {
	Sysctl string `json:"sysctl"`
	Was    string `json:"was"`
	Set    string `json:"set"`
}

// openJournal opens and locks the journal of the calling thread's namespace.
func openJournal(dir string) (*journal, error) {
	name, err := namespaceName()
	if err != nil {
		return nil, fmt.Errorf("netcfg: journal: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("netcfg: journal: %w", err)
	}
	path := filepath.Join(dir, "net-"+name+".journal")
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("netcfg: journal: %w", err)
		}
		err = control(f, func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
		if errors.Is(err, unix.EWOULDBLOCK) {
			f.Close()
			return nil, ErrRunning
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("netcfg: lock %s: %w", path, err)
		}
		// The predecessor may have removed the file between our open and
		// our lock: then the lock is worth nothing.
		mine, err1 := f.Stat()
		now, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(mine, now) {
			return &journal{file: f, path: path}, nil
		}
		f.Close()
	}
}

// namespaceName gives a name for this thread's network namespace that no other
// one has had on this machine.
func namespaceName() (string, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	id, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		// Kernels before 5.14: the inode may come again, but not while
		// the namespace lives.
		var st unix.Stat_t
		if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
			return "", err
		}
		id = st.Ino
	}
	return fmt.Sprintf("%s-%d", strings.SplitN(string(boot), "-", 2)[0], id), nil
}

// set changes a setting, having noted what it was. A setting that has the value
// already is left alone.
func (j *journal) set(s setting) error {
	was := readSetting(s.key)
	if was == s.value {
		return nil
	}
	line, err := json.Marshal(change{Sysctl: s.key, Was: was, Set: s.value})
	if err != nil {
		return fmt.Errorf("netcfg: journal: %w", err)
	}
	if _, err := j.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("netcfg: journal: %w", err)
	}
	return s.write()
}

// changes reads the journal, oldest change first. A line that its writer did not
// finish was not followed by the change.
func (j *journal) changes() ([]change, error) {
	if _, err := j.file.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("netcfg: journal: %w", err)
	}
	b, err := io.ReadAll(j.file)
	if err != nil {
		return nil, fmt.Errorf("netcfg: journal: %w", err)
	}
	var all []change
	for {
		line, rest, whole := bytes.Cut(b, []byte("\n"))
		if !whole {
			return all, nil
		}
		var c change
		if err := json.Unmarshal(line, &c); err != nil {
			return all, fmt.Errorf("netcfg: %s: %w; restore the settings named there by hand and remove the file", j.path, err)
		}
		all = append(all, c)
		b = rest
	}
}

// restore puts the settings back that still have the value we gave them, and
// empties the journal. Whoever changed one since has decided otherwise.
func (j *journal) restore() error {
	all, err := j.changes()
	if err != nil {
		return err
	}
	var errs []error
	for i := len(all) - 1; i >= 0; i-- {
		c := all[i]
		if readSetting(c.Sysctl) == c.Set {
			errs = append(errs, setting{c.Sysctl, c.Was}.write())
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := j.file.Truncate(0); err != nil {
		return fmt.Errorf("netcfg: journal: %w", err)
	}
	_, err = j.file.Seek(0, io.SeekStart)
	return err
}

// remove removes the journal and gives the lock back.
func (j *journal) remove() error {
	return errors.Join(os.Remove(j.path), j.file.Close())
}

// release gives the lock back and leaves what the journal lists to a successor.
func (j *journal) release() error {
	if st, err := j.file.Stat(); err == nil && st.Size() == 0 {
		return j.remove()
	}
	return j.file.Close()
}
