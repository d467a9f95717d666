package terminator

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"accd/policy"
	"accd/splice"
	"accd/tcpstack"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// Status is the sum over all shards, for operators.
type Status struct {
	Shards int `json:"shards"`

	Flows     int `json:"flows"`      // followed now
	InCustody int `json:"in_custody"` // of them
	Draining  int `json:"draining"`   // of them
	HeldBytes int `json:"held_bytes"` // payload that accd acknowledged and must deliver
	Memory    int `json:"memory_bytes"`
	Budget    int `json:"memory_limit_bytes"`

	NewFlows uint64 `json:"new_flows"`         // since the start
	Entered  uint64 `json:"custodies_entered"` // times custody began
	Exited   uint64 `json:"custodies_exited"`  // times it ended on the wire
	Resets   uint64 `json:"resets"`            // RSTs of accd's own
	Expired  uint64 `json:"flows_expired"`

	// By reason; reasons that did not occur are left out.
	Passed  map[string]uint64 `json:"passed"`  // frames that no flow was asked about
	Dropped map[string]uint64 `json:"dropped"` // frames
	Reasons map[string]uint64 `json:"reasons"` // of flows: not entered, drained, ended

	TakenBytes  Directions `json:"taken_bytes"`  // payload that accd acknowledged
	PassedBytes Directions `json:"passed_bytes"` // payload of followed flows that passed

	Client TapStatus `json:"client_tap"`
	Server TapStatus `json:"server_tap"`

	HandoffTCP  uint64 `json:"handoff_tcp"` // segments that came to the wrong shard: should be 0
	HandoffICMP uint64 `json:"handoff_icmp"`
	Panics      uint64 `json:"panics"`
	Gaps        uint64 `json:"gaps"` // turns that came too late

	Rules map[string]int `json:"rules"` // flows followed now, by rule
}

// Directions is a number for each direction of payload.
type Directions struct {
	ToServer uint64 `json:"to_server"`
	ToClient uint64 `json:"to_client"`
}

// TapStatus is the traffic of one tap, as accd sees it.
type TapStatus struct {
	In      Traffic `json:"in"`
	Direct  uint64  `json:"direct_frames"` // of In: by the shortcut, past the host's forwarding
	Out     Traffic `json:"out"`
	Refused uint64  `json:"refused"` // frames the kernel did not accept
}

// Status asks every shard.
func (t *Terminator) Status(ctx context.Context) (*Status, error) {
	st := &Status{
		Shards: len(t.shards),
		Passed: map[string]uint64{}, Dropped: map[string]uint64{}, Reasons: map[string]uint64{}, Rules: map[string]int{},
	}
	err := t.ask(ctx, func(s *shard) { s.addTo(st) })
	return st, err
}

func (s *shard) addTo(st *Status) {
	st.Flows += s.flows.len()
	st.Memory += s.pool.InUse()
	st.Budget += s.pool.Budget
	for i := range s.terms.rulings {
		if r := &s.terms.rulings[i]; r.flows > 0 {
			st.Rules[r.verdict.Rule] += r.flows
		}
	}
	s.flows.each(func(f *flow) {
		switch f.State() {
		case splice.InCustody:
			st.InCustody++
		case splice.Draining:
			st.Draining++
		}
		held := f.Held()
		st.HeldBytes += held[0] + held[1]
		// The shard's counter has what earlier custodies took.
		st.TakenBytes.ToServer += f.inThisCustody(splice.Client)
		st.TakenBytes.ToClient += f.inThisCustody(splice.Server)
	})
	c, k := &s.count, &s.custody
	st.NewFlows += c.flows
	st.Expired += c.expired
	st.Entered += k.Entered
	st.Exited += k.Exited
	st.Resets += k.Resets
	for r, n := range c.reasons {
		switch r := Reason(r); {
		case n == 0:
		case r.drops():
			st.Dropped[r.String()] += n
		default:
			st.Passed[r.String()] += n
		}
	}
	for r, n := range k.By {
		if n > 0 {
			st.Reasons[splice.Reason(r).String()] += n
		}
	}
	st.TakenBytes.ToServer += k.TakenBytes[splice.Client]
	st.TakenBytes.ToClient += k.TakenBytes[splice.Server]
	st.PassedBytes.ToServer += k.PassedBytes[splice.Client]
	st.PassedBytes.ToClient += k.PassedBytes[splice.Server]
	for side, tap := range []*TapStatus{&st.Client, &st.Server} {
		tap.In.sum(&c.in[side])
		tap.Direct += c.direct[side]
		tap.Out.sum(&c.out[side])
		tap.Refused += s.dev[side].queue.Dropped()
	}
	st.HandoffTCP += c.handoff.tcp
	st.HandoffICMP += c.handoff.icmp
	st.Panics += c.panics
	st.Gaps += c.gaps
}

