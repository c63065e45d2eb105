//go:build race

package legion

// underRace says that the race detector makes everything ten times slower. The simulation has one goroutine a seed:
// there is little for it to find.
const underRace = true
