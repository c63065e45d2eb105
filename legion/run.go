package legion

import (
	"context"
	"errors"
	"time"

	"github.com/cohortd/cohort/cachefsm/lord"
	"github.com/cohortd/cohort/clock"
)

const (
	evaluate        = 100 * time.Millisecond // how often everything is looked at, if nothing happens
	drainPatience   = 2 * time.Second        // until a draining lord stops without having been asked by the granter
	betweenNews     = 20 * time.Millisecond  // least time between two announcements
	retryPropose    = 100 * time.Millisecond
	releasePatience = 2 * time.Second
	proposeWait     = 2 * time.Second
)

// errStuck says that what an epoch ran is still not gone long after it was killed.
var errStuck = errors.New("legion: a killed process does not go away; the lease has to run out")

// Run lives until ctx ends, then stops what it rules, releases the lease, says farewell and returns when all that it
// started is gone. The node has swept what older boots left before it calls Run (R30).
func (l *Legion) Run(ctx context.Context, ready func()) error {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	r := &l.run
	r.work = work
	r.abandoned = make(chan struct{})
	r.holder = newHolder(l.cfg.Name, l.deps.ID, l.deps.Boot, l.deps.Swept)
	r.granter = newGranter(rules{
		quorum: l.cfg.Quorum, preempt: l.cfg.PreemptDelay, noPreempt: l.cfg.NoPreempt,
		announce: l.cfg.Announce, lordError: l.cfg.LordError, numbers: l.cfg.Numbers,
	})
	r.present = map[string]bool{}
	r.wg.Go(func() { l.hooks.serve(context.WithoutCancel(ctx)) })
	l.hook("setup", l.cfg.Setup)
	ready()
	err := l.loop(ctx)
	l.hook("death", l.cfg.Death)
	l.hooks.finish()
	close(r.abandoned)
	cancel() // renewals and proposals; hooks end by their own limit
	r.wg.Wait()
	return err
}

func (l *Legion) loop(ctx context.Context) error {
	timer := time.NewTimer(evaluate)
	defer timer.Stop()
	done := ctx.Done()
	var since clock.Reading // when the end was asked for
	for {
		// Taken before looking: what comes while a turn is under way wakes the next.
		applied, peers := l.deps.Control.Applied(), l.deps.Peers.Changed()
		now, wait := l.turn()
		if l.run.quitting {
			if l.finished(now) {
				l.farewell(now)
				return nil
			}
			if now.Longest(since) > l.patience() {
				l.farewell(now)
				return errStuck
			}
		}
		timer.Reset(wait)
		select {
		case <-done:
			done, l.run.quitting, since = nil, true, l.deps.Clock.Now()
		case <-applied:
		case <-peers:
		case <-l.poke:
		case <-timer.C:
		}
	}
}

// finished says whether nothing is left to do here: this node holds nothing, and if it leads, the next lord is granted.
func (l *Legion) finished(now clock.Reading) bool {
	h := l.run.holder
	if h.busy() {
		return h.asking(now) > releasePatience // nobody agrees on anything; the lease runs out
	}
	if r := &l.run; !r.ended {
		r.ended, r.endedAt = true, now
	}
	v := l.View()
	return !l.deps.Control.Leading() || v.heir == "" || v.Phase != lord.Vacant || now.Longest(l.run.endedAt) > releasePatience
}

// patience is how long the end may take: an orderly stop, and a lease after it.
func (l *Legion) patience() time.Duration {
	n := l.run.holder.numbers
	return n.StopGrace + revokeMargin + 2*n.Lease
}

// turn looks at everything once and does what there is to do. It answers when that was and how long it may sleep.
func (l *Legion) turn() (now clock.Reading, wait time.Duration) {
	r := &l.run
	l.mu.Lock()
	events := l.events
	l.events = nil
	l.mu.Unlock()
	s := l.deps.State(l.cfg.Name)
	// The clock comes after the table: this process may be stopped between any two lines, and what is seen applied must
	// not count from before it was (R6).
	now = l.deps.Clock.Now()
	for _, event := range events {
		event(now)
	}
	members, w := l.muster(now, s)
	r.granter.watch(now, s, members, l.deps.ID)
	due := l.speak(now, s, members)
	l.hold(r.holder.step(now, s, w))
	l.propose(now, s)
	l.publish(now, s, members)
	l.fetchScrolls(now)
	return now, min(r.holder.next(now, evaluate), due)
}

