package main

import (
	"errors"
	"os"
	"path/filepath"
)

// Where results go, seen from the top of the repository.
const (
	recordDir  = "bench"          // of a whole run
	partialDir = "bin/last-bench" // of others
	readme     = "README.md"
)

// record writes results and chart into a directory.
func (r *results) record(dir string) error {
	return errors.Join(
		os.MkdirAll(dir, 0o755),
		r.write(filepath.Join(dir, "results.json")),
		os.WriteFile(filepath.Join(dir, "chart.svg"), []byte(r.chart()), 0o644))
}

// render writes chart and README's table anew from what is recorded.
func render() error {
	r, err := readResults(filepath.Join(recordDir, "results.json"))
	if err != nil {
		return err
	}
	return errors.Join(r.record(recordDir), r.updateReadme(readme))
}
