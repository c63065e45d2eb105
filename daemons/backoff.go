package daemons

import "time"

const (
	backoffFirst = 200 * time.Millisecond
	backoffMost  = 30 * time.Second
	stableAfter  = 10 * time.Second // a program that ran this long starts afresh
)

// backoff is the pause before the next start after so many failures in a row, 20 % up or down; chance is in [0,1).
func backoff(failures int, chance float64) time.Duration {
	pause := backoffMost
	if failures < 8 {
		pause = min(backoffFirst<<max(failures, 0), backoffMost)
	}
	return time.Duration(float64(pause) * (0.8 + 0.4*chance))
}
