package splice

import (
	"accd/tcpstack/cc"
	"accd/tcpstack/mono"
)

// recallPath gives what earlier flows left of the path to side.
func (f *Flow) recallPath(now mono.Time, side Side) cc.Path {
	if f.terms == nil || f.terms.Oblivious {
		return cc.Path{}
	}
	t := f.rec.tupleTo(side)
	return f.env.Paths.Recall(now, t.Dst, uint8(f.rec.Dir[side].Net))
}

// learnPath keeps for later flows what the custody that ends knows of the path
// to side, as of when that was heard last.
func (f *Flow) learnPath(side Side) {
	if f.env.Paths == nil || f.terms == nil || f.terms.Oblivious {
		return
	}
	c := f.c
	c.conn[side].Snapshot(&c.snap)
	t := f.rec.tupleTo(side)
	f.env.Paths.Learn(c.conn[side].Heard(), t.Dst, uint8(f.rec.Dir[side].Net), &c.snap.CC)
}
