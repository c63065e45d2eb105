package daemons

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cohortd/cohort/clock"
)

// hookRun is hook commands, run one after the other.
type hookRun struct {
	commands []string
	tag      string
	timeout  time.Duration
	all      bool // a failed one does not keep the rest from running

	next    int
	current *launch
	killAt  time.Duration
	timeUp  bool
	ended   bool
	status  unix.WaitStatus
	failed  bool
}

// step goes on with the hooks: done when none is left to run, ok as long as none has failed.
func (h *hookRun) step(g *guard, now clock.Reading, undo bool) (done, ok bool) {
	if h.current != nil && h.ended {
		h.finish(g)
	}
	if h.current != nil && now.Boot >= h.killAt && !h.timeUp {
		h.timeUp = true
		g.note(h.name(), "takes too long, killed", true)
		g.killMarked(hookMark)
		signalGroup(h.current.pid, unix.SIGKILL)
	}
	for h.current == nil && h.next < len(h.commands) && (h.all || !h.failed) && (undo || g.deadline.mayStart(now)) {
		l, err := g.launch(h.commands[h.next], hookMark, h.name(), undo)
		h.next++
		if err != nil {
			g.note(h.name(), "cannot be started: "+err.Error(), true)
			h.failed = true
			continue
		}
		h.current, h.ended, h.timeUp, h.killAt = l, false, false, now.Boot+h.timeout
	}
	return h.current == nil && (h.failed || h.next == len(h.commands)), !h.failed
}

// finish takes note of how the current hook ended.
func (h *hookRun) finish(g *guard) {
	if h.current.failed == late && !h.all {
		h.next-- // the lease was too short just then; the next renewal lets it start
		h.current = nil
		return
	}
	good := h.status.Exited() && h.status.ExitStatus() == 0 && !h.timeUp && h.current.failed == ""
	if !good {
		h.failed = true
		g.note(h.name(), fmt.Sprintf("failed: %s %s", exitText(h.status), h.current.failed), true)
	}
	g.drop(h.current)
	h.current = nil
}

// exited takes note of a child's end.
func (h *hookRun) exited(pid int, ws unix.WaitStatus) {
	if h.current != nil && h.current.pid == pid {
		h.ended, h.status = true, ws
	}
}

// stop ends the current hook and starts no more.
func (h *hookRun) stop(g *guard) {
	h.next = len(h.commands)
	if h.current != nil && !h.ended {
		g.drop(h.current)
		signalGroup(h.current.pid, unix.SIGTERM)
		signalGroup(h.current.pid, unix.SIGCONT)
	}
}

// name is the tag of the current hook, or of the one about to start.
func (h *hookRun) name() string {
	i := h.next
	if h.current == nil {
		i++
	}
	return fmt.Sprintf("%s %d", h.tag, i)
}

// due is the time until the current hook has had its time.
func (h *hookRun) due(now clock.Reading) time.Duration {
	if h.current == nil || h.timeUp {
		return time.Second
	}
	return h.killAt - now.Boot
}
