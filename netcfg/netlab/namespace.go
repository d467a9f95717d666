package netlab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Namespace is one network namespace of a lab, a host of its own as far as the
// network goes. Its methods may be called from any goroutine.
type Namespace struct {
	// Name is the full name, as ip netns exec wants it.
	Name   string
	handle netns.NsHandle
	links  *netlink.Handle
}

// Add makes a namespace with its loopback up and forwarding off. role becomes
// the last part of its name.
func (l *Lab) Add(role string) (*Namespace, error) {
	n := &Namespace{Name: l.name + "." + role}
	err := onThread(func() (err error) {
		n.handle, err = netns.NewNamed(n.Name)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("netlab: namespace %s: %w", n.Name, err)
	}
	if n.links, err = netlink.NewHandleAt(n.handle); err != nil {
		n.handle.Close()
		_ = remove(n.Name)
		return nil, fmt.Errorf("netlab: namespace %s: netlink: %w", n.Name, err)
	}
	l.spaces = append(l.spaces, n)
	for _, s := range [][2]string{
		{"net.ipv6.conf.all.accept_dad", "0"},
		{"net.ipv6.conf.default.accept_dad", "0"},
		{"net.ipv6.conf.default.accept_ra", "0"},
		{"net.ipv6.conf.default.router_solicitations", "0"},
	} {
		if err := n.Sysctl(s[0], s[1]); err != nil {
			return nil, err
		}
	}
	return n, n.Up("lo")
}

// Do runs f on a thread that is in the namespace and gives f's error. What f
// opens there (sockets, devices, processes) belongs to the namespace and stays
// there; goroutines that f starts do not.
func (n *Namespace) Do(f func() error) error {
	return onThread(func() error {
		if err := netns.Set(n.handle); err != nil {
			return fmt.Errorf("netlab: enter %s: %w", n.Name, err)
		}
		return f()
	})
}

// onThread runs f on a thread of its own and puts that thread's namespace back
// afterwards. A thread whose namespace cannot be put back dies with its
// goroutine, because it stays locked.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := netns.Get()
		if err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("netlab: namespace of this thread: %w", err)
			return
		}
		defer home.Close()
		err = fmt.Errorf("netlab: the function ended its goroutine")
		defer func() {
			if netns.Set(home) == nil {
				runtime.UnlockOSThread()
			}
			done <- err
		}()
		err = f()
	}()
	return <-done
}

// Start starts cmd inside the namespace. The caller waits for it as usual; what
// still runs when the lab is closed is killed.
func (n *Namespace) Start(cmd *exec.Cmd) error {
	return n.Do(cmd.Start)
}

// Run runs a program inside the namespace and gives what it wrote to stdout and
// stderr. The error of a program that failed quotes it.
func (n *Namespace) Run(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := n.Start(cmd); err != nil {
		return "", err
	}
	if err := cmd.Wait(); err != nil {
		return out.String(), fmt.Errorf("%s in %s: %w: %s", strings.Join(cmd.Args, " "), n.Name, err, strings.TrimSpace(out.String()))
	}
	return out.String(), nil
}

// Dial connects from the namespace, as net.Dialer does. The address is an IP
// literal: names are looked up on other threads.
func (n *Namespace) Dial(ctx context.Context, network, address string) (c net.Conn, err error) {
	err = n.Do(func() (err error) {
		c, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// Listen listens in the namespace, as net.Listen does. Connections accepted
// belong to the namespace on whatever thread they are used.
func (n *Namespace) Listen(network, address string) (l net.Listener, err error) {
	err = n.Do(func() (err error) {
		l, err = net.Listen(network, address)
		return err
	})
	return l, err
}

// Up gives a device addresses, each with the length of its network, and sets it
// up.
func (n *Namespace) Up(dev string, addrs ...netip.Prefix) error {
	link, err := n.links.LinkByName(dev)
	if err != nil {
		return fmt.Errorf("netlab: %s in %s: %w", dev, n.Name, err)
	}
	for _, p := range addrs {
		a := &netlink.Addr{IPNet: ipNet(p)}
		if p.Addr().Is6() {
			a.Flags = unix.IFA_F_NODAD
		}
		if err := n.links.AddrReplace(link, a); err != nil {
			return fmt.Errorf("netlab: address %s on %s in %s: %w", p, dev, n.Name, err)
		}
	}
	if err := n.links.LinkSetUp(link); err != nil {
		return fmt.Errorf("netlab: %s up in %s: %w", dev, n.Name, err)
	}
	return nil
}

// Route sends dst by way of a neighbour.
func (n *Namespace) Route(dst netip.Prefix, via netip.Addr) error {
	err := n.links.RouteReplace(&netlink.Route{Dst: ipNet(dst), Gw: via.AsSlice()})
	if err != nil {
		return fmt.Errorf("netlab: route %s via %s in %s: %w", dst, via, n.Name, err)
	}
	return nil
}

// Forward makes the namespace a router for both families.
func (n *Namespace) Forward() error {
	if err := n.Sysctl("net.ipv4.ip_forward", "1"); err != nil {
		return err
	}
	return n.Sysctl("net.ipv6.conf.all.forwarding", "1")
}

// Sysctl sets a value below net. The key is written with dots or slashes; with
// slashes an interface name in it may have dots.
func (n *Namespace) Sysctl(key, value string) error {
	return n.Do(func() error {
		if err := os.WriteFile(sysctlPath(key), []byte(value), 0o644); err != nil {
			return fmt.Errorf("netlab: sysctl %s=%s in %s: %w", key, value, n.Name, err)
		}
		return nil
	})
}

// SysctlValue gives a value below net, without the newline.
func (n *Namespace) SysctlValue(key string) (value string, err error) {
	err = n.Do(func() error {
		b, err := os.ReadFile(sysctlPath(key))
		value = strings.TrimSpace(string(b))
		return err
	})
	return value, err
}

func sysctlPath(key string) string {
	if !strings.Contains(key, "/") {
		key = strings.ReplaceAll(key, ".", "/")
	}
	return filepath.Join("/proc/sys", key)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
