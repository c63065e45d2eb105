package daemons

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/cohortd/cohort/clock"
)

// run owns everything about one guardian until nothing of it is left.
func (g *Guardian) run(conn *net.UnixConn, first []byte) {
	defer close(g.down)
	var wg sync.WaitGroup
	exited := make(chan struct{})
	wg.Go(func() {
		defer close(exited)
		g.process.Wait() //nolint:errcheck // that it is gone is all we need
	})
	wg.Go(g.logLines)
	wg.Go(func() {
		defer close(g.lines)
		g.read(conn)
	})
	wg.Go(func() { g.write(conn, first, exited) })
	g.watch(exited)
	wg.Wait()
	conn.Close()
	g.finish()
}

// write sends what is queued. It waits for a guardian that does not read, and ends with it.
func (g *Guardian) write(conn *net.UnixConn, first []byte, exited <-chan struct{}) {
	conn.Write(first) //nolint:errcheck // its end is seen elsewhere
	for {
		select {
		case <-exited:
			return
		case <-g.more:
		}
		g.mu.Lock()
		queue := g.unsent
		g.unsent = nil
		g.mu.Unlock()
		for _, m := range queue {
			b, err := appendFrame(nil, &m)
			if err != nil {
				g.log.Error("guardian cannot be told", "err", err)
				continue
			}
			conn.Write(b) //nolint:errcheck // its end is seen elsewhere
		}
	}
}

// read takes what the guardian tells, until its end is closed.
func (g *Guardian) read(conn *net.UnixConn) {
	var in frames
	buf := make([]byte, 16<<10)
	for {
		n, err := conn.Read(buf)
		in.buf = append(in.buf, buf[:n]...)
		for {
			m, ok, bad := in.next()
			if bad != nil {
				g.log.Error("guardian told nonsense, killing it", "err", bad)
				g.Kill()
				return
			}
			if !ok {
				break
			}
			g.told(m)
		}
		if err != nil {
			return
		}
	}
}

// told takes in one message. It does not wait: a slow log must not keep the news of an end away.
func (g *Guardian) told(m message) {
	switch m.kind {
	case kindLine, kindNote:
		if m.kind == kindLine {
			g.keep(m)
		}
		select {
		case g.lines <- m:
		default:
			g.dropped.Add(1)
		}
	case kindDropped:
		g.dropped.Add(m.count)
	case kindState:
		g.setStatus(m)
	case kindEnded:
		g.setEnded(m.reason)
	case kindDown:
		g.mu.Lock()
		g.toldDown, g.outcome = true, m.outcome
		g.mu.Unlock()
	}
}

func (g *Guardian) keep(m message) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.rings[m.tag]
	if r == nil {
		r = new(ring)
		g.rings[m.tag] = r
	}
	r.add(m.text)
}

// logLines writes output and notes to the log, as fast as that takes them.
func (g *Guardian) logLines() {
	var told uint64
	var when time.Time
	for m := range g.lines {
		if n := g.dropped.Load(); n > told && time.Since(when) > time.Second {
			g.log.Warn("daemon output dropped", "lines", n-told)
			told, when = n, time.Now()
		}
		switch {
		case m.kind == kindLine:
			g.log.Info("daemon output", "daemon", m.tag, "stream", m.stream, "line", m.text)
		case m.warn:
			g.log.Warn("guardian", "of", m.tag, "note", m.text)
		default:
			g.log.Info("guardian", "of", m.tag, "note", m.text)
		}
	}
}

func (g *Guardian) setStatus(m message) {
	if m.daemon < 0 || m.daemon >= len(g.status) {
		return
	}
	r := m.report
	g.mu.Lock()
	s := &g.status[m.daemon]
	if s.State != r.state {
		s.Since = time.Now()
	}
	s.State, s.PID, s.Restarts, s.LastExit = r.state, r.pid, r.restarts, r.lastExit
	name := s.Name
	g.wakeChanged()
	g.mu.Unlock()
	facts := []any{"daemon", name, "state", r.state.String()}
	if r.pid != 0 {
		facts = append(facts, "pid", r.pid)
	}
	if r.restarts != 0 {
		facts = append(facts, "restarts", r.restarts)
	}
	if r.lastExit != "" {
		facts = append(facts, "exit", r.lastExit)
	}
	g.log.Info("daemon changed", facts...)
}

