package cc
import ("testing";"time")
func TestFair(t *testing.T) {
	for _, q := range []string{"", "draft"} {
	var prm Params
	if q != "" { prm = Params{"queue_rtt_gain": 1, "loss_spread": 0} }
	for _, other := range []string{"bbr","cubic"} {
	for _, bdps := range []float64{.1,.3,1, 2, 4} {
	for _, rtt := range []time.Duration{20*time.Millisecond, 80*time.Millisecond} {
		p := newPath(t, 50, rtt, bdps, 0)
		p.add(mustNew(t, "bbr", Config{Seed: 1, Params: prm}))
		p.run(3*time.Second)
		cfg := Config{Seed: 2}
		if other == "bbr" { cfg.Params = prm }
		p.add(mustNew(t, other, cfg))
		p.run(17*time.Second)
		s := p.share(40*time.Second)
		t.Logf("%s bbr+%s buffer %v rtt %v: %.3f  lost %.2f%% %.2f%%", q, other, bdps, rtt, s, 100*float64(p.flows[0].lost)/float64(p.flows[0].delivered),100*float64(p.flows[1].lost)/float64(p.flows[1].delivered))
	}}}}
}
