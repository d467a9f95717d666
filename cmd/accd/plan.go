package main

import (
	"net"
	"path/filepath"

	"accd/netcfg"
	"accd/policy"
	"accd/splice"
)

// names gives what accd is called on the host under these settings.
func names(s *policy.Steer, a *policy.Admin) netcfg.Names {
	return netcfg.Names{
		ClientTap: s.ClientTap, ServerTap: s.ServerTap, Table: s.Table,
		Preference: s.RulePreference, RouteTable: s.RouteTable, Mark: s.Mark, MarkMask: s.MarkMask,
		StateDir: filepath.Dir(a.Socket),
	}
}

// plan gives what the host has to do for table. What only a restart can change
// is taken from running, the table the daemon began with.
func plan(table, running *policy.Table) netcfg.Plan {
	s := &running.Steer
	p := netcfg.Plan{
		Names:       names(s, &running.Admin),
		Queues:      queues(s),
		LAN:         network(table, policy.LAN),
		WAN:         network(table, policy.WAN),
		FlowTimeout: s.FlowTimeout, OpeningTimeout: s.OpeningTimeout,
		// A flow the shards have forgotten may be steered for a while yet.
		Flows: 2 * running.Limits.Flows,
		Block: s.Block, NoShortcut: s.NoShortcut,
	}
	for _, c := range table.Steering() {
		x := netcfg.Clause{
			Accelerate: c.Accelerate, From: c.From, To: c.To, NotFrom: c.NotFrom, NotTo: c.NotTo, In: c.In, DSCP: c.DSCP,
		}
		for _, r := range c.Ports {
			x.Ports = append(x.Ports, netcfg.PortRange(r))
		}
		p.Clauses = append(p.Clauses, x)
	}
	return p
}

func network(t *policy.Table, n policy.Network) netcfg.Network {
	return netcfg.Network{Interfaces: t.Interfaces(n), Prefixes: t.Prefixes(n)}
}

// queues gives how many queues each tap has, and so how many shards there are.
func queues(s *policy.Steer) int {
	if s.Queues > 0 {
		return s.Queues
	}
	return min(processors, netcfg.MaxQueues)
}

// mtus gives the smallest MTU of the interfaces of each network, 0 where none is
// known. What is on no side gets the smaller of both.
func mtus(t *policy.Table) (m [3]int) {
	for _, n := range []policy.Network{policy.LAN, policy.WAN} {
		for _, name := range t.Interfaces(n) {
			if i, err := net.InterfaceByName(name); err == nil && (m[n] == 0 || i.MTU < m[n]) {
				m[n] = i.MTU
			}
		}
	}
	m[splice.Unknown] = min(m[splice.LAN], m[splice.WAN])
	return m
}
