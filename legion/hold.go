package legion

import (
	"time"

	"github.com/cohortd/cohort/cachefsm/lord"
	"github.com/cohortd/cohort/clock"
)

// holdPhase is how far this node is with the epoch it was offered.
type holdPhase uint8

const (
	idle      holdPhase = iota
	accepting           // offered: renewing, not lord yet
	ruling              // lord while the clock says so
	stopping            // lord no more; what it ran is being ended, then the epoch is released
)

const (
	acceptMargin = 500 * time.Millisecond // a lease must reach this far past its soft deadline to become lord (R7)
	releaseRetry = 200 * time.Millisecond
)

// doing is what the holder wants done.
type doing uint8

const (
	doRenew   doing = iota + 1 // send a renewal, with epoch, seq, try
	doStart                    // start what the epoch runs, with epoch, since
	doExtend                   // a newer renewal counts from since
	doStop                     // planned
	doAbort                    // forced
	doKill                     // the second killer (R13)
	doRelease                  // epoch, boot, reason
	doGain                     // became lord of epoch
	doLose                     // stopped being lord of epoch, with why
	doAlarm                    // with why: an operator must look
)

type action struct {
	do     doing
	epoch  uint64
	boot   uint64
	seq    uint64
	try    int // 0: the first of its round
	since  clock.Reading
	reason lord.Reason
	why    string
}

// holder is what a node does with the epochs it is offered, as a pure machine: every call brings the moment and answers
// what to do. It holds one epoch at a time.
type holder struct {
	legion, node string
	boot         uint64
	swept        bool   // nothing of older boots is left on this machine
	over         uint64 // epochs up to this one have ended here
	phase        holdPhase
	epoch        uint64
	numbers      lord.Numbers

	renewing  bool
	seq       uint64    // last sent
	sent      []request // unanswered
	round     uint64    // first seq of the round
	roundAt   clock.Reading
	try       int
	sentAt    clock.Reading
	confirmed uint64        // greatest seq confirmed
	since     clock.Reading // its t_s: the lease ends at since + L

	ward     wardPhase
	planned  bool // stopping to plan: renewals go on
	killed   bool // for the deadline of since
	reason   lord.Reason
	undone   bool // everything was reaped and the hooks undone
	asked    bool // a Release was sent, first at askedAt, last at released
	askedAt  clock.Reading
	released clock.Reading

	older   uint64 // epoch of an older boot that was released
	olderAt clock.Reading
}

type wardPhase uint8

const (
	noWard wardPhase = iota
	wardStarting
	wardUp
)

func newHolder(legion, node string, boot uint64, swept bool) *holder {
	return &holder{legion: legion, node: node, boot: boot, swept: swept}
}

// wish is what the node wants, whatever the table says.
type wish struct {
	decline bool // no offers, please
	quit    bool // and nothing that is held either
}

// step looks at the table and the clock.
func (h *holder) step(now clock.Reading, s lord.State, w wish) []action {
	out := h.deadlines(now, nil)
	out = h.follow(now, s, w, out)
	out = h.renew(now, out)
	return h.release(now, out)
}

// deadlines comes before everything else in every call: an answer that arrives after the soft deadline passed does not
// bring the lordship back (R11).
func (h *holder) deadlines(now clock.Reading, out []action) []action {
	if h.confirmed == 0 || h.phase == idle {
		return out
	}
	left := h.left(now)
	if left <= h.numbers.Soft && (h.phase == ruling || h.phase == stopping && h.planned) {
		out = h.force(lord.Lost, "the lease was not renewed in time", out)
	}
	if left <= h.numbers.Kill && h.ward != noWard && !h.killed {
		h.killed = true
		out = append(out, action{do: doKill, epoch: h.epoch})
	}
	return out
}

// follow does what the table says.
func (h *holder) follow(now clock.Reading, s lord.State, w wish, out []action) []action {
	if h.phase == idle {
		return h.offered(now, s, w, out)
	}
	ended := s.Epoch > h.epoch || s.Epoch == h.epoch && (s.Phase == lord.Vacant || s.Phase == lord.Revoked)
	switch {
	case ended:
		out = h.end("the table ended it", out)
		if s.Epoch > h.epoch || s.Phase == lord.Vacant {
			h.gone()
		}
		if h.phase == idle {
			return h.offered(now, s, w, out)
		}
	case h.phase == accepting && w.decline:
		out = h.plan(lord.Declined, "declined", out)
	case h.phase == ruling && w.quit:
		out = h.plan(lord.Planned, "stopping", out)
	case h.phase != stopping && s.Epoch == h.epoch && s.Phase == lord.Releasing:
		out = h.plan(lord.Planned, "handed over", out)
	}
	return out
}

// offered takes an offer, or releases what an older boot of this node left behind.
func (h *holder) offered(now clock.Reading, s lord.State, w wish, out []action) []action {
	if s.Phase == lord.Vacant || s.Holder != h.node || s.Epoch <= h.over {
		return out
	}
	if s.Boot != h.boot {
		// Only boots before this one: their counter is smaller (R30, R31).
		if h.swept && s.Boot>>32 < h.boot>>32 && (h.older != s.Epoch || now.Longest(h.olderAt) >= releaseRetry) {
			h.older, h.olderAt = s.Epoch, now
			out = append(out, action{do: doRelease, epoch: s.Epoch, boot: s.Boot, reason: lord.Dead})
		}
		return out
	}
	if s.Phase != lord.Offered && s.Phase != lord.Held {
		return out
	}
	*h = holder{
		legion: h.legion, node: h.node, boot: h.boot, swept: h.swept, over: h.over,
		phase: accepting, epoch: s.Epoch, numbers: s.Numbers, renewing: true,
	}
	if w.decline {
		return h.plan(lord.Declined, "declined", out)
	}
	return out
}

