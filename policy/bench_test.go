package policy

import (
	"os"
	"testing"
)

func BenchmarkDecide(b *testing.B) {
	src, err := os.ReadFile("testdata/operator.yaml")
	if err != nil {
		b.Fatal(err)
	}
	table, problems := Parse("operator.yaml", src)
	if table == nil {
		b.Fatal(problems)
	}
	k := tuple("10.1.0.9:4000", "198.51.100.1:9443")
	b.ReportAllocs()
	for b.Loop() {
		table.Decide(k, Meta{From: LAN})
	}
}