// inThisCustody gives the payload bytes of from that accd has acknowledged since
// custody began; 0 on the wire.
func (f *flow) inThisCustody(from splice.Side) uint64 {
	all, _ := f.Bytes(from)
	return all - f.Record().Taken[from]
}

func (t *Traffic) sum(o *Traffic) {
	t.Frames += o.Frames
	t.Packets += o.Packets
	t.Bytes += o.Bytes
}

// Flow is one connection, for operators.
type Flow struct {
	ID         string  `json:"id"`
	Client     string  `json:"client"` // address and port
	Server     string  `json:"server"`
	Rule       string  `json:"rule"`
	RuleLine   int     `json:"rule_line"` // in the configuration file
	State      string  `json:"state"`     // wire, custody or drain
	AgeSeconds float64 `json:"age_seconds"`
	Idle       float64 `json:"idle_seconds"`
	Handshake  string  `json:"handshake"` // relay or split
	Drainable  bool    `json:"drainable"`
	ClientLeg  Leg     `json:"client_leg"`
	ServerLeg  Leg     `json:"server_leg"`
}

// Leg is one side of a flow. Fields that only custody knows are 0 outside it.
type Leg struct {
	Network     string  `json:"network"`
	Congestion  string  `json:"congestion"` // the algorithm
	State       string  `json:"state"`      // of the algorithm
	MSS         int     `json:"mss"`        // the endpoint's, bytes
	PathMTU     int     `json:"path_mtu"`   // the largest IP packet in bytes that is sent to it; 0: not known yet
	WindowScale int     `json:"window_scale"`
	SACK        bool    `json:"sack"`
	Timestamps  bool    `json:"timestamps"`
	ECN         string  `json:"ecn"`    // none, classic or accurate
	RTT         float64 `json:"rtt_ms"` // smoothed
	MinRTT      float64 `json:"min_rtt_ms"`
	RTO         float64 `json:"rto_ms"`
	Cwnd        int     `json:"cwnd_bytes"`
	InFlight    int     `json:"in_flight_bytes"`
	Pacing      int64   `json:"pacing_bytes_per_second"`
	Delivery    int64   `json:"delivery_bytes_per_second"`
	Sent        uint64  `json:"sent_segments"` // by accd towards the endpoint, with data
	Retransmits uint64  `json:"retransmitted_segments"`
	Timeouts    uint64  `json:"timeouts"`
	Held        int     `json:"held_bytes"`   // towards this endpoint
	Taken       uint64  `json:"taken_bytes"`  // of this endpoint, acknowledged by accd
	Passed      uint64  `json:"passed_bytes"` // of this endpoint, passed
}

// Filter selects flows. The zero Filter selects all.
type Filter struct {
	ID    string // exactly this one
	Limit int    // at most so many, those in custody first; 0: all
}

// viewFlows is how many flows are described in one turn. Ours.
const viewFlows = 128

// glimpse is what it takes to choose a flow for a list.
type glimpse struct {
	client wire.Tuple
	serial uint64
	rank   int // by state: custody, drain, wire
	began  mono.Time
}

var ranks = [...]int{splice.InCustody: 0, splice.Draining: 1, splice.OnWire: 2, splice.Gone: 3}

// before orders a list: those in custody first, the youngest first among equals.
func (g *glimpse) before(o *glimpse) int {
	return cmp.Or(cmp.Compare(g.rank, o.rank), cmp.Compare(o.began, g.began), cmp.Compare(o.serial, g.serial))
}

// Flows asks every shard for the flows that match, those in custody first, the
// youngest first among equals.
func (t *Terminator) Flows(ctx context.Context, filter Filter) ([]Flow, error) {
	of, serial, ok := t.named(filter.ID)
	if filter.ID != "" && !ok {
		return nil, nil
	}
	type seen struct {
		glimpse
		shard *shard
	}
	order := func(a, b seen) int { return a.before(&b.glimpse) }
	var list []seen
	for _, s := range t.shards {
		if filter.ID != "" && s != of {
			continue
		}
		// From the end, so that what moves when others leave is not missed.
		for end := -1; end != 0; {
			err := t.askOne(ctx, s, func(s *shard) {
				end = s.glimpses(end, func(g *glimpse) {
					full := filter.Limit > 0 && len(list) >= filter.Limit
					if filter.ID == "" && !(full && list[filter.Limit-1].before(g) < 0) || g.serial == serial && filter.ID != "" {
						list = append(list, seen{*g, s})
					}
				})
			})
			if err != nil {
				return nil, err
			}
			slices.SortFunc(list, order)
			list = slices.CompactFunc(list, func(a, b seen) bool { return a.serial == b.serial && a.shard == b.shard })
			if filter.Limit > 0 && len(list) > filter.Limit {
				list = list[:filter.Limit]
			}
		}
	}
	out := make([]Flow, 0, len(list))
	for rest := list; len(rest) > 0; {
		// As many neighbours of one shard as may be described in a turn.
		n := 1
		for n < min(len(rest), viewFlows) && rest[n].shard == rest[0].shard {
			n++
		}
		err := t.askOne(ctx, rest[0].shard, func(s *shard) {
			for i := range rest[:n] {
				if at, ok := s.flows.find(&rest[i].client); ok && s.flows.places.at(at).serial == rest[i].serial {
					out = append(out, s.describe(at))
				}
			}
		})
		if err != nil {
			return nil, err
		}
		rest = rest[n:]
	}
	return out, nil
}

