package daemons

import (
	"time"

	"github.com/cohortd/cohort/clock"
)

// startMargin is how much more than the soft time must be left for anything to be started.
const startMargin = 200 * time.Millisecond

// deadline is what a guardian knows of its lease.
type deadline struct {
	timing  Timing
	since   clock.Reading
	forever bool
}

// left is the time until the lease ends, on the fastest clock.
func (d deadline) left(now clock.Reading) time.Duration {
	return d.timing.Lease - now.Longest(d.since)
}

// mayStart says whether a program may be started now.
func (d deadline) mayStart(now clock.Reading) bool {
	return d.forever || d.left(now) >= d.timing.Soft+startMargin
}

// over says that the soft deadline has passed.
func (d deadline) over(now clock.Reading) bool {
	return !d.forever && d.left(now) <= d.timing.Soft
}

// toKill is the time until everything must be killed; not to be asked of a deadline that lasts for ever.
func (d deadline) toKill(now clock.Reading) time.Duration {
	return d.left(now) - d.timing.Kill
}

// mustKill says that the kill time has come.
func (d deadline) mustKill(now clock.Reading) bool {
	return !d.forever && d.toKill(now) <= 0
}

// extend takes a newer renewal. An older one changes nothing: pushes may be late, and a lease never shrinks. Neither does
// one from the future count, whose sender cannot have read this machine's clocks.
func (d *deadline) extend(since, now clock.Reading) bool {
	newer := since.Boot >= d.since.Boot && since.Raw >= d.since.Raw && since != d.since
	if !newer || since.Boot > now.Boot || since.Raw > now.Raw {
		return false
	}
	d.since = since
	return true
}

// nap is how far ahead a timer may be armed. Timers know no raw clock, so a timer that must keep to the faster of two
// clocks is armed in steps: three quarters of the way while there is time, and 100 ms at most in the last part.
func nap(left time.Duration, close bool) time.Duration {
	const step = 100 * time.Millisecond
	switch {
	case left <= 0:
		return time.Millisecond
	case close || left <= step:
		return min(left, step)
	}
	return max(step, left*3/4)
}

// reason is why a guardian ends.
type reason uint8

const (
	endStop     reason = iota + 1 // to plan
	endAbort                      // the node gave the epoch up
	endDeadline                   // the lease is running out
	endOrphan                     // the node is dead
	endHook                       // a lord hook failed
	endBroken                     // what came from the node made no sense
	endLost                       // the guardian itself is gone; only the node's handle says so
)

var reasonNames = [...]string{"", "stop", "abort", "deadline", "node died", "lord hook failed", "broken channel", "guardian lost"}

func (r reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return "unknown"
}

// graceFor is how long programs have from their stop signal to SIGKILL. Ends that were not planned stay clear of the kill
// time; when unlord hooks are to follow, these get a part of what little time there is.
func graceFor(why reason, d deadline, now clock.Reading, asked time.Duration, hooks bool) time.Duration {
	t := d.timing
	grace := t.Grace
	switch why {
	case endStop:
		return asked // the node goes on renewing; the kill time bounds it all the same
	case endDeadline:
		grace = t.Soft - t.Kill
	}
	if d.forever {
		return t.Grace
	}
	grace = min(grace, d.toKill(now))
	if hooks {
		reserve := min(t.Soft/4, (t.Soft-t.Kill)/2)
		grace = min(grace, d.toKill(now)-reserve)
	}
	return max(grace, 0)
}
