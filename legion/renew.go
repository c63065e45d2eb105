package legion

import (
	"time"

	"github.com/cohortd/cohort/cachefsm/lord"
	"github.com/cohortd/cohort/cachefsm/op"
	"github.com/cohortd/cohort/clock"
)

// request is one renewal under way.
type request struct {
	seq uint64
	at  clock.Reading // t_s
}

// left is how long the lease still lasts, on the faster clock (R5).
func (h *holder) left(now clock.Reading) time.Duration {
	return h.numbers.Lease - now.Longest(h.since)
}

// lease is what IsLord computes from (R10).
type lease struct {
	epoch   uint64
	since   clock.Reading
	numbers lord.Numbers
}

// valid says how long the lordship still counts; zero or less is not at all.
func (l *lease) valid(now clock.Reading) time.Duration {
	if l == nil {
		return 0
	}
	return l.numbers.Lease - l.numbers.Soft - now.Longest(l.since)
}

// lease is nil unless this node rules.
func (h *holder) lease() *lease {
	if h.phase != ruling {
		return nil
	}
	return &lease{h.epoch, h.since, h.numbers}
}

// renew sends a renewal when one is due: once a round, and again while it is unanswered, each with its own t_s.
func (h *holder) renew(now clock.Reading, out []action) []action {
	if !h.renewing {
		return out
	}
	answered := h.round > 0 && h.confirmed >= h.round
	switch {
	case h.round == 0, answered && now.Longest(h.roundAt) >= h.numbers.Renew:
		h.round, h.roundAt, h.try = h.seq+1, now, 0
	case !answered && now.Longest(h.sentAt) >= h.retry(now):
		h.try++
	default:
		return out
	}
	h.seq++
	h.sentAt = now
	for len(h.sent) > 0 && now.Longest(h.sent[0].at) >= h.numbers.Lease {
		h.sent = h.sent[1:] // its answer could not help any more
	}
	h.sent = append(h.sent, request{h.seq, now})
	return append(out, action{do: doRenew, epoch: h.epoch, boot: h.boot, seq: h.seq, try: h.try})
}

// retry is how soon an unanswered renewal is repeated. When nobody has answered for a whole lease there is no hurry.
func (h *holder) retry(now clock.Reading) time.Duration {
	if now.Longest(h.roundAt) >= h.numbers.Lease {
		return h.numbers.Renew
	}
	return h.numbers.Retry
}

// answer takes what came of one renewal. Only for this request's own t_s does it count (R8).
func (h *holder) answer(now clock.Reading, epoch, seq uint64, code op.Code) []action {
	out := h.deadlines(now, nil)
	if epoch != h.epoch || h.phase == idle {
		return out
	}
	var at clock.Reading
	known := false
	for i, r := range h.sent {
		if r.seq == seq {
			at, known = r.at, true
			h.sent = append(h.sent[:i:i], h.sent[i+1:]...)
			break
		}
	}
	if code == op.Refused {
		// For good, whichever renewal it was: an epoch that ended never comes back (R14).
		return h.end("a renewal was refused", out)
	}
	if code != op.OK || !known || seq <= h.confirmed || !h.renewing {
		return out
	}
	h.confirmed, h.since, h.killed = seq, at, false
	if h.ward == wardUp {
		out = append(out, action{do: doExtend, epoch: h.epoch, since: at})
	}
	if h.phase == accepting && h.left(now) >= h.numbers.Soft+acceptMargin {
		h.phase, h.ward = ruling, wardStarting
		out = append(out, action{do: doGain, epoch: h.epoch}, action{do: doStart, epoch: h.epoch, since: at})
	}
	return out
}
