package cc

import (
	"reflect"
	"testing"
	"time"

	"accd/tcpstack/mono"
)

// A controller in the memory of an old one is as new, whatever that was and did.
func TestRenewedIsAsNew(t *testing.T) {
	cfg := Config{MSS: 1448, Seed: 7, Memory: Memory{Window: 50_000, Bandwidth: 1 << 20, MinRTT: 10 * time.Millisecond}}
	for _, was := range Names() {
		for _, name := range Names() {
			old, err := New(was, Config{MSS: 500, Seed: 3})
			if err != nil {
				t.Fatal(err)
			}
			for i := range 100 {
				now := mono.Time(i+1) * mono.Time(time.Millisecond)
				old.Sent(now, 5000, 5000*i)
				old.Acked(now, &Ack{Acked: 500, RTT: time.Millisecond})
			}
			old.Congested(mono.Time(time.Second), Signal{Kind: Loss})
			fresh, err := New(name, cfg)
			if err != nil {
				t.Fatal(err)
			}
			again := cfg
			again.Old = old
			renewed, err := New(name, again)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(fresh, renewed) {
				t.Errorf("%s in the memory of %s:\n%+v\nwant\n%+v", name, was, renewed, fresh)
			}
			if was == name && renewed != old {
				t.Errorf("%s: the memory is not used again", name)
			}
		}
	}
}

// So is one that resumes a path: both its parts are used again, also by an algorithm
// that resumes none.
func TestCarefulIsRenewed(t *testing.T) {
	construct, err := Constructor("cubic", nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg, path := Config{MSS: 1448}, Path{Capacity: 1 << 20, RTT: 10 * time.Millisecond}
	old := Careful(construct, Config{MSS: 500}, path)
	allocs := testing.AllocsPerRun(10, func() {
		again := cfg
		again.Old = old
		if Careful(construct, again, path) != old {
			t.Error("the memory is not used again")
		}
	})
	if allocs != 0 {
		t.Errorf("%.0f allocations, want none", allocs)
	}
	algorithm := old.(*careful).Controller
	if fresh := construct(cfg); !reflect.DeepEqual(algorithm, fresh) {
		t.Errorf("the algorithm is\n%+v\nwant\n%+v", algorithm, fresh)
	}
	cfg.Old = old
	if construct(cfg) != algorithm {
		t.Error("the memory of its algorithm is not used again")
	}
}
