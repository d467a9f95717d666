package e2e

import (
	"syscall"
	"testing"
	"time"
	"fmt"
	"os/exec"
	"accd/netcfg/netlab"

	"accd/lab"
)

func dump(t *testing.T, ns *netlab.Namespace, dev, file string) {
	cmd := exec.Command("tcpdump", "-ni", dev, "-U", "-s", "120", "-w", file, "tcp")
	must(t, ns.Start(cmd))
	time.Sleep(300*time.Millisecond)
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
}

func TestZ(t *testing.T) {
	n := newNetwork(t, shape{emulated: true})
	d := n.startAccd(config{})
	dump(t, n.client, "eth0", "/tmp/w/z_client.pcap")
	dump(t, n.wan, "eth0", "/tmp/w/z_wan.pcap")
	for seed := range uint64(40) {
		n.impair(lab.Path{Rate: 200e6, Delay: 2 * time.Millisecond, Loss: 0.02, Seed: seed+1})
		f := families[seed%2]
		down, up := int64(16*mib), int64(0)
		down *= 2
		if t.Failed() { return }; t.Run(fmt.Sprint(seed, f.name, up > 0), func(t *testing.T) {
			c, s := n.connect(f, sockets{client: bbr, server: bbr})
			begin := time.Now()
			go func() {
				time.Sleep(time.Duration(100+25*seed)*time.Millisecond)
				for range 3 {
				d.signal(syscall.SIGSTOP)
				time.Sleep(520*time.Millisecond)
				d.signal(syscall.SIGCONT)
				time.Sleep(150*time.Millisecond)
				}
			}()
			err := exchange(c, s, up, down)
			t.Log(err, time.Since(begin))
			time.Sleep(1500*time.Millisecond - time.Since(begin)); if time.Since(begin) > 5*time.Second { t.Fatal("SLOW", c.RemoteAddr(), c.LocalAddr()) }
			t.Logf("%+v", d.status().Terminator.Reasons)
		})
	}
}
