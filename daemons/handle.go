package daemons

import (
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cohortd/cohort/clock"
)

// statusLines is how many lines of output a Status shows.
const statusLines = 20

// Guardian is the node's handle on a guardian. None of its methods waits for the guardian.
type Guardian struct {
	charge    Charge
	opt       options
	log       *slog.Logger
	clock     clock.Clock
	process   *os.Process
	token     string
	leaf      leaf
	stateFile string
	lines     chan message // output on its way to the log
	more      chan struct{}
	rearm     chan struct{}
	ended     chan struct{}
	down      chan struct{}
	dropped   atomic.Uint64 // lines, here or in the guardian
	remains   remains       // for run alone

	mu        sync.Mutex
	deadline  deadline
	unsent    []message
	status    []Status
	rings     map[string]*ring
	changed   chan struct{}
	reason    reason
	outcome   Outcome
	toldDown  bool
	killNow   bool
	stopUntil time.Time // a planned stop that takes longer is cut short
}

// Extend tells of a newer renewal, which was sent at since.
func (g *Guardian) Extend(since clock.Reading) {
	g.mu.Lock()
	newer := g.deadline.extend(since, g.clock.Now())
	g.mu.Unlock()
	if newer {
		g.send(message{kind: kindExtend, epoch: g.charge.Epoch, since: since})
	}
}

// Stop ends everything to plan: stop signals, SIGKILL to what is left after grace or its own shorter one, unlord hooks.
// The lease must go on being renewed meanwhile. grace 0 is the charge's stop grace.
func (g *Guardian) Stop(grace time.Duration) {
	if grace <= 0 {
		grace = g.charge.Timing.StopGrace
	}
	g.mu.Lock()
	if g.stopUntil.IsZero() {
		hooks := time.Duration(len(g.charge.UnlordHooks)) * g.charge.HookTimeout
		g.stopUntil = time.Now().Add(grace + hooks + 2*time.Second)
	}
	g.mu.Unlock()
	g.send(message{kind: kindStop, grace: grace})
}

// Abort ends everything now: TERM, KILL after the crash grace and never later than the kill time, unlord hooks.
func (g *Guardian) Abort() { g.send(message{kind: kindAbort}) }

// Kill kills everything, the guardian included, whether or not that one is able to do anything. It happens by itself at
// the kill time.
func (g *Guardian) Kill() {
	g.mu.Lock()
	g.killNow = true
	g.mu.Unlock()
	poke(g.rearm)
}

// SetVoters says where the ticket goes when this process is dead.
func (g *Guardian) SetVoters(addrs []string) {
	g.send(message{kind: kindVoters, voters: slices.Clone(addrs)})
}

// Ended closes when the guardian has begun to end for good, whoever began it. The epoch is over then: it will not take
// another renewal.
func (g *Guardian) Ended() <-chan struct{} { return g.ended }

// Down closes when nothing that the guardian has started lives any more.
func (g *Guardian) Down() <-chan struct{} { return g.down }

// Outcome is how it ended, once Down is closed.
func (g *Guardian) Outcome() Outcome {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.outcome
}

// Reason is why it ended, in words; empty while it has not.
func (g *Guardian) Reason() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.reason.String()
}

// PID is the guardian's.
func (g *Guardian) PID() int { return g.process.Pid }

// Dropped counts lines of output that were too many to keep.
func (g *Guardian) Dropped() uint64 { return g.dropped.Load() }

// Changed closes at the next change of any Status.
func (g *Guardian) Changed() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.changed
}

// Status is where each daemon stands, in the order of the charge.
func (g *Guardian) Status() []Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := slices.Clone(g.status)
	for i := range out {
		out[i].LastLines = g.last(out[i].Name, statusLines)
	}
	return out
}

// Lines is up to n of the last lines of a daemon's output.
func (g *Guardian) Lines(name string, n int) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last(name, n)
}

func (g *Guardian) last(name string, n int) []string {
	if r := g.rings[name]; r != nil {
		return r.last(n)
	}
	return nil
}

// send queues m. Of what only the newest counts, only the newest is kept, so a guardian that does not read costs nothing.
func (g *Guardian) send(m message) {
	g.mu.Lock()
	g.unsent = slices.DeleteFunc(g.unsent, func(old message) bool { return old.kind == m.kind })
	g.unsent = append(g.unsent, m)
	g.mu.Unlock()
	poke(g.more)
	poke(g.rearm)
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
