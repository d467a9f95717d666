package script

import "strings"

// difference compares what a script says with what came, line by line, without
// layout and comments; "" if they agree. Lines that only the script has begin
// with -, lines that only came with +.
func difference(want, got string) string {
	a, b := content(want), content(got)
	// common[i][j]: lines that a[i:] and b[j:] share, in order.
	common := make([][]int, len(a)+1)
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	if common[0][0] == len(a) && len(a) == len(b) {
		return ""
	}
	var out strings.Builder
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			out.WriteString("  " + a[i] + "\n")
			i++
			j++
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			out.WriteString("- " + a[i] + "\n")
			i++
		default:
			out.WriteString("+ " + b[j] + "\n")
			j++
		}
	}
	return out.String()
}

// content gives the lines of a script that say something.
func content(s string) (lines []string) {
	for l := range strings.SplitSeq(s, "\n") {
		if l = canonical(l); l != "" {
			lines = append(lines, l)
		}
	}
	return lines
}
