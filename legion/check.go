package legion

import (
	"errors"
	"fmt"
	"time"

	"github.com/cohortd/cohort/cachefsm/lord"
)

// Raft is the times of the group in which leases are agreed.
type Raft struct{ Heartbeat, Election, LeaderLease time.Duration }

// Reelection is E99: in 99 of 100 leader losses another one has committed by then.
func (r Raft) Reelection() time.Duration { return 3 * max(r.Heartbeat, r.Election) }

// Default is a legion with every time at its default. An ini changes what it names.
func Default() Config {
	return Config{
		Quorum:       1,
		HookTimeout:  30 * time.Second,
		LordError:    3 * time.Second,
		PreemptDelay: 10 * time.Second,
		Announce:     time.Second,
		Numbers:      lord.Defaults(),
	}
}

// WithDefaults fills what was left zero, but for the preempt delay, where zero means at once.
func (c Config) WithDefaults() Config {
	d := Default()
	if c.Quorum == 0 {
		c.Quorum = d.Quorum
	}
	if c.HookTimeout == 0 {
		c.HookTimeout = d.HookTimeout
	}
	if c.LordError == 0 {
		c.LordError = d.LordError
	}
	if c.Announce == 0 {
		c.Announce = d.Announce
	}
	c.Numbers = c.Numbers.WithDefaults()
	return c
}

const (
	stopMargin = 300 * time.Millisecond // between the soft deadline's TERM and the KILL
	slack      = 500 * time.Millisecond
)

// Check finds times that could not keep the promise or would lose the lord without need, and everything else that the
// ini may get wrong. It says all at once.
func (c Config) Check(raft Raft) error {
	c = c.WithDefaults()
	return errors.Join(c.checkFields(), checkNumbers(c.Numbers, raft))
}

func (c Config) checkFields() error {
	var errs []error
	must := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("legion %s: "+format, append([]any{c.Name}, args...)...))
		}
	}
	must(c.Name != "" && len(c.Name) <= 255, "the name must have 1 to 255 bytes")
	must(c.Secret != "", "a secret is needed")
	must(c.Valor >= 0 && c.Valor <= maxValor, "valor %d is not between 0 and %d", c.Valor, maxValor)
	must(c.Quorum >= 0, "quorum %d is negative", c.Quorum)
	must(len(c.Scroll) <= maxScroll, "the scroll has %d bytes, more than %d", len(c.Scroll), maxScroll)
	must(c.Announce >= 100*time.Millisecond && c.Announce <= time.Minute, "announcing every %v is not between 100ms and 1m", c.Announce)
	must(c.HookTimeout > 0, "hook timeout %v is not above zero", c.HookTimeout)
	must(c.LordError > 0, "suspension %v is not above zero", c.LordError)
	must(c.PreemptDelay >= 0, "preempt delay %v is negative", c.PreemptDelay)
	return errors.Join(errs...)
}

func checkNumbers(n lord.Numbers, raft Raft) error {
	var errs []error
	must := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("lease: "+format, args...))
		}
	}
	again := raft.Reelection()
	must(n.Rho > 0 && n.Rho <= 0.1, "clock rate error %g is not between 0 and 0.1", n.Rho)
	must(n.Stall+n.Reap <= n.Kill,
		"stall %v + reap %v must be at most kill %v: the last killer would come too late", n.Stall, n.Reap, n.Kill)
	must(n.Kill+stopMargin <= n.Soft,
		"kill %v + %v must be at most soft %v: no time to stop before the kill", n.Kill, stopMargin, n.Soft)
	must(n.Lease-n.Soft >= n.Renew+n.Retry+again+slack,
		"lease %v - soft %v must be at least renew %v + retry %v + raft election %v + %v: each election would cost the lord",
		n.Lease, n.Soft, n.Renew, n.Retry, again, slack)
	must(n.Renew <= (n.Lease-n.Soft)/4,
		"renew %v must be at most a quarter of lease %v - soft %v", n.Renew, n.Lease, n.Soft)
	must(n.Lease-n.Renew >= n.Soft+slack,
		"lease %v - renew %v must be at least soft %v + %v", n.Lease, n.Renew, n.Soft, slack)
	must(n.Retry > 0 && n.Retry <= n.Renew, "retry %v must be above zero and at most renew %v", n.Retry, n.Renew)
	must(n.Grace >= 0 && n.StopGrace >= 0, "crash-grace %v and stop-grace %v must not be negative", n.Grace, n.StopGrace)
	must(n.Offer >= 50*time.Millisecond && n.Offer <= n.Lease, "offer-timeout %v is not between 50ms and lease %v", n.Offer, n.Lease)
	must(n.Lease <= time.Hour && n.StopGrace <= time.Hour, "lease %v and stop-grace %v must be at most an hour", n.Lease, n.StopGrace)
	must(raft.LeaderLease == raft.Heartbeat,
		"raft's leader lease %v must equal its heartbeat timeout %v", raft.LeaderLease, raft.Heartbeat)
	return errors.Join(errs...)
}
