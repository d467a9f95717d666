package script

import (
	"errors"
	"fmt"
	"time"

	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// handshake plays one: 10 ms are the round trip of each leg.
func (f *flow) handshake(now mono.Time, args []string) error {
	syn := packet{flags: wire.SYN, win: 65535, opts: wire.Options{Set: wire.HasMSS, MSS: 1000}}
	scale := [2]uint8{}
	for len(args) > 0 {
		var name string
		var n []int
		name, n, args = option(args)
		switch {
		case name == "mss" && len(n) == 1:
			syn.opts.MSS = uint16(n[0])
		case name == "sack" && len(n) == 0:
			syn.opts.Set |= wire.HasSACKPermitted
		case name == "ts" && len(n) == 0:
			syn.opts.Set |= wire.HasTS
		case name == "wscale" && len(n) == 2:
			syn.opts.Set |= wire.HasWScale
			scale = [2]uint8{uint8(n[0]), uint8(n[1])}
		default:
			return fmt.Errorf("nothing of a handshake: %q with %d numbers; there are mss N, sack, ts, wscale CLIENT SERVER", name, len(n))
		}
	}
	ack := packet{flags: wire.ACK, seq: 1, ack: 1, win: 65535 >> scale[0]}
	synAck := syn
	synAck.flags, synAck.ack = wire.SYN|wire.ACK, 1
	syn.opts.WScale, synAck.opts.WScale = scale[0], scale[1]
	syn.ts, synAck.ts = [2]uint32{900, 0}, [2]uint32{900, 900}
	synAck.ecr = true
	if syn.opts.Has(wire.HasTS) {
		ack.opts.Set |= wire.HasTS
		ack.ts[0] = 902
	}
	at := now.Add(-20 * time.Millisecond)
	for i, p := range []*packet{&syn, &synAck, &ack} {
		if _, err := f.receive(at.Add(time.Duration(10*i)*time.Millisecond), i%2, p); err != nil {
			return err
		}
	}
	if f.flow == nil {
		return errors.New("the handshake made no flow")
	}
	f.end[1].win = 65535 >> scale[1]
	return nil
}
