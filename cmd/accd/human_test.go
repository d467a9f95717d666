package main

import (
	"testing"
	"time"
)

func TestHuman(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{count(0), "0"}, {count(999), "999"}, {count(18231), "18 231"}, {count(uint64(1234567)), "1 234 567"},
		{size(0), "0 B"}, {size(1023), "1023 B"}, {size(1024), "1.0 KiB"}, {size(3250586), "3.1 MiB"}, {size(412 << 20), "412 MiB"}, {size(2 << 30), "2.0 GiB"},
		{rate(0), "0 bit/s"}, {rate(262.5e6), "2.1 Gbit/s"}, {rate(18.5e6), "148 Mbit/s"}, {rate(124999999), "1.0 Gbit/s"},
		{ago(3 * time.Second), "3s"}, {ago(121 * time.Second), "2m01s"}, {ago(76 * time.Hour), "3d04h"}, {ago(90 * time.Minute), "1h30m"},
		{reasons(map[string]uint64{"rule": 35, "syn-options": 2, "a": 2}), "rule 35, a 2, syn-options 2"}, {reasons(nil), ""},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}
