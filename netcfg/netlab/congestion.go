package netlab

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// Congestion sets the congestion control that the namespace's kernel gives new
// sockets.
func (n *Namespace) Congestion(name string) error {
	const key = "net.ipv4.tcp_congestion_control"
	err := n.Sysctl(key, name)
	if errors.Is(err, os.ErrPermission) {
		// Outside the initial namespace only what is allowed there for
		// everybody can be the default. It is, for a moment.
		err = allowed(name, func() error { return n.Sysctl(key, name) })
	}
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("this kernel has no %s: modprobe tcp_%s, or use a kernel that has it: %w", name, name, err)
	}
	return err
}

// allowed runs f while the kernel lets everybody use a congestion control.
func allowed(name string, f func() error) error {
	const file = "/proc/sys/net/ipv4/tcp_allowed_congestion_control"
	before, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, []byte(strings.TrimSpace(string(before))+" "+name), 0o644); err != nil {
		return fmt.Errorf("allowing %s in %s: %w", name, file, err)
	}
	return errors.Join(f(), os.WriteFile(file, before, 0o644))
}
