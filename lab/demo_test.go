package lab

import (
	"encoding/json"
	"os"
	"testing"
)

func TestDemoDirect(t *testing.T) {
	needRoot(t)
	r, err := RunDemo(t.Context(), Options{Progress: os.Stderr, Runs: []string{directBBR, directCubic}, HTML: "/tmp/demo-report.html"})
	if err != nil {
		t.Fatal(err)
	}
	r.WriteTable(os.Stderr)
	json.NewEncoder(os.Stderr).Encode(r)
}
