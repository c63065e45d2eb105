// Package lord is the pure table of who may rule each legion.
//
// Every change is a command with a guard: a command that comes late, twice or from a leader that is none any more
// finds its guard broken, changes nothing and answers op.Refused. The table asks no clock. When a lease has run out is
// found by whoever grants, by counting on its own clock since it saw the last renewal applied, and that renewal is named
// in the command, so a renewal that came in between wins. docs/lease.md holds the rules, cited here as R1, R2 and so on.
//
// One goroutine applies; State may be called from any other at the same time.
package lord

import (
	"math"
	"time"
)

// Numbers are the times of one grant. Holder and guardian use the numbers of the grant, never their own
// ini: nodes with different files still agree on when a lease ends.
type Numbers struct {
	Lease     time.Duration // L: a renewal sent at t holds until t+L
	Renew     time.Duration // R: how often the holder renews
	Retry     time.Duration // how often an unanswered renewal is sent again
	Soft      time.Duration // G: this long before the end it is lord no more and stops what it runs
	Kill      time.Duration // K: this long before the end all is killed
	Stall     time.Duration // S: how long the last killer may be kept from running
	Reap      time.Duration // Kd: from SIGKILL to reaped
	Grace     time.Duration // crash-grace: TERM to KILL when the node died
	StopGrace time.Duration // stop-grace: TERM to KILL when all goes to plan
	Offer     time.Duration // offer-timeout: how long a grant may wait for its first renewal
	Rho       float64       // most that a clock's rate may be off, as a fraction
}

// Defaults are the numbers for ordinary hosts. They bear raft elections and stalls of a second without losing the lord.
func Defaults() Numbers {
	return Numbers{
		Lease:     5 * time.Second,
		Renew:     500 * time.Millisecond,
		Retry:     100 * time.Millisecond,
		Soft:      1500 * time.Millisecond,
		Kill:      time.Second,
		Stall:     700 * time.Millisecond,
		Reap:      200 * time.Millisecond,
		Grace:     500 * time.Millisecond,
		StopGrace: 10 * time.Second,
		Offer:     500 * time.Millisecond,
		Rho:       0.01,
	}
}

// WithDefaults fills what was left zero.
func (n Numbers) WithDefaults() Numbers {
	d := Defaults()
	for _, f := range []struct{ have, want *time.Duration }{
		{&n.Lease, &d.Lease},
		{&n.Renew, &d.Renew},
		{&n.Retry, &d.Retry},
		{&n.Soft, &d.Soft},
		{&n.Kill, &d.Kill},
		{&n.Stall, &d.Stall},
		{&n.Reap, &d.Reap},
		{&n.Grace, &d.Grace},
		{&n.StopGrace, &d.StopGrace},
		{&n.Offer, &d.Offer},
	} {
		if *f.have == 0 {
			*f.have = *f.want
		}
	}
	if n.Rho == 0 {
		n.Rho = d.Rho
	}
	return n
}

// Wait is W: how long whoever grants lets pass, on its own clock, after the last renewal it saw applied. With both
// clocks off by Rho in the worst directions the holder's lease is over by then.
func (n Numbers) Wait() time.Duration {
	return time.Duration(math.Ceil(float64(n.Lease) * (1 + n.Rho) / (1 - n.Rho)))
}

const (
	longest = time.Hour
	most    = 0.5 // greatest Rho that is still called a clock
)

// sane says whether these numbers can be a grant's at all. The finer rules, with raft's times in them, are checked
// where the ini is read; this is what a table asks of a command from a node it does not trust.
func (n Numbers) sane() bool {
	for _, d := range []time.Duration{n.Lease, n.Renew, n.Retry, n.Kill, n.Offer} {
		if d < time.Millisecond || d > longest {
			return false
		}
	}
	for _, d := range []time.Duration{n.Soft, n.Stall, n.Reap, n.Grace, n.StopGrace} {
		if d < 0 || d > longest {
			return false
		}
	}
	return n.Rho >= 0 && n.Rho <= most && n.Kill < n.Soft && n.Soft < n.Lease && n.Renew < n.Lease && n.Retry <= n.Renew
}
