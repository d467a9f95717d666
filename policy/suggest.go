package policy

import "strings"

// suggest gives the accepted word that a misspelt one was most likely meant to
// be, or "".
func suggest(word string, accepted []string) string {
	best, bestDistance := "", max(1, len(word)/3)+1
	for _, a := range accepted {
		d := distance(strings.ToLower(word), a)
		if d < bestDistance {
			best, bestDistance = a, d
		}
	}
	if best != "" || len(word) < 4 {
		return best
	}
	for _, a := range accepted {
		if len(a) >= 4 && (strings.HasPrefix(word, a) || strings.HasPrefix(a, word)) {
			return a
		}
	}
	return ""
}

// distance counts the insertions, deletions, replacements and swaps of
// neighbours that make b of a (optimal string alignment).
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	var d [65][65]int
	for i := range len(a) + 1 {
		d[i][0] = i
	}
	for j := range len(b) + 1 {
		d[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replace := 1
			if a[i-1] == b[j-1] {
				replace = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}