// muster is who is here, this node included, and what this node wants.
func (l *Legion) muster(now clock.Reading, s lord.State) ([]Member, wish) {
	peers := l.deps.Peers.Peers()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stepped && now.Longest(l.steppedAt) >= stepHold {
		l.stepped = false
	}
	draining := l.draining || l.run.quitting
	w := wish{decline: draining, quit: l.run.quitting || l.draining && now.Longest(l.drained) >= drainPatience}
	self := Member{
		ID: l.deps.ID, Name: l.deps.Name, Boot: l.deps.Boot, Valor: l.valor, Draining: draining, Stepped: l.stepped,
		Suspended: l.run.granter.barredThisRound.suspended[l.deps.ID], Lord: l.run.holder.phase == ruling,
		Vote: l.run.granter.best, Epoch: s.Epoch, Scroll: l.cfg.Scroll, Alive: true, Fresh: true, Heard: now,
	}
	members := append(l.roll.members(now, l.cfg.Announce, peers), self)
	sortMembers(members)
	return members, w
}

// speak announces this node when it has something new to say, or once an interval. It answers when the next is due.
func (l *Legion) speak(now clock.Reading, s lord.State, members []Member) time.Duration {
	r := &l.run
	self, _ := find(members, l.deps.ID)
	a := announcement{
		valor: uint32(self.Valor), epoch: s.Epoch, view: viewHash(members), scrolls: 1,
		scrollLen: uint32(len(self.Scroll)), digest: digest(self.Scroll),
	}
	for f, on := range map[flags]bool{
		flagDraining: self.Draining, flagSuspended: self.Suspended, flagStepped: self.Stepped, flagLord: self.Lord,
	} {
		if on {
			a.flags |= f
		}
	}
	a.vote, _ = parseID(r.granter.best)
	if len(self.Scroll) <= inlineScroll {
		a.scroll = []byte(self.Scroll)
	}
	ago := now.Longest(r.saidAt)
	if !r.spoke || ago >= l.cfg.Announce || l.news(a) && ago >= betweenNews {
		a.left = l.held.Load().valid(now)
		l.announce(now, a)
		return l.cfg.Announce
	}
	if l.news(a) {
		return betweenNews - ago
	}
	return l.cfg.Announce - ago
}

// news says whether a differs from what was said last, but for what changes all the time.
func (l *Legion) news(a announcement) bool {
	b := l.run.said
	return a.valor != b.valor || a.flags != b.flags || a.vote != b.vote || a.epoch != b.epoch || a.digest != b.digest
}

func (l *Legion) announce(now clock.Reading, a announcement) {
	l.mu.Lock()
	sealed, err := l.sealer.seal(a.encode())
	if err == nil {
		l.own = sealed
	}
	l.mu.Unlock()
	if err != nil {
		l.log.Error("cannot announce", "err", err)
		return
	}
	l.run.said, l.run.saidAt, l.run.spoke = a, now, true
	l.stats.said.Add(1)
	l.deps.Gossip.Spread(l.key(l.id), sealed)
}

// farewell takes this node out of the others' view at once.
func (l *Legion) farewell(now clock.Reading) {
	a := l.run.said
	a.flags |= flagLeaving | flagDraining
	a.flags &^= flagLord
	a.left = 0
	l.announce(now, a)
}

// propose has the granter decide, if this node leads. One proposal at a time is under way.
func (l *Legion) propose(now clock.Reading, s lord.State) {
	r := &l.run
	if r.proposing || !l.deps.Control.Leading() || r.failed && now.Longest(r.failedAt) < retryPropose {
		return
	}
	p, ok := r.granter.decide(now, s)
	if !ok {
		return
	}
	r.proposing = true
	r.wg.Go(func() {
		ctx, cancel := context.WithTimeout(r.work, proposeWait)
		defer cancel()
		res, err := l.deps.Control.Do(ctx, p.cmd, "")
		l.post(func(now clock.Reading) {
			r.proposing = false
			r.failed, r.failedAt = err != nil || res.Code != 0, now
			l.proposed(p, res, err)
		})
	})
}
