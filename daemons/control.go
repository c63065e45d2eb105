package daemons

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// drain takes in all that the node has sent.
func (g *guard) drain() {
	for !g.eof {
		n, err := unix.Read(g.control, g.buf[:])
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return
		case err != nil || n == 0:
			g.eof = true
			g.out = outbox{} // nobody will read it
			return
		}
		g.in.buf = append(g.in.buf, g.buf[:n]...)
		for {
			m, ok, err := g.in.next()
			if err != nil {
				g.end(endBroken, 0)
				g.in.buf = nil
				break
			}
			if !ok {
				break
			}
			g.told(&m)
		}
	}
}

// told does what the node says.
func (g *guard) told(m *message) {
	switch m.kind {
	case kindCharge:
		if g.phase == phaseNew {
			g.take(m.order)
		}
	case kindExtend:
		g.extend(m)
	case kindStop:
		g.end(endStop, m.grace)
	case kindAbort:
		g.end(endAbort, 0)
	case kindVoters:
		g.order.charge.Voters = m.voters
	}
}

// extend moves the deadline. The end of an epoch is final: once the soft deadline was seen to pass, or anything but a
// planned stop is under way, later renewals change nothing. A renewal that waited in the channel while this process did not
// get to run does count.
func (g *guard) extend(m *message) {
	now := g.clock.Now()
	ended := g.phase >= phaseEnding && g.reason != endStop
	if m.epoch != g.order.charge.Epoch || ended || g.deadline.forever {
		return
	}
	if g.deadline.extend(m.since, now) {
		g.windFuse()
	}
}

// windFuse lets the kernel kill this guardian half a kill time after it should have killed everything itself.
func (g *guard) windFuse() {
	if g.deadline.forever {
		return
	}
	left := g.deadline.toKill(g.clock.Now()) + g.deadline.timing.Kill/2
	if err := g.fuse.wind(left); err != nil {
		g.note("", "no kernel timer: "+err.Error(), true)
	}
}

// take accepts the charge.
func (g *guard) take(o order) {
	g.order, g.leaf = o, leaf(o.leaf)
	c := &g.order.charge
	c.Timing.Grace = cmp.Or(c.Timing.Grace, defaultGrace)
	c.Timing.StopGrace = cmp.Or(c.Timing.StopGrace, defaultStopGrace)
	c.HookTimeout = cmp.Or(c.HookTimeout, defaultHookTimeout)
	g.deadline = deadline{timing: c.Timing, since: c.Since, forever: c.Forever}
	g.env = append(c.Env, envNode+"="+c.Node)
	if c.Legion != "" {
		g.env = append(g.env, envLegion+"="+c.Legion, fmt.Sprintf("%s=%d", envEpoch, c.Epoch))
	}
	for i, d := range c.Daemons {
		g.keepers = append(g.keepers, newKeeper(i, d))
	}
	g.hooks = hookRun{commands: c.LordHooks, tag: "lord hook", timeout: c.HookTimeout}
	g.phase = phaseHooks
	g.windFuse()
	if o.undo {
		g.begun = true
		g.end(endStop, 0)
	}
}

// farewell is the last thing: nothing of the epoch lives any more.
//
// The ticket says that the node is dead and this epoch is over. It goes out only when the node is dead, all is reaped and
// all is undone; never when the deadline ended the epoch, since then the node may be alive with a newer one.
func (g *guard) farewell() {
	g.fuse.stop()
	g.leaf.remove() //nolint:errcheck // Sweep tries again
	if g.outcome.Undone && g.order.stateFile != "" {
		os.Remove(g.order.stateFile) //nolint:errcheck // a Sweep that finds it finds nothing alive
	}
	if !g.eof {
		g.report()
		g.out.must(&message{kind: kindDown, outcome: g.outcome})
		return
	}
	g.phase = phaseGone
	c := &g.order.charge
	if g.outcome.Undone && len(c.Ticket) > 0 && !g.noTicket {
		ctx, cancel := context.WithTimeout(context.Background(), cmp.Or(c.Timing.Wait, c.Timing.Lease+c.Timing.Lease/20, time.Second))
		defer cancel()
		spreadTicket(ctx, c.Voters, c.Ticket)
	}
}
