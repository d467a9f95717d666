package cc

// maxFilter is the largest value of the last window ticks of a clock that only
// moves forward. Like Linux's filter (after K. Nichols) it keeps three
// candidates: the maximum, the maximum since that, and the maximum since that;
// so the result is exact while values fall and close to it otherwise.
type maxFilter struct {
	best [3]struct {
		at    int64
		value int64
	}
}

// update takes a value at an instant and gives the maximum of the window.
func (f *maxFilter) update(at, value, window int64) int64 {
	b := &f.best
	sample := b[0]
	sample.at, sample.value = at, value
	if value >= b[0].value || at-b[2].at > window {
		b[0], b[1], b[2] = sample, sample, sample // a new maximum, or nothing left in the window
		return value
	}
	if value >= b[1].value {
		b[1], b[2] = sample, sample
	} else if value >= b[2].value {
		b[2] = sample
	}
	switch age := at - b[0].at; {
	case age > window: // the maximum is too old: the next ones move up
		b[0], b[1], b[2] = b[1], b[2], sample
		if at-b[0].at > window {
			b[0], b[1], b[2] = b[1], b[2], sample
		}
	case b[1].at == b[0].at && age > window/4:
		b[1], b[2] = sample, sample // a quarter passed without a second choice
	case b[2].at == b[1].at && age > window/2:
		b[2] = sample
	}
	return b[0].value
}

// max gives the latest result of update.
func (f *maxFilter) max() int64 { return f.best[0].value }

// cycleFilter is the largest value of the current cycle and the one before.
type cycleFilter struct{ current, previous int64 }

// update takes a value of the current cycle.
func (f *cycleFilter) update(value int64) { f.current = max(f.current, value) }

// advance begins the next cycle.
func (f *cycleFilter) advance() { f.previous, f.current = f.current, 0 }

// max gives the largest value of both.
func (f *cycleFilter) max() int64 { return max(f.current, f.previous) }