// glimpses calls do for some flows before end, and gives where the rest ends, as part
// does.
func (s *shard) glimpses(end int, do func(*glimpse)) (rest int) {
	return s.flows.part(end, func(p *place) {
		state := splice.OnWire
		if p.flow != 0 {
			state = s.flows.all[p.flow-1].State()
		}
		do(&glimpse{p.Tuple, p.serial, ranks[state], p.Began()})
	})
}

// id names a flow for its life.
func (s *shard) id(p *place) string {
	return strconv.FormatUint(p.serial*uint64(len(s.t.shards))+uint64(s.index), 16)
}

// named gives what id names.
func (t *Terminator) named(id string) (s *shard, serial uint64, ok bool) {
	n, err := strconv.ParseUint(id, 16, 64)
	shards := uint64(len(t.shards))
	return t.shards[n%shards], n / shards, err == nil
}

// describe gives what operators see of the connection of a place.
func (s *shard) describe(at uint32) Flow {
	p := s.flows.places.at(at)
	r := s.terms.at(p.ruling)
	var f *splice.Flow
	if p.flow != 0 {
		f = &s.flows.all[p.flow-1].Flow
	} else {
		f = new(splice.Flow)
		f.Attend(&p.Record, r.terms, &s.env)
	}
	held := f.Held()
	v := Flow{
		ID: s.id(p), Client: p.Tuple.Source(), Server: p.Tuple.Reverse().Source(),
		Rule: r.verdict.Rule, RuleLine: r.verdict.Line, State: f.State().String(),
		AgeSeconds: s.now.Sub(f.Began()).Seconds(), Idle: s.now.Sub(p.heard).Seconds(),
		Handshake: policy.Relay.String(), Drainable: !f.Split(),
	}
	if f.Split() {
		v.Handshake = policy.Split.String()
	}
	client, server := f.Legs()
	s.viewLeg(&v.ClientLeg, f, r.verdict, splice.Client, client)
	s.viewLeg(&v.ServerLeg, f, r.verdict, splice.Server, server)
	v.ClientLeg.Held, v.ServerLeg.Held = held[splice.Client], held[splice.Server]
	return v
}

func (s *shard) viewLeg(l *Leg, f *splice.Flow, v *policy.Verdict, side splice.Side, c *tcpstack.Conn) {
	r := f.Record()
	d, path := &r.Dir[side], &r.Path[side]
	network := s.network(r.Tuple, side, d.Net)
	*l = Leg{
		Network: network.String(), Congestion: v.Profile(network).Congestion,
		MSS: int(d.MSS), PathMTU: int(path.MTU), WindowScale: int(d.Scale),
		SACK: r.SACK, Timestamps: r.Timestamps, ECN: tcpstack.NoECN.String(),
		RTT: float64(path.SRTT) / 1000, MinRTT: float64(path.MinRTT) / 1000,
	}
	if r.ECN {
		l.ECN = tcpstack.ClassicECN.String()
	}
	l.Taken, l.Passed = f.Bytes(side)
	if c == nil {
		return
	}
	// A split leg has agreed on options of its own.
	n := new(tcpstack.Snapshot)
	c.Snapshot(n)
	l.MSS, l.WindowScale, l.SACK, l.Timestamps, l.ECN = n.MSS, int(n.SndScale), n.SACK, n.Timestamps, n.ECN.String()
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	smoothed, smallest := c.RTT()
	l.RTT, l.MinRTT, l.RTO = ms(smoothed), ms(smallest), ms(c.RTO())
	l.PathMTU = c.PathMTU()
	l.State, l.Delivery = c.Control(), c.DeliveryRate()
	l.Cwnd, l.InFlight, l.Pacing = c.Congestion()
	st := c.Stats()
	l.Sent, l.Retransmits, l.Timeouts = st.Sent, st.Retransmitted, st.Timeouts
}
