package legion

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cohortd/cohort/cachefsm/lord"
	"github.com/cohortd/cohort/cachefsm/op"
)

// Answers to a ticket. A guardian repeats its ticket to all voters until one says Applied.
const (
	TicketApplied = 'A' // the epoch is over
	TicketRefused = 'R' // the seal is not ours, or epoch and boot do not fit: another voter may know better
	TicketLater   = 'L' // nobody can agree on it now
)

const (
	ticketWait = 2 * time.Second       // for the log, per ticket
	hintStep   = 80 * time.Millisecond // between two voters' tries to become leader (R32)
	maxPending = 256
)

// Tickets takes release tickets on a voter, for all legions, also for those that this node is not in.
type Tickets struct {
	Keys     [][]byte // from the cluster's secret; the second while the secret is changed
	Control  Control
	State    func(legion string) lord.State
	Leader   func() string // of the control group, as known
	Rank     func() int    // this voter's place among the voters, from 0
	Peers    Peers
	Campaign func() error // asks to become leader without waiting for the old one's silence
	Log      *slog.Logger

	mu      sync.Mutex
	pending map[Ticket]*pendingTicket

	applied, refused atomic.Uint64
}

type pendingTicket struct {
	done   chan struct{}
	answer byte
}

// TicketStats counts tickets.
type TicketStats struct{ Applied, Refused uint64 }

// Stats are the counters so far.
func (t *Tickets) Stats() TicketStats {
	return TicketStats{t.applied.Load(), t.refused.Load()}
}

// Handle answers one sealed ticket. It returns within about two seconds; a ticket that comes again meanwhile waits for
// the same answer.
func (t *Tickets) Handle(payload []byte) []byte {
	k, err := OpenTicket(payload, t.Keys...)
	if err != nil {
		t.refused.Add(1)
		return []byte{TicketRefused}
	}
	if t.over(k) {
		return []byte{TicketApplied} // no need to ask the log twice
	}
	t.mu.Lock()
	p, ok := t.pending[k]
	if !ok && len(t.pending) >= maxPending {
		t.mu.Unlock()
		return []byte{TicketLater}
	}
	if !ok {
		if t.pending == nil {
			t.pending = map[Ticket]*pendingTicket{}
		}
		p = &pendingTicket{done: make(chan struct{}), answer: TicketLater}
		t.pending[k] = p
	}
	t.mu.Unlock()
	if ok {
		<-p.done
		return []byte{p.answer}
	}
	p.answer = t.propose(k)
	t.mu.Lock()
	delete(t.pending, k)
	t.mu.Unlock()
	close(p.done)
	return []byte{p.answer}
}

func (t *Tickets) propose(k Ticket) byte {
	ctx, cancel := context.WithTimeout(context.Background(), ticketWait)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { t.hint(ctx, k) })
	r, err := t.Control.Do(ctx, lord.Release(k.Legion, k.Epoch, k.Boot, lord.Dead), "")
	cancel()
	switch {
	case err != nil:
		return TicketLater
	case r.Code == op.OK:
		t.applied.Add(1)
		t.Log.Info("release ticket applied", "legion", k.Legion, "of", t.name(k.Node), "epoch", k.Epoch)
		return TicketApplied
	case t.over(k):
		return TicketApplied
	case r.Code == op.Refused:
		t.refused.Add(1)
		return TicketRefused
	}
	return TicketLater
}

// over says whether the ticket's epoch has ended already.
func (t *Tickets) over(k Ticket) bool {
	s := t.State(k.Legion)
	return s.Epoch > k.Epoch || s.Epoch == k.Epoch && s.Phase == lord.Vacant
}

// hint makes this voter the leader at once if the boot whose death the ticket proves was leading (R32). Voters try one
// after the other, so that two do not collide.
func (t *Tickets) hint(ctx context.Context, k Ticket) {
	leads := func() bool {
		if t.Campaign == nil || t.Leader() != k.Node {
			return false
		}
		peers := t.Peers.Peers()
		i := slices.IndexFunc(peers, func(p Peer) bool { return p.ID == k.Node })
		return i < 0 || peers[i].Boot == k.Boot
	}
	if !leads() {
		return
	}
	wait := time.NewTimer(time.Duration(t.Rank()) * hintStep)
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return
	case <-wait.C:
	}
	if leads() {
		if err := t.Campaign(); err != nil {
			t.Log.Debug("cannot take over from a dead leader", "err", err)
		}
	}
}

// name is what people call a node, if it is known.
func (t *Tickets) name(id string) string {
	for _, p := range t.Peers.Peers() {
		if p.ID == id && p.Name != "" {
			return p.Name
		}
	}
	return id
}
