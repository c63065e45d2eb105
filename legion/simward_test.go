package legion

import (
	"time"

	"github.com/cohortd/cohort/cachefsm/lord"
	"github.com/cohortd/cohort/cachefsm/op"
	"github.com/cohortd/cohort/clock"
)

// simWard is a guardian with two daemons and a lord hook that runs until it is undone or killed, as the rules want it.
type simWard struct {
	n       *simNode
	s       *sim
	life    int // main's, when it was started
	epoch   uint64
	boot    uint64
	numbers lord.Numbers
	since   clock.Reading

	stalledUntil time.Duration
	deferred     []func()
	dead         bool // the guardian itself
	orphan       bool
	stopping     bool
	final        bool
	killed       bool
	hookRan      bool // it lives
	hookFailed   bool
	down         bool
	daemons      []*simDaemon
	killAt       time.Duration
}

type simDaemon struct {
	up, proof, term, dying bool
}

func newSimWard(n *simNode, epoch uint64, since clock.Reading) *simWard {
	w := &simWard{
		n: n, s: n.s, life: n.life, epoch: epoch, boot: n.bootID, numbers: n.holder.numbers, since: since,
		hookFailed: n.hookFails,
	}
	w.s.after(w.s.between(2*time.Millisecond, 30*time.Millisecond), func() { w.own(w.begin) })
	return w
}

// own runs something in the guardian: later if it is stopped, never if it is dead.
func (w *simWard) own(do func()) {
	if w.dead {
		return
	}
	if w.s.now >= w.stalledUntil {
		do()
		return
	}
	w.deferred = append(w.deferred, do)
}

// stall keeps the guardian from running for a while.
func (w *simWard) stall(d time.Duration) {
	w.stalledUntil = max(w.stalledUntil, w.s.now+d)
	w.s.after(w.stalledUntil-w.s.now, w.resume)
}

func (w *simWard) resume() {
	for !w.dead && w.s.now >= w.stalledUntil && len(w.deferred) > 0 {
		do := w.deferred[0]
		w.deferred = w.deferred[1:]
		do()
	}
}

// tell is what comes from main over the pipe.
func (w *simWard) tell(do func(*simWard)) {
	if w == nil {
		return
	}
	w.s.after(w.s.between(0, time.Millisecond), func() { w.own(func() { do(w) }) })
}

// heard tells main something, if it is still the one that started this.
func (w *simWard) heard(do func(h *holder)) {
	life := w.life
	w.s.after(w.s.between(0, time.Millisecond), func() {
		if w.n.life == life {
			w.n.onMain(func() { do(w.n.holder) })
		}
	})
}

func (w *simWard) left() time.Duration { return w.numbers.Lease - w.n.read().Longest(w.since) }

func (w *simWard) begin() {
	w.heard(func(h *holder) { w.n.act(h.started(w.n.read(), w.epoch, true)) })
	w.watch()
	if w.orphan || w.stopping {
		return
	}
	// R18: asked before the fork and in the child once more, so nothing lies between it and the start.
	if w.left() < w.numbers.Soft+200*time.Millisecond {
		w.give()
		return
	}
	w.hookRan = true
	w.s.born("lord hook", w.epoch)
	w.s.after(w.s.between(time.Millisecond, 20*time.Millisecond), func() {
		w.own(func() {
			if w.stopping {
				return
			}
			if w.hookFailed {
				w.give()
				return
			}
			for range 2 {
				w.spawn()
			}
		})
	})
}

func (w *simWard) spawn() {
	if w.stopping || w.left() < w.numbers.Soft+200*time.Millisecond {
		return
	}
	w.s.born("daemon", w.epoch)
	w.daemons = append(w.daemons, &simDaemon{up: true, proof: w.s.r.IntN(3) == 0})
}

// watch looks at the deadlines when they are due; a later one makes it look again.
func (w *simWard) watch() {
	w.own(func() {
		if w.down {
			return
		}
		left := w.left()
		if left <= w.numbers.Kill {
			w.kill()
		} else if left <= w.numbers.Soft {
			w.give()
		}
		wait := left - w.numbers.Soft
		if left <= w.numbers.Soft {
			wait = left - w.numbers.Kill
		}
		if w.killed {
			wait = 500 * time.Millisecond
		}
		w.s.after(max(time.Duration(float64(wait)/1.011), time.Millisecond), w.watch)
	})
}

func (w *simWard) extend(since clock.Reading) {
	if !w.final {
		w.since = since
	}
}

