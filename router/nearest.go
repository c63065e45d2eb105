package router

import (
	"fmt"
	"slices"
)

// maybe is what to add to "there is no such name": the name that was probably meant, if one is near.
func maybe[V any](name string, known map[string]V) string {
	best, distance := "", 3
	if len(name) < 6 {
		distance = 2
	}
	for candidate := range known {
		d := editDistance(name, candidate)
		if d < distance || d == distance && best != "" && candidate < best {
			best, distance = candidate, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// editDistance counts the letters to insert, drop or replace that make a of b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// misspelt says which of the known names is nearly this one. Short names are too easily near another.
func misspelt(name string, known []string) string {
	i := slices.IndexFunc(known, func(k string) bool { return len(name) >= 6 && editDistance(name, k) <= 2 })
	if i < 0 {
		return ""
	}
	return known[i]
}
