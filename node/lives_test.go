package node

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/cohortd/cohort/clock"
	"github.com/cohortd/cohort/e2e/memnet"
	"github.com/cohortd/cohort/legion"
)

// lives are the life spans of everything that was ever run for a legion, on all machines.
type lives struct {
	w *world

	mu    sync.Mutex
	alive map[string]map[*life]bool // by legion
	spans []span
}

// span is how long something of an epoch lived.
type span struct {
	legion   string
	epoch    uint64
	node     string
	from, to time.Duration
}

func (s *lives) begin(d *life) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.alive[d.c.Legion]
	if all == nil {
		all = map[*life]bool{}
		s.alive[d.c.Legion] = all
	}
	for o := range all {
		s.w.t.Errorf("at %v: %s starts epoch %d while epoch %d lives on %s", s.w.now(), d.g.b.name, d.c.Epoch, o.c.Epoch, o.g.b.name)
	}
	all[d] = true
	d.began = s.w.now()
}

func (s *lives) end(d *life) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.alive[d.c.Legion], d)
	s.spans = append(s.spans, span{d.c.Legion, d.c.Epoch, d.g.b.name, d.began, s.w.now()})
}

// check looks once more at all that lived: no two spans of a legion overlap, and epochs only grow.
func (s *lives) check() {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortFunc(s.spans, func(a, b span) int { return int(a.from - b.from) })
	last := map[string]span{}
	for _, now := range s.spans {
		before, ok := last[now.legion]
		if ok && (now.from < before.to || now.epoch <= before.epoch) {
			s.w.t.Errorf("epoch %d lived on %s %v to %v, and epoch %d on %s %v to %v: want one after the other",
				before.epoch, before.node, before.from, before.to, now.epoch, now.node, now.from, now.to)
		}
		last[now.legion] = now
	}
}

// guard is a model of the guardian processes that one boot of a machine starts.
type guard struct {
	b *box

	mu    sync.Mutex
	lives []*life
	dead  bool // the node's process is dead
}

// obey is how long what runs needs to obey TERM.
const obey = 50 * time.Millisecond

// life is one guardian and what it runs: it holds the deadline on its machine's clock, whatever becomes of the node.
type life struct {
	g     *guard
	c     legion.Charge
	began time.Duration

	mu      sync.Mutex
	since   clock.Reading
	orphan  bool
	final   bool // it began to end for good
	killed  bool
	termed  time.Time // since when it was asked to end
	killAt  time.Time
	release func() // hands the ticket in, once all is gone; nil: nobody is told

	ended, down, gone chan struct{}
	endOnce, downOnce sync.Once
}

var errDead = errors.New("the process is dead")

func (g *guard) Start(c legion.Charge) (legion.Ward, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dead {
		return nil, errDead
	}
	d := &life{g: g, c: c, since: c.Since, ended: make(chan struct{}), down: make(chan struct{}), gone: make(chan struct{})}
	g.lives = append(g.lives, d)
	g.b.w.lives.begin(d)
	g.b.w.runs.Go(d.run)
	return d, nil
}

// run is the guardian's life.
func (d *life) run() {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !d.step() {
		<-tick.C
	}
	d.g.b.w.lives.end(d)
	close(d.gone)
	d.mu.Lock()
	release := d.release
	d.mu.Unlock()
	if release != nil {
		release()
	}
	d.endOnce.Do(func() { close(d.ended) })
	d.downOnce.Do(func() { close(d.down) })
}

// step does what is due and says whether all is gone.
func (d *life) step() (gone bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.c.Numbers
	left := n.Lease - d.g.b.clock.Now().Longest(d.since)
	if left <= n.Soft && !d.final {
		d.finish(n.Soft - n.Kill)
	}
	now := time.Now()
	switch {
	case d.killed, left <= n.Kill:
		return true
	case d.termed.IsZero():
		return false
	}
	return now.Sub(d.termed) >= obey || !now.Before(d.killAt)
}

// finish begins the end that nothing takes back. d.mu is held.
func (d *life) finish(grace time.Duration) {
	d.final = true
	d.term(grace)
	d.endOnce.Do(func() { close(d.ended) })
}

func (d *life) term(grace time.Duration) {
	now := time.Now()
	if d.termed.IsZero() {
		d.termed = now
	}
	if at := now.Add(grace); d.killAt.IsZero() || at.Before(d.killAt) {
		d.killAt = at
	}
}

// heard runs what the node asks for, if the guardian can still hear it.
func (d *life) heard(do func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.orphan {
		do()
	}
}

func (d *life) Extend(since clock.Reading) {
	d.heard(func() {
		if !d.final {
			d.since = since
		}
	})
}
func (d *life) Stop(grace time.Duration) { d.heard(func() { d.term(grace) }) }
func (d *life) Abort()                   { d.heard(func() { d.finish(d.c.Numbers.Grace) }) }
func (d *life) Kill()                    { d.heard(func() { d.killed = true }) }
func (d *life) Ended() <-chan struct{}   { return d.ended }
func (d *life) Down() <-chan struct{}    { return d.down }
func (d *life) Outcome() legion.Outcome  { return legion.Outcome{Undone: true} }

// orphan is the end of the node's process: each guardian ends what it runs, then hands its ticket in.
func (g *guard) orphan(from *memnet.Host, voters []string) {
	g.each(func(d *life) {
		d.release = func() { handIn(from, voters, d.c.Ticket, d.c.Numbers.Wait()) }
		d.finish(d.c.Numbers.Grace)
	})
}

// vanish is the end of the machine.
func (g *guard) vanish() {
	g.each(func(d *life) { d.killed = true })
}

func (g *guard) each(do func(d *life)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dead = true
	for _, d := range g.lives {
		d.mu.Lock()
		select {
		case <-d.gone:
		default:
			d.orphan = true
			do(d)
			// What is left of the node in this test must not wait for it.
			d.endOnce.Do(func() { close(d.ended) })
			d.downOnce.Do(func() { close(d.down) })
		}
		d.mu.Unlock()
	}
}

// sweep ends what is left of a dead boot and waits until it is gone, as a starting node does.
func (g *guard) sweep() {
	g.each(func(d *life) { d.killed, d.release = true, nil })
	for _, d := range g.lives {
		<-d.gone
	}
}

// handIn gives a ticket to all voters, again and again, until one says that it is applied or nobody needs it
// any more. It is what a guardian does with a network of its own.
func handIn(from *memnet.Host, voters []string, ticket []byte, patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var wg sync.WaitGroup
	for _, addr := range voters {
		wg.Go(func() {
			for ctx.Err() == nil {
				if answer, err := sendTicket(ctx, from, addr, ticket); err == nil && answer == legion.TicketApplied {
					cancel()
					return
				}
				select {
				case <-ctx.Done():
				case <-time.After(100 * time.Millisecond):
				}
			}
		})
	}
	wg.Wait()
}

func sendTicket(ctx context.Context, from *memnet.Host, addr string, ticket []byte) (byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	conn, err := from.Dial(ctx, addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16([]byte{'T'}, uint16(len(ticket))), ticket...)); err != nil {
		return 0, err
	}
	var answer [3]byte
	_, err = io.ReadFull(conn, answer[:])
	return answer[2], err
}
