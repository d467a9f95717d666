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
