package simnet

import (
	"testing"
	"time"

	"accd/tcpstack"
)

// TestSettle: a process that dies while its flow is split leaves two ends that go on
// with windows which do not fit, by a few bytes at a time. Whoever comes next ends
// them although the numbers of the ledger are old by then.
func TestSettle(t *testing.T) {
	const down = 5 * time.Second
	ended := 0 // which were split
	each(t, 200, func(s *Sim, _ uint64) error {
		poor, server := endpoint(t, "cubic", 1<<20), endpoint(t, "cubic", 1<<20)
		poor.WScale = -1
		path := Symmetric(Impairments{Rate: 1e6, Delay: time.Duration(1+s.Rand.IntN(60)) * time.Millisecond, Loss: 0.01})
		n := NewNetwork(s, Config{
			Hosts:   [2]HostConfig{poor, server},
			Scripts: [2]Script{{Steps: []Step{{Bytes: 4 << 20}}}, {Steps: []Step{{Wait: time.Second, Bytes: 3000}}}},
			Near:    path, Far: path,
			Box:    BoxConfig{Legs: [2]tcpstack.Config{poor.Stack, server.Stack}, Split: true},
			Faults: []Fault{{Kind: Crash, At: time.Second, For: down}},
		})
		n.Limit = down + 10*time.Second
		if err := n.Run(); n.Box.Count.Custodies > 0 {
			ended++
			return err
		}
		return nil // its handshake took too long
	})
	if *seed == 0 && ended < 100/patience {
		t.Errorf("%d connections were split when accd died", ended)
	}
}
