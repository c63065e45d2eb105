package cachefsm

import (
	"errors"
	"fmt"
	"time"
)

// Config is what the ini says of the two raft groups.
type Config struct {
	WAL            bool          // raft-log = wal instead of bolt
	ControlTimeout time.Duration // heartbeat, election and leader lease of the control group; 500 ms
	CacheTimeout   time.Duration // the same of the cache group; 1 s
}

// Timeouts shorter than this make elections out of every hiccup, longer ones leave a cluster without a leader
// for longer than anybody waits.
const (
	minTimeout = 50 * time.Millisecond
	maxTimeout = 30 * time.Second
)

// Check says everything that is wrong with c. A timeout of 0 is the default.
func (c Config) Check() error {
	var errs []error
	for name, d := range map[string]time.Duration{"control-timeout": c.ControlTimeout, "cache-timeout": c.CacheTimeout} {
		if d != 0 && (d < minTimeout || d > maxTimeout) {
			errs = append(errs, fmt.Errorf("%s = %v: use %v to %v", name, d, minTimeout, maxTimeout))
		}
	}
	return errors.Join(errs...)
}
