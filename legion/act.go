package legion

import (
	"context"
	"time"

	"github.com/cohortd/cohort/cachefsm/lord"
	"github.com/cohortd/cohort/cachefsm/op"
	"github.com/cohortd/cohort/clock"
)

const releaseWait = time.Second // for one try to have a Release agreed

// hold does what the holder wants done. What IsLord computes from changes first.
func (l *Legion) hold(todo []action) {
	h := l.run.holder
	if now := h.lease(); now == nil || l.held.Load() == nil || *now != *l.held.Load() {
		l.held.Store(now)
	}
	for _, a := range todo {
		switch a.do {
		case doRenew:
			l.sendRenewal(a, h.numbers)
		case doStart:
			l.startWard(a, h.numbers)
		case doExtend:
			l.withWard(func(w Ward) { w.Extend(a.since) })
		case doStop:
			l.withWard(func(w Ward) { w.Stop(h.numbers.StopGrace) })
		case doAbort:
			l.withWard(Ward.Abort)
		case doKill:
			l.log.Warn("killing what the lord ran", "epoch", a.epoch)
			l.withWard(Ward.Kill)
		case doRelease:
			l.sendRelease(a)
		case doGain:
			l.gain(a.epoch)
		case doLose:
			l.lose(a.epoch, a.why)
		case doAlarm:
			l.stats.alarms.Add(1)
			l.log.Error("lordship did not end cleanly", "epoch", a.epoch, "why", a.why)
		}
	}
}

func (l *Legion) withWard(do func(Ward)) {
	if l.run.ward != nil {
		do(l.run.ward)
	}
}

func (l *Legion) gain(epoch uint64) {
	ctx, cancel := context.WithCancel(l.run.work)
	l.reign.Store(&reign{ctx: ctx, cancel: cancel, epoch: epoch})
	l.stats.gained.Add(1)
	l.log.Info("this node is lord", "epoch", epoch)
}

func (l *Legion) lose(epoch uint64, why string) {
	if r := l.reign.Load(); r != nil {
		r.cancel()
	}
	l.stats.lost.Add(1)
	l.log.Info("this node is lord no more", "epoch", epoch, "why", why)
}

// sendRenewal counts from the moment the holder decided to send it, which is before it is sent.
func (l *Legion) sendRenewal(a action, n lord.Numbers) {
	r := &l.run
	cmd := lord.Renew(l.deps.ID, a.boot, lord.Renewal{Legion: l.cfg.Name, Epoch: a.epoch, Seq: a.seq})
	via := l.via(a.try)
	l.stats.renewals.Add(1)
	r.wg.Go(func() {
		// Confirmed later than this, it would be past its soft deadline.
		ctx, cancel := context.WithTimeout(r.work, n.Lease-n.Soft)
		defer cancel()
		res, err := l.deps.Control.Do(ctx, cmd, via)
		if err != nil {
			l.stats.renewalsLost.Add(1)
			l.log.Debug("renewal not confirmed", "seq", a.seq, "via", via, "err", err)
			return
		}
		code := res.Code
		if codes := lord.Answers(res); len(codes) == 1 {
			code = codes[0]
		}
		l.post(func(now clock.Reading) { l.hold(r.holder.answer(now, a.epoch, a.seq, code)) })
	})
}

// via is the way a renewal goes: the first of a round to the leader as known, then every other one through another
// voter, so a cut between this node and the leader alone does not cost lordship (R9).
func (l *Legion) via(try int) string {
	if try%2 == 0 {
		return ""
	}
	var voters []string
	for _, p := range l.deps.Peers.Peers() {
		if p.Voter && p.Alive && p.ID != l.deps.ID {
			voters = append(voters, p.ID)
		}
	}
	if len(voters) == 0 {
		return ""
	}
	return voters[try/2%len(voters)]
}

func (l *Legion) sendRelease(a action) {
	r := &l.run
	cmd := lord.Release(l.cfg.Name, a.epoch, a.boot, a.reason)
	r.wg.Go(func() {
		ctx, cancel := context.WithTimeout(r.work, releaseWait)
		defer cancel()
		res, err := l.deps.Control.Do(ctx, cmd, "")
		if err != nil {
			l.log.Debug("release not agreed", "epoch", a.epoch, "err", err)
			return
		}
		if res.Code == op.OK || res.Code == op.Refused {
			l.log.Debug("released", "epoch", a.epoch, "reason", a.reason, "code", res.Code)
			l.post(func(clock.Reading) {
				if a.boot == l.deps.Boot {
					r.holder.releasedNow(a.epoch)
				}
			})
		}
	})
}

// startWard starts what the epoch runs and then follows it to its end.
func (l *Legion) startWard(a action, n lord.Numbers) {
	r := &l.run
	ticket, err := NewTicket(l.cfg.Name, l.deps.ID, l.deps.Boot, a.epoch).Seal(l.deps.TicketKey)
	if err != nil {
		l.log.Error("no release ticket for this epoch", "err", err) // costs time if this process dies, nothing else
	}
	c := Charge{
		Legion: l.cfg.Name, Node: l.deps.ID, Epoch: a.epoch, Numbers: n, Since: a.since,
		LordHooks: l.cfg.Lord, UnlordHooks: l.cfg.Unlord, HookTimeout: l.cfg.HookTimeout, Ticket: ticket,
	}
	r.wg.Go(func() {
		w, err := l.start(c)
		l.post(func(now clock.Reading) {
			if err != nil {
				l.log.Error("cannot start what the lord runs", "epoch", a.epoch, "err", err)
			} else {
				r.ward = w
			}
			l.hold(r.holder.started(now, a.epoch, err == nil))
		})
		if err == nil {
			l.attend(a.epoch, w)
		}
	})
}

func (l *Legion) start(c Charge) (Ward, error) {
	if l.deps.Guard == nil {
		return newEmptyWard(), nil
	}
	return l.deps.Guard.Start(c)
}

// attend tells the holder of the ward's end.
func (l *Legion) attend(epoch uint64, w Ward) {
	r := &l.run
	select {
	case <-w.Ended():
		l.post(func(now clock.Reading) { l.hold(r.holder.ended(now, epoch)) })
	case <-w.Down():
	case <-r.abandoned:
		return
	}
	select {
	case <-w.Down():
		l.post(func(now clock.Reading) {
			r.ward = nil
			l.hold(r.holder.down(now, epoch, w.Outcome()))
		})
	case <-r.abandoned:
	}
}

// proposed logs and counts what came of a proposal.
func (l *Legion) proposed(p proposal, res op.Result, err error) {
	if err != nil || res.Code != op.OK {
		l.log.Debug("proposal came to nothing", "what", p.what, "node", p.node, "code", res.Code, "err", err)
		return
	}
	switch p.what {
	case "grant":
		l.stats.grants.Add(1)
	case "expire":
		l.stats.expires.Add(1)
	case "handover":
		l.stats.handovers.Add(1)
	case "revoke":
		l.stats.revokes.Add(1)
	}
	name := p.node
	if m, ok := l.View().Member(p.node); ok && m.Name != "" {
		name = m.Name
	}
	l.log.Debug("agreed on lordship", "what", p.what, "to", name, "why", p.why)
}
