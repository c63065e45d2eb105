package legion

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/cohortd/cohort/clock"
)

// guard is a model of guardians: each runs some daemons that take their time to obey TERM.
type guard struct {
	node *node

	mu       sync.Mutex
	wards    []*ward
	dead     bool            // main is dead
	obey     []time.Duration // what each daemon needs to obey TERM; nil: one daemon, 20 ms
	deaf     bool            // the guardian is stopped: it neither hears of deadlines nor holds to them
	missing  bool            // later deadlines never reach the guardian
	broken   error           // Start fails
	lordHook bool            // the lord hook fails
	unlord   bool            // the unlord hook fails
}

type ward struct {
	g *guard
	c Charge

	mu      sync.Mutex
	since   clock.Reading
	orphan  bool // main is dead: what it says and hears is nothing
	term    bool
	final   bool // began to end, for good
	killed  bool
	running int
	outcome Outcome
	tickets int

	poke           chan struct{}
	ended, down    chan struct{}
	finish, mainer sync.Once
	allGone        chan struct{}
}

var errBroken = errors.New("no more processes")

func (g *guard) Start(c Charge) (Ward, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dead {
		return nil, errBroken // a dead main starts nothing
	}
	if g.broken != nil {
		return nil, g.broken
	}
	obey := g.obey
	if obey == nil {
		obey = []time.Duration{20 * time.Millisecond}
	}
	w := &ward{
		g: g, c: c, since: c.Since, poke: make(chan struct{}, 1), ended: make(chan struct{}), down: make(chan struct{}),
		allGone: make(chan struct{}), outcome: Outcome{Undone: true},
	}
	g.wards = append(g.wards, w)
	w.spawn(obey)
	g.node.w.runs.Go(w.guardian)
	if g.lordHook {
		w.outcome.HookFailed = true
		w.begin()
	}
	return w, nil
}

// left is counted on the guardian's own clock, which is its machine's.
func (w *ward) left() time.Duration {
	return w.c.Numbers.Lease - w.g.node.clock.Now().Longest(w.since)
}

func (w *ward) spawn(obey []time.Duration) {
	world := w.g.node.w
	world.mu.Lock()
	for epoch, n := range world.alive {
		if n > 0 && epoch != w.c.Epoch {
			world.t.Errorf("at %v: ward of epoch %d starts while one of %d lives", time.Since(world.began), w.c.Epoch, epoch)
		}
	}
	world.alive[w.c.Epoch] += len(obey)
	world.mu.Unlock()
	w.running = len(obey)
	for _, d := range obey {
		world.runs.Go(func() { w.daemon(d) })
	}
}

// daemon lives until it obeyed TERM or is killed.
func (w *ward) daemon(obeys time.Duration) {
	var asked time.Time
	for {
		w.mu.Lock()
		term, killed := w.term, w.killed
		w.mu.Unlock()
		if term && asked.IsZero() {
			asked = time.Now()
		}
		if killed || !asked.IsZero() && time.Since(asked) >= obeys {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	time.Sleep(2 * time.Millisecond) // to be reaped
	world := w.g.node.w
	world.mu.Lock()
	world.alive[w.c.Epoch]--
	world.mu.Unlock()
	w.mu.Lock()
	w.running--
	last := w.running == 0
	w.mu.Unlock()
	if last {
		close(w.allGone)
	}
}

// guardian holds the deadlines, unless it is stopped.
func (w *ward) guardian() {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-w.allGone:
			w.finished()
			return
		case <-tick.C:
		}
		if w.stopped() {
			continue
		}
		w.mu.Lock()
		left := w.left()
		w.mu.Unlock()
		if left <= w.c.Numbers.Kill {
			w.kill()
		}
		if left <= w.c.Numbers.Soft {
			w.begin()
		}
	}
}

func (w *ward) stopped() bool {
	w.g.mu.Lock()
	defer w.g.mu.Unlock()
	return w.g.deaf
}

// begin ends the ward for good: TERM, later KILL (R19).
func (w *ward) begin() {
	w.mu.Lock()
	first := !w.final
	w.final, w.term = true, true
	w.mu.Unlock()
	if !first {
		return
	}
	w.finish.Do(func() { close(w.ended) })
	w.g.node.w.runs.Go(func() {
		select {
		case <-time.After(w.c.Numbers.Soft - w.c.Numbers.Kill):
			w.kill()
		case <-w.allGone:
		}
	})
}

