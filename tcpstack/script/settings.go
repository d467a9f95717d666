package script

import (
	"fmt"
	"slices"
	"strconv"

	"accd/tcpstack"
	"accd/tcpstack/cc"
)

// settings are the head of a script.
type settings struct {
	base     tcpstack.Config
	families []int
	family   int // of this run
	legs     int
	showWin  bool
}

// head reads a line of the head.
func (s *settings) head(words []string) error {
	if len(words) < 2 {
		return fmt.Errorf("%s needs a value", words[0])
	}
	key, values := words[1], words[2:]
	switch words[0] {
	case "family":
		s.families = nil
		for _, w := range words[1:] {
			if w != "4" && w != "6" {
				return fmt.Errorf("no address family: %q; there are 4 and 6", w)
			}
			s.families = append(s.families, int(w[0]-'0'))
		}
		return nil
	case "show":
		if key != "win" {
			return fmt.Errorf("nothing to show: %q; there is win", key)
		}
		s.showWin = true
		return nil
	}
	if len(values) == 0 {
		return fmt.Errorf("set %s needs a value", key)
	}
	return s.one(key, values)
}

// one sets one thing.
func (s *settings) one(key string, values []string) (err error) {
	c := &s.base
	number := func(p *int) { *p, err = strconv.Atoi(values[0]) }
	flag := func(p *bool, yes string) {
		switch values[0] {
		case "on", "off":
			*p = values[0] == yes
		default:
			err = fmt.Errorf("%s is on or off, not %q", key, values[0])
		}
	}
	switch key {
	case "cc":
		p := cc.Params{}
		for i := 1; i+1 < len(values); i += 2 {
			if p[values[i]], err = strconv.ParseFloat(values[i+1], 64); err != nil {
				return err
			}
		}
		c.NewController, err = cc.Constructor(values[0], p)
	case "iw":
		number(&c.InitialWindow)
	case "mtu":
		number(&c.MTU)
	case "buffer":
		number(&c.Buffer)
	case "retries":
		number(&c.Retries)
	case "maxrate":
		c.MaxRate, err = strconv.ParseInt(values[0], 10, 64)
	case "minrto":
		c.MinRTO, err = duration(values[0])
	case "tso":
		flag(&c.NoSegmentation, "off")
	case "synretries":
		number(&c.SYNRetries)
	case "sack":
		flag(&c.NoSACK, "off")
	case "timestamps":
		flag(&c.NoTimestamps, "off")
	case "wscale":
		if values[0] == "off" {
			c.NoWindowScale = true
			break
		}
		var n int
		number(&n)
		c.WindowScale = uint8(n)
	case "ecn":
		i := slices.Index(ecnPolicies[:], values[0])
		if i < 0 {
			err = fmt.Errorf("no policy %q; there are %v", values[0], ecnPolicies)
		}
		c.ECN = tcpstack.ECNPolicy(i)
	case "holdanswer":
		flag(&c.HoldAnswer, "on")
	case "holdfin":
		flag(&c.HoldFIN, "on")
	case "usertimeout":
		c.UserTimeout, err = duration(values[0])
	case "keepalive":
		err = keepAlive(&c.KeepAlive, values)
	case "pacing":
		flag(&c.Unpaced, "off")
	case "relay":
		flag(&c.Relay, "on")
	default:
		err = fmt.Errorf("nothing to set: %q; docs/scripts.md lists what there is", key)
	}
	return err
}

// ecnPolicies are those of tcpstack, by their numbers.
var ecnPolicies = [...]string{"grant", "off", "classic", "accurate"}

// keepAlive reads IDLE [INTERVAL [PROBES]].
func keepAlive(k *tcpstack.KeepAlive, values []string) (err error) {
	k.On = true
	if k.Idle, err = duration(values[0]); err == nil && len(values) > 1 {
		k.Interval, err = duration(values[1])
	}
	if err == nil && len(values) > 2 {
		k.Probes, err = strconv.Atoi(values[2])
	}
	return err
}

// config makes the Config that the set lines describe.
func (s *settings) config() *tcpstack.Config {
	c := s.base
	return &c
}
