package cc

import (
	"testing"
	"time"

	"accd/tcpstack/mono"
)

// FuzzController tells every algorithm whatever the fuzzer likes, within what a
// Conn can say: a window never falls below one segment nor beyond any reason,
// and nothing that is told makes a rate negative.
func FuzzController(f *testing.F) {
	for i := range byte(12) {
		b := []byte{i}
		for j := range 300 {
			b = append(b, byte(j*(int(i)*2+3)+j/5))
		}
		f.Add(b)
	}
	names := Names()
	f.Fuzz(func(t *testing.T, ops []byte) {
		u8 := func() int {
			if len(ops) == 0 {
				return 0
			}
			v := ops[0]
			ops = ops[1:]
			return int(v)
		}
		u16 := func() int { return u8()<<8 | u8() }
		name := names[u8()%len(names)]
		cfg := Config{MSS: 36 + u16()%9000, InitialWindow: u8() % 64, Seed: uint64(u8()), NoSACK: u8()&1 != 0}
		if u8()&1 != 0 {
			cfg.Memory = Memory{
				Window: u16() << (u8() % 12), Ssthresh: u16() << (u8() % 16), Bandwidth: int64(u16()) << (u8() % 20),
				MinRTT: time.Duration(u16()) << (u8() % 16), Age: time.Duration(u16()) * time.Second, MinRTTAge: time.Duration(u16()) * time.Second,
			}
		}
		c, err := New(name, cfg)
		if err != nil {
			t.Fatal(err)
		}
		now := mono.Time(time.Hour)
		var inFlight int
		var delivered, lostTotal int64
		for steps := 0; len(ops) > 0 && steps < 500; steps++ {
			now = now.Add(time.Duration(u8()*u8()) << (u8() % 20))
			switch op := u8(); op % 8 {
			case 0, 1, 2:
				n := 1 + u16()%(64<<10)
				c.Sent(now, n, inFlight)
				inFlight += n
			case 3, 4, 5:
				a := Ack{Acked: min(u16()<<(op>>6), inFlight), PriorInFlight: inFlight, Recovery: op&64 != 0, CwndLimited: op&128 != 0, AppLimited: op&32 != 0, OnlySACK: op&16 != 0}
				a.Lost = min(u16()%5000, inFlight-a.Acked)
				inFlight -= a.Acked + a.Lost
				delivered, lostTotal = delivered+int64(a.Acked), lostTotal+int64(a.Lost)
				a.InFlight, a.Delivered, a.LostTotal = inFlight, delivered, lostTotal
				a.PriorDelivered, a.PriorLost = delivered-min(delivered, int64(u16())<<(op>>5)), lostTotal-min(lostTotal, int64(u16()))
				a.TxInFlight = u16() << (op >> 5)
				if op&8 != 0 {
					a.RTT = time.Duration(1+u16()) << (u8() % 20)
					a.SRTT, a.MinRTT = a.RTT+time.Duration(u16()), a.RTT/time.Duration(1+u8())
					a.Interval = time.Duration(1+u16()) << (u8() % 20)
					a.Rate = int64(float64(delivered-a.PriorDelivered) / a.Interval.Seconds())
				}
				c.Acked(now, &a)
			default:
				s := Signal{Kind: Kind(op>>3) % (Exit + 1), First: op&64 != 0, Bytes: u16() % 70_000, InFlight: inFlight, FlightSize: inFlight,
					TxInFlight: u16() << (op >> 5), Delivered: delivered, LostTotal: lostTotal, AppLimited: op&128 != 0}
				s.PriorDelivered, s.PriorLost = delivered-min(delivered, int64(u16())), lostTotal-min(lostTotal, int64(u16()))
				if s.Kind == Timeout {
					inFlight = 0
				}
				c.Congested(now, s)
			}
			if w := c.Window(); w < cfg.MSS || w > 1<<40 {
				t.Fatalf("%s (%s): a window of %d bytes with segments of %d", name, c.State(), w, cfg.MSS)
			}
			if r := c.Rate(); r < 0 {
				t.Fatalf("%s (%s): a rate of %d", name, c.State(), r)
			}
			if m := c.Memory(); m.Window < 0 || m.Ssthresh < 0 || m.Bandwidth < 0 || m.MinRTT < 0 {
				t.Fatalf("%s (%s) remembers %+v", name, c.State(), m)
			}
		}
	})
}