// wakeChanged is called with the lock held.
func (g *Guardian) wakeChanged() {
	close(g.changed)
	g.changed = make(chan struct{})
}

func (g *Guardian) setEnded(why reason) {
	g.mu.Lock()
	first := g.reason == 0
	if first {
		g.reason = why
	}
	g.mu.Unlock()
	if first {
		g.log.Debug("guardian ends", "reason", why.String())
		close(g.ended)
	}
}

// watch is the second killer. It returns when the guardian is gone.
func (g *Guardian) watch(exited <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	killed := false
	for {
		next, kill := g.nextKill()
		if kill && !killed {
			killed = true
			g.log.Warn("killing a guardian and all it runs", "pid", g.process.Pid)
			g.remains.slay()
			continue
		}
		if killed {
			next = time.Hour
		}
		timer.Reset(next)
		select {
		case <-exited:
			return
		case <-timer.C:
		case <-g.rearm:
		}
	}
}

// nextKill is how long to wait before asking again whether to kill.
func (g *Guardian) nextKill() (next time.Duration, kill bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	next = time.Hour
	if g.killNow {
		return next, true
	}
	if !g.stopUntil.IsZero() {
		next = time.Until(g.stopUntil)
	}
	if now := g.clock.Now(); !g.charge.Forever {
		left := g.deadline.toKill(now)
		kill = left <= 0
		next = min(next, nap(left, g.deadline.over(now)))
	}
	return next, kill || !g.stopUntil.IsZero() && time.Until(g.stopUntil) <= 0
}

// finish ends what a lost guardian has left behind, and undoes what it could not.
func (g *Guardian) finish() {
	g.mu.Lock()
	told := g.toldDown
	for _, s := range g.status {
		if s.PID != 0 {
			g.remains.sessions = append(g.remains.sessions, s.PID)
		}
	}
	g.mu.Unlock()
	if !told {
		g.setEnded(endLost)
		g.log.Error("guardian lost, ending what it ran", "pid", g.process.Pid)
		g.remains.clear(context.Background(), g.log) //nolint:errcheck // ends only when all is gone
		g.outcomeLost()
	}
	if err := g.leaf.remove(); err != nil {
		g.log.Warn("cgroup stays", "err", err)
	}
	if g.stateFile != "" && g.Outcome().Undone {
		if err := os.Remove(g.stateFile); err != nil && !errors.Is(err, os.ErrNotExist) {
			g.log.Warn("state file stays", "err", err)
		}
	}
}

// outcomeLost finds out what a lost guardian has left undone, and has another one do it as long as the lease allows.
func (g *Guardian) outcomeLost() {
	undone := len(g.charge.UnlordHooks) == 0
	g.mu.Lock()
	for i := range g.status {
		g.status[i].State, g.status[i].PID, g.status[i].Since = Failed, 0, time.Now()
	}
	d := g.deadline
	g.wakeChanged()
	g.mu.Unlock()
	g.opt.stateFile = g.stateFile
	if !undone && !g.opt.undo && (d.forever || d.toKill(g.clock.Now()) > startMargin) {
		undone = undo(g.charge, d.since, g.opt, g.log)
	}
	g.mu.Lock()
	g.outcome = Outcome{Undone: undone}
	g.mu.Unlock()
}

// undo runs the unlord hooks of a charge under a guardian of their own. Its state file takes the place of the old one, so
// a death in the middle of it leaves one note and not two.
func undo(c Charge, since clock.Reading, opt options, log *slog.Logger) bool {
	c.Daemons, c.LordHooks, c.Ticket, c.Since = nil, nil, nil, since
	opt.undo = true
	g, err := start(c, opt, log)
	if err != nil {
		log.Error("unlord hooks cannot be run", "err", err)
		return false
	}
	<-g.Down()
	return g.Outcome().Undone
}
