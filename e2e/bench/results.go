package main

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"time"
)

// results is what a run of the bench gives, as bench/results.json has it.
type results struct {
	Date    string  `json:"date"` // of the begin, year-month-day
	Machine machine `json:"machine"`
	Rounds  int     `json:"rounds"`
	Seconds float64 `json:"seconds"` // of each measurement
	Peers   []named `json:"peers"`   // in the order of each round
	Rows    []row   `json:"rows"`
}

// named is a peer of a run.
type named struct {
	Name string `json:"name"`
	What string `json:"what"`
}

// row is one metric of one measure.
type row struct {
	Key     string          `json:"key"`     // measure.metric
	Measure string          `json:"measure"` // for people
	Metric  string          `json:"metric"`  // for people; empty: the measure says it all
	Unit    string          `json:"unit"`
	Less    bool            `json:"less_is_better"`
	Beyond  bool            `json:"beyond_kernel,omitempty"` // the values are what is more than kernel forwarding
	Cells   map[string]cell `json:"cells"`                   // by the peer's name
}

// value gives what a cell says in a table: the median, of the longest pause the
// largest.
func (r *row) value(c cell) float64 {
	if strings.HasSuffix(r.Key, "."+gcPause) {
		return c.Max
	}
	return c.Median
}

// cell is one peer's value of one metric.
type cell struct {
	Median    float64   `json:"median"`
	Min       float64   `json:"min"`
	Max       float64   `json:"max"`
	Ratio     float64   `json:"ratio,omitempty"` // to kernel forwarding: the median of the rounds' ratios; 0: there is none
	Disturbed int       `json:"disturbed"`       // rounds in which others used the machine, in spite of repetition
	Rounds    []float64 `json:"rounds"`
}

// add enters what one round of a measure gave for each peer, by metric.
func (r *results) add(m *measure, peer string, t *trial) {
	for _, x := range m.metrics {
		row := r.row(m, x)
		v, ok := t.values[x.key]
		if !ok {
			continue
		}
		c := row.Cells[peer]
		c.Rounds = append(c.Rounds, v)
		if t.disturbed(r.Machine.Cores) {
			c.Disturbed++
		}
		row.Cells[peer] = c
	}
}

// row finds the row of a metric, or begins it.
func (r *results) row(m *measure, x metric) *row {
	key := m.key + "." + x.key
	i := slices.IndexFunc(r.Rows, func(row row) bool { return row.Key == key })
	if i < 0 {
		i = len(r.Rows)
		r.Rows = append(r.Rows, row{
			Key: key, Measure: m.title(), Metric: x.label, Unit: x.unit, Less: x.less, Beyond: x.beyond, Cells: map[string]cell{},
		})
	}
	return &r.Rows[i]
}

// compare fills in what follows from the rounds.
func (r *results) compare() {
	for _, row := range r.Rows {
		base := row.Cells[baseline].Rounds
		if row.Beyond {
			delete(row.Cells, baseline)
			if base == nil {
				clear(row.Cells)
			}
		}
		for peer, c := range row.Cells {
			var ratios []float64
			for i := range min(len(base), len(c.Rounds)) {
				if row.Beyond {
					c.Rounds[i] -= base[i]
				} else if base[i] > 0 {
					ratios = append(ratios, c.Rounds[i]/base[i])
				}
			}
			c.Median, c.Min, c.Max = median(c.Rounds), slices.Min(c.Rounds), slices.Max(c.Rounds)
			c.Ratio = median(ratios)
			row.Cells[peer] = c
		}
	}
}

// find gives the row of a key; nil: there is none.
func (r *results) find(key string) *row {
	for i := range r.Rows {
		if r.Rows[i].Key == key {
			return &r.Rows[i]
		}
	}
	return nil
}

func readResults(file string) (*results, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r := new(results)
	return r, json.Unmarshal(b, r)
}

func (r *results) write(file string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}

// today is the date of a run.
func today() string { return time.Now().UTC().Format(time.DateOnly) }
