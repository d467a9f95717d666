package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"accd/netcfg"
)

// Taps of the gVisor peer, by what they lead to.
const (
	gvisorClients = "gvisor0"
	gvisorServers = "gvisor1"
)

// divertTable is the number of the first of two routing tables.
const divertTable = 101

// startGVisor runs the gVisor peer: taps as accd's, with superpackets and a queue
// for each core, and the box's packets diverted into them.
func startGVisor(n *network) (p *program, err error) {
	var taps []*netcfg.Tap
	defer func() {
		for _, t := range taps {
			err = errors.Join(err, t.Close()) // the program has files of its own
		}
	}()
	cmd := exec.Command(*gvisorProgram, "-queues", fmt.Sprint(runtime.NumCPU()))
	var macs []string
	for i, d := range []struct {
		from, tap string
	}{{boxLAN, gvisorClients}, {boxWAN, gvisorServers}} {
		err := n.box.Do(func() error {
			t, err := netcfg.OpenTap(netcfg.TapOptions{Name: d.tap, Queues: runtime.NumCPU()})
			if err != nil {
				return err
			}
			taps = append(taps, t)
			return nil
		})
		if err != nil {
			return nil, err
		}
		t := taps[i]
		macs = append(macs, net.HardwareAddr(t.MAC[:]).String())
		cmd.ExtraFiles = append(cmd.ExtraFiles, t.Files...)
		if err := n.box.Divert(d.from, d.tap, divertTable+i); err != nil {
			return nil, err
		}
	}
	cmd.Args = append(cmd.Args, "-macs", strings.Join(macs, ","))
	log := n.file("gvisor.log")
	return startProgram(n.box, log, func() bool {
		said, err := os.ReadFile(log)
		return err == nil && strings.HasPrefix(string(said), "ready")
	}, cmd)
}