func (w *ward) kill() {
	w.mu.Lock()
	w.killed = true
	w.mu.Unlock()
}

func (w *ward) finished() {
	for w.stopped() { // a stopped guardian reaps nothing
		time.Sleep(10 * time.Millisecond)
	}
	w.g.mu.Lock()
	failed := w.g.unlord
	w.g.mu.Unlock()
	w.mu.Lock()
	w.outcome.Undone = w.outcome.Undone && !failed
	ticket := w.orphan && w.outcome.Undone
	w.mu.Unlock()
	if ticket {
		w.sendTicket()
	}
	w.finish.Do(func() { close(w.ended) })
	w.mainer.Do(func() { close(w.down) })
}

// sendTicket goes to all voters until one says that it is applied (R25).
func (w *ward) sendTicket() {
	w.mu.Lock()
	w.tickets++
	w.mu.Unlock()
	world := w.g.node.w
	end := time.Now().Add(w.c.Numbers.Wait())
	for time.Now().Before(end) {
		answers := make(chan byte, 8)
		asked := 0
		for _, n := range world.list() {
			if n.isDead() || n.client || !world.open(w.g.node.id, n.id) {
				continue
			}
			asked++
			world.runs.Go(func() { answers <- n.tickets.Handle(w.c.Ticket)[0] })
		}
		for range asked {
			if <-answers == TicketApplied {
				asked = -1
			}
		}
		if asked < 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// heard says whether main can still reach the guardian.
func (w *ward) heard() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.orphan
}

func (w *ward) Extend(since clock.Reading) {
	w.g.mu.Lock()
	missing := w.g.missing || w.g.deaf
	w.g.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.orphan && !missing && !w.final {
		w.since = since
	}
}

func (w *ward) Stop(grace time.Duration) {
	if !w.heard() || w.stopped() {
		return
	}
	w.mu.Lock()
	w.term = true
	w.mu.Unlock()
	w.g.node.w.runs.Go(func() {
		select {
		case <-time.After(grace):
			w.kill()
		case <-w.allGone:
		}
	})
}

func (w *ward) Abort() {
	if w.heard() && !w.stopped() {
		w.abort()
	}
}

func (w *ward) abort() {
	w.mu.Lock()
	w.term, w.final = true, true
	w.mu.Unlock()
	w.g.node.w.runs.Go(func() {
		select {
		case <-time.After(w.c.Numbers.Grace):
			w.kill()
		case <-w.allGone:
		}
	})
}

// Kill works by pids: it needs no guardian.
func (w *ward) Kill() {
	if w.heard() {
		w.kill()
	}
}

func (w *ward) Ended() <-chan struct{} { return w.ended }
func (w *ward) Down() <-chan struct{}  { return w.down }
func (w *ward) Outcome() Outcome {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.outcome
}

// orphan is the end of the main process: each guardian stops all, then sends its ticket.
func (g *guard) orphan() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dead = true
	for _, w := range g.wards {

		w.mu.Lock()
		w.orphan = true
		w.mu.Unlock()
		// What main waits for is over for it; Run must not hang in the test.
		w.finish.Do(func() { close(w.ended) })
		w.mainer.Do(func() { close(w.down) })
		w.abort()
	}
}

// vanish is the end of the machine.
func (g *guard) vanish() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dead = true
	for _, w := range g.wards {

		w.mu.Lock()
		w.orphan, w.killed = true, true
		w.outcome.Undone = false // no ticket: it is gone too
		w.mu.Unlock()
		w.finish.Do(func() { close(w.ended) })
		w.mainer.Do(func() { close(w.down) })
	}
}

func (g *guard) ticketsSent() (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, w := range g.wards {

		w.mu.Lock()
		n += w.tickets
		w.mu.Unlock()
	}
	return n
}

// sweep kills what is left and waits until it is gone, as a starting node does.
func (g *guard) sweep() {
	g.mu.Lock()
	wards := g.wards
	g.mu.Unlock()
	for _, w := range wards {
		w.kill()
		<-w.allGone
	}
}

// hear wakes a stopped guardian, or stops it.
func (g *guard) hear(on bool) { g.set(func() { g.deaf = !on }) }

func (g *guard) set(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
}

// started are the wards so far.
func (g *guard) started() []*ward {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.wards)
}