// give is the end for good (R19).
func (w *simWard) give() {
	if !w.final {
		w.final = true
		w.heard(func(h *holder) { w.n.act(h.ended(w.n.read(), w.epoch)) })
	}
	w.stop(w.numbers.Soft - w.numbers.Kill)
}

func (w *simWard) stop(grace time.Duration) {
	at := w.s.now + grace
	if !w.stopping || at < w.killAt {
		w.killAt = at
		w.s.after(grace, func() { w.own(w.kill) })
	}
	first := !w.stopping
	w.stopping = true
	if first {
		for _, d := range w.daemons {
			w.term(d)
		}
		w.reaped()
	}
}

func (w *simWard) term(d *simDaemon) {
	if d.up && !d.term && !d.proof {
		d.term = true
		w.s.after(w.s.between(5*time.Millisecond, 80*time.Millisecond), func() { w.die(d) })
	}
}

// kill is SIGKILL to every daemon.
func (w *simWard) kill() {
	if w == nil {
		return
	}
	w.killed, w.stopping = true, true
	for _, d := range w.daemons {
		if d.up && !d.dying {
			d.dying = true
			w.s.after(w.s.between(time.Millisecond, w.numbers.Reap), func() { w.die(d) })
		}
	}
	if !w.s.broken.hookInMain {
		w.s.after(w.s.between(time.Millisecond, w.numbers.Reap), w.undo)
	}
	w.own(w.reaped)
}

func (w *simWard) die(d *simDaemon) {
	if !d.up {
		return
	}
	d.up = false
	w.s.gone(w.epoch)
	if w.s.broken.ticketEach && w.orphan {
		w.own(func() { w.ticket(w.s.now + w.numbers.Wait()) })
	}
	w.own(w.reaped)
}

func (w *simWard) any() bool {
	for _, d := range w.daemons {
		if d.up {
			return true
		}
	}
	return false
}

// reaped undoes the hook once all daemons are gone, and then is down.
func (w *simWard) reaped() {
	if w.down || !w.stopping || w.any() {
		return
	}
	w.down = true
	wait := time.Duration(0)
	if w.hookRan {
		wait = w.s.between(time.Millisecond, 30*time.Millisecond)
	}
	if w.s.broken.hookInMain && w.orphan {
		w.s.after(time.Second, w.undo) // nobody waits for what main had started
		w.own(w.finish)
		return
	}
	w.s.after(wait, func() { w.own(func() { w.undo(); w.finish() }) })
}

func (w *simWard) undo() {
	if w.hookRan {
		w.hookRan = false
		w.s.gone(w.epoch)
	}
}

func (w *simWard) finish() {
	if w.orphan {
		w.ticket(w.s.now + w.numbers.Wait())
		return
	}
	w.heard(func(h *holder) {
		w.n.act(h.down(w.n.read(), w.epoch, Outcome{HookFailed: w.hookFailed, Undone: true}))
	})
}

// ticket goes to all voters until one says that it is applied, or W has passed (R25).
func (w *simWard) ticket(until time.Duration) {
	if w.s.now > until || w.dead {
		return
	}
	st := w.numbers
	done := false
	for _, v := range w.s.nodes {
		w.s.deliver(w.n, v, func() {
			v.onMain(func() {
				w.s.log.send(v, "", lord.Release("blue", w.epoch, w.boot, lord.Dead), func(op.Result) { done = true })
			})
		})
	}
	w.s.after(100*time.Millisecond, func() {
		if !done {
			w.own(func() { w.ticket(min(until, w.s.now+st.Wait())) })
		}
	})
}

// orphaned is the end of main: TERM, KILL after crash-grace, undo, ticket (R21).
func (w *simWard) orphaned() {
	w.tell(func(w *simWard) {
		if w.orphan {
			return
		}
		w.orphan, w.final = true, true
		if w.down {
			return
		}
		w.stop(w.numbers.Grace)
	})
}

// sweep is what a starting main does to an older boot's guardian; it says whether anything is left (R30).
func (w *simWard) sweep() bool {
	w.dead, w.stopping = true, true
	for _, d := range w.daemons {
		if d.up && !d.dying {
			d.dying = true
			w.s.after(w.s.between(time.Millisecond, w.numbers.Reap), func() { w.die(d) })
		}
	}
	if w.any() {
		return true
	}
	w.undo()
	return false
}

// vanish is the end of the machine.
func (w *simWard) vanish() {
	w.dead = true
	for _, d := range w.daemons {
		if d.up {
			d.up = false
			w.s.gone(w.epoch)
		}
	}
	w.undo()
}