// plan begins an orderly stop: renewals go on until everything is down (R15).
func (h *holder) plan(reason lord.Reason, why string, out []action) []action {
	if h.phase == ruling {
		out = append(out, action{do: doLose, epoch: h.epoch, why: why})
	}
	h.phase, h.planned, h.reason = stopping, true, reason
	switch h.ward {
	case noWard:
		h.undone, h.renewing = true, false
	case wardUp:
		out = append(out, action{do: doStop, epoch: h.epoch})
	}
	return out
}

// force stops at once: what runs has until crash-grace, and never past D - K.
func (h *holder) force(reason lord.Reason, why string, out []action) []action {
	if h.phase == ruling {
		out = append(out, action{do: doLose, epoch: h.epoch, why: why})
	}
	if h.phase == stopping && !h.planned {
		return out
	}
	h.phase, h.planned, h.renewing, h.reason = stopping, false, false, reason
	switch h.ward {
	case noWard:
		h.undone = true
	case wardUp:
		out = append(out, action{do: doAbort, epoch: h.epoch})
	}
	return out
}

// end is force for an epoch that the table has ended or revoked. A Release that comes to nothing is harmless.
func (h *holder) end(why string, out []action) []action {
	return h.force(lord.Lost, why, out)
}

// gone forgets an epoch that the table shows ended, once nothing of it runs here.
func (h *holder) gone() {
	if h.phase == stopping && h.ward == noWard {
		h.close()
	}
}

func (h *holder) close() {
	h.over = max(h.over, h.epoch)
	h.phase, h.renewing, h.sent, h.confirmed = idle, false, nil, 0
}

// started tells that what the epoch runs is up, or could not be started.
func (h *holder) started(now clock.Reading, epoch uint64, ok bool) []action {
	out := h.deadlines(now, nil)
	if epoch != h.epoch || h.ward != wardStarting {
		return out
	}
	if !ok {
		h.ward = noWard
		out = h.force(lord.Failed, "the guardian did not start", out)
		h.reason, h.undone, h.renewing = lord.Failed, true, false
		return out
	}
	h.ward = wardUp
	switch {
	case h.phase == stopping && h.planned:
		out = append(out, action{do: doExtend, epoch: epoch, since: h.since}, action{do: doStop, epoch: epoch})
	case h.phase == stopping:
		out = append(out, action{do: doAbort, epoch: epoch})
	default:
		out = append(out, action{do: doExtend, epoch: epoch, since: h.since})
	}
	if h.killed {
		out = append(out, action{do: doKill, epoch: epoch})
	}
	return out
}

// ended tells that the guardian began to end, for whatever reason. That is final (R20).
func (h *holder) ended(now clock.Reading, epoch uint64) []action {
	out := h.deadlines(now, nil)
	if epoch != h.epoch || h.ward == noWard || h.phase == stopping {
		return out
	}
	return h.force(lord.Lost, "its guardian ended", out)
}

// down tells that everything the epoch ran is reaped, and how it went.
func (h *holder) down(now clock.Reading, epoch uint64, o Outcome) []action {
	out := h.deadlines(now, nil)
	if epoch != h.epoch || h.ward == noWard {
		return out
	}
	h.ward = noWard
	if h.phase == ruling {
		out = h.force(lord.Lost, "its guardian ended", out)
	}
	if o.HookFailed {
		h.reason = lord.Failed
	}
	h.renewing, h.undone = false, o.Undone
	if !o.Undone {
		// Not safe to say that all is gone; the lease must run out (R16).
		h.close()
		out = append(out, action{do: doAlarm, epoch: epoch, why: "an unlord hook failed: the lease has to run out"})
	}
	return out
}

// release says that all is gone, until the table has heard it.
func (h *holder) release(now clock.Reading, out []action) []action {
	if h.phase != stopping || h.ward != noWard || !h.undone {
		return out
	}
	if h.asked && now.Longest(h.released) < releaseRetry {
		return out
	}
	if !h.asked {
		h.asked, h.askedAt = true, now
	}
	h.released = now
	return append(out, action{do: doRelease, epoch: h.epoch, boot: h.boot, reason: h.reason})
}

// releasedNow tells what came of a Release: applied, or refused because the table had ended the epoch already.
func (h *holder) releasedNow(epoch uint64) {
	if epoch == h.epoch && h.phase == stopping && h.ward == noWard {
		h.close()
	}
}

// busy says whether an epoch is still being ended here.
func (h *holder) busy() bool { return h.phase != idle }

// asking is for how long only the answer to a Release has been missing.
func (h *holder) asking(now clock.Reading) time.Duration {
	if h.phase != stopping || h.ward != noWard || !h.asked {
		return 0
	}
	return now.Longest(h.askedAt)
}

// next is how long nothing needs to be done, if nothing happens.
func (h *holder) next(now clock.Reading, most time.Duration) time.Duration {
	wait := most
	sooner := func(d time.Duration) { wait = min(wait, max(d, 0)) }
	if h.renewing {
		if h.confirmed >= h.round {
			sooner(h.numbers.Renew - now.Longest(h.roundAt))
		} else {
			sooner(h.retry(now) - now.Longest(h.sentAt))
		}
	}
	if h.confirmed > 0 {
		left := h.left(now)
		if h.phase == ruling || h.phase == stopping && h.planned {
			sooner(left - h.numbers.Soft)
		}
		if h.ward != noWard && !h.killed {
			sooner(left - h.numbers.Kill)
		}
	}
	if h.phase == stopping && h.ward == noWard && h.asked {
		sooner(releaseRetry - now.Longest(h.released))
	}
	return wait
}
