package daemons

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/cohortd/cohort/clock"
)

// killRound is the pause between two looks for what still has to be killed.
const killRound = 10 * time.Millisecond

// step does what is due.
func (g *guard) step(now clock.Reading) {
	if g.phase == phaseNew {
		if g.eof || g.ending.Load() {
			g.end(endStop, 0)
		}
		return
	}
	if g.phase < phaseDown {
		g.checkEnd(now)
	}
	switch g.phase {
	case phaseHooks:
		g.stepHooks(now)
	case phaseServe:
		for _, k := range g.keepers {
			k.step(g, now)
		}
	case phaseEnding:
		g.stepEnding(now)
	case phaseUndo:
		g.stepUndo(now)
	case phaseClear:
		g.stepClear(now)
	case phaseDown:
		switch {
		case g.eof:
			g.farewell() // the node died before it could take the news
		case !g.out.pending():
			g.phase = phaseGone
		}
	}
	g.report()
}

// checkEnd looks for reasons to end.
func (g *guard) checkEnd(now clock.Reading) {
	if g.deadline.over(now) {
		g.noTicket = g.noTicket || !g.eof
		if g.reason != endDeadline {
			g.end(endDeadline, 0)
		}
	}
	if g.eof && g.reason != endOrphan && g.reason != endDeadline {
		g.end(endOrphan, 0)
	}
	if g.ending.Load() && g.phase < phaseEnding {
		g.end(endStop, 0)
	}
}

// end begins the end, or hurries one that has begun. It never makes an end slower.
func (g *guard) end(why reason, asked time.Duration) {
	if g.phase == phaseNew {
		g.phase = phaseGone // never told to run anything
	}
	if g.phase >= phaseDown {
		return
	}
	now := g.clock.Now()
	if asked <= 0 {
		asked = g.order.charge.Timing.StopGrace
	}
	grace := graceFor(why, g.deadline, now, asked, len(g.order.charge.UnlordHooks) > 0)
	killAt := now.Boot + grace
	first := g.phase < phaseEnding
	if first {
		g.phase = max(g.phase, phaseEnding)
		g.killAt = killAt
		g.out.must(&message{kind: kindEnded, reason: why})
		g.hooks.stop(g)
	}
	if first || why != endStop {
		g.reason = why // a stop to plan that comes later does not make it one: renewals would count again
	}
	g.noTicket = g.noTicket || why == endBroken
	g.killAt = min(g.killAt, killAt)
	for _, k := range g.keepers {
		if first {
			k.stop(g, now)
		}
		k.killAt = min(k.killAt, g.killAt)
	}
}

func (g *guard) stepHooks(now clock.Reading) {
	if !g.begun && !g.deadline.mayStart(now) {
		return // nothing was started, and perhaps nothing ever will be
	}
	g.begun = true
	switch done, ok := g.hooks.step(g, now, false); {
	case !ok:
		g.outcome.HookFailed = true
		g.end(endHook, 0)
	case done && g.phase == phaseHooks:
		g.phase = phaseServe
		for _, k := range g.keepers {
			k.step(g, now)
		}
	}
}

// stepEnding waits until the last child is reaped, and helps.
func (g *guard) stepEnding(now clock.Reading) {
	alive := false
	for _, k := range g.keepers {
		k.stepStopping(g, now)
		alive = alive || k.pid != 0
	}
	switch {
	case g.childless:
		g.afterLast(now)
	case now.Boot >= g.killAt || g.deadline.mustKill(now):
		g.killAll()
	case !alive && !g.strays:
		// What daemons and hooks have left behind: asked once, then killed with the rest.
		g.strays = true
		for _, p := range descendants(g.self) {
			p.signal(unix.SIGTERM) //nolint:errcheck // gone already
			p.signal(unix.SIGCONT) //nolint:errcheck // gone already
		}
	}
}

// afterLast goes on when everything that ran is reaped.
func (g *guard) afterLast(now clock.Reading) {
	g.windFuse() // as far as the lease allows again: the killing had shortened it
	hooks := g.order.charge.UnlordHooks
	switch {
	case !g.begun || len(hooks) == 0:
		g.outcome.Undone = true
		g.down()
	case g.deadline.mustKill(now):
		g.note("", "no time left for the unlord hooks", true)
		g.down()
	default:
		g.phase = phaseUndo
		g.outcome.Undone = true
		g.hooks = hookRun{commands: hooks, tag: "unlord hook", timeout: g.order.charge.HookTimeout, all: true}
		g.stepUndo(now)
	}
}

// stepUndo runs the unlord hooks, all of them, until the kill time at the latest.
func (g *guard) stepUndo(now clock.Reading) {
	done, ok := g.hooks.step(g, now, true)
	if !ok {
		g.outcome.Undone = false
	}
	if g.deadline.mustKill(now) && !done {
		g.outcome.Undone = false
		done = true
	}
	if done {
		g.hooks.stop(g)
		g.phase = phaseClear
		g.stepClear(now)
	}
}

func (g *guard) stepClear(clock.Reading) {
	if g.childless {
		g.down()
		return
	}
	g.killAll()
}

func (g *guard) down() {
	g.phase = phaseDown
	g.farewell()
}

// killAll kills everything that this guardian has ever started and that still lives. It is called again until wait says
// that there is no child left: as a subreaper the guardian inherits every orphan below it, so then there is none at all.
func (g *guard) killAll() {
	if !g.deadline.forever {
		// A guardian that kills is not stopped; while it waits for a program in an uninterruptible sleep the fuse must not
		// take it away. Should it be stopped now, the fuse still burns.
		g.fuse.wind(g.deadline.timing.Kill / 2) //nolint:errcheck // noted when it was first wound
	}
	g.leaf.kill() //nolint:errcheck // then by tree
	for _, p := range descendants(g.self) {
		if !p.dead() {
			p.signal(unix.SIGKILL) //nolint:errcheck // gone already
		}
	}
}

// due is the time until something of ours other than the lease is due.
func (g *guard) due(now clock.Reading) time.Duration {
	next := time.Hour
	switch g.phase {
	case phaseHooks, phaseUndo:
		next = g.hooks.due(now)
	case phaseServe:
		for _, k := range g.keepers {
			next = min(next, k.due(g, now))
		}
	case phaseEnding:
		next = g.killAt - now.Boot
		for _, k := range g.keepers {
			if k.pid != 0 {
				next = min(next, k.killAt-now.Boot)
			}
		}
		next = max(next, killRound)
	case phaseClear, phaseDown:
		next = killRound
	}
	return next
}

// report tells the node which daemons have changed.
func (g *guard) report() {
	for _, k := range g.keepers {
		if k.changed && !g.eof && len(g.out.buf) < 2*maxQueued {
			k.changed = false
			g.out.must(&message{kind: kindState, daemon: k.index, report: k.report()})
		}
	}
}
