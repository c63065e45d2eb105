//go:build !race

package legion

const underRace = false
