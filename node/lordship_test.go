package node

import (
	"context"
	"testing"
	"time"
)

// lead makes a node lead a group.
func (w *world) lead(group string, to *box) {
	w.t.Helper()
	w.eventually(20*time.Second, to.name+" leads the "+group+" group", func() bool {
		led := w.leader(group)
		if led == nil || led == to {
			return led == to
		}
		g := led.running().control
		if group == "cache" {
			g = led.running().cache
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = g.TransferTo(ctx, to.id) // tried again
		return false
	})
}

func TestNobodyRulesWithoutAnnouncements(t *testing.T) {
	bubble(t, func(w *world) {
		w.legion.Quorum = 2
		for i := range 3 {
			w.add(i + 1)
		}
		w.dropAnnouncements(true)
		for _, b := range w.all() {
			b.start()
		}
		w.eventually(20*time.Second, "the control group has a leader", func() bool { return w.leader("control") != nil })
		w.wantNobody(20*time.Second, w.all()...)
		w.mustInc(w.box(1), "healthy")
		for _, b := range w.all() {
			if e := b.epoch(); e != 0 {
				w.t.Errorf("%s knows of a grant, epoch %d, want none", b.name, e)
			}
		}

		w.dropAnnouncements(false)
		w.wantLord(5*time.Second, w.box(3))

		w.dropAnnouncements(true)
		w.eventually(15*time.Second, "the lord that nobody votes for any more stops", func() bool { return !w.box(3).isLord() })
		w.wantNobody(20*time.Second, w.all()...)
		w.mustInc(w.box(1), "healthy")
	})
}

func TestAChangedValorMovesTheLord(t *testing.T) {
	// The delay is for nodes that come and go, and this one has been well for longer.
	for name, delay := range map[string]time.Duration{"without a preempt delay": 0, "with one": 10 * time.Second} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				w.legion.PreemptDelay = delay
				all := w.ready(3)
				first := all[2].epoch()
				time.Sleep(20 * time.Second)
				all[0].blue().SetValor(100)
				w.wantLord(time.Second, all[0])
				if e := all[0].epoch(); e <= first {
					w.t.Errorf("epoch %d after %d, want a greater one", e, first)
				}
				w.wantSteady(10*time.Second, all[0])
			})
		})
	}
}

func TestAStrongerNodeThatComesTakesOverAfterThePreemptDelay(t *testing.T) {
	for name, delay := range map[string]time.Duration{"at once": 0, "after 10 seconds": 10 * time.Second} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				w.legion.PreemptDelay = delay
				all := w.ready(3)
				late := w.add(4)
				late.start()
				if delay > 0 {
					w.wantSteady(delay, all[2])
				}
				w.wantLord(5*time.Second, late)
				w.wantSteady(10*time.Second, late)
			})
		})
	}
}

func TestAnotherLegionSecretNeverRulesNorVotes(t *testing.T) {
	for name, leads := range map[string]bool{"as the raft leader": true, "as a follower": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				w.legion.Quorum = 2
				w.add(1)
				w.add(2)
				stranger := w.add(3, legionSecret("another secret"))
				for _, b := range w.all() {
					b.start()
				}
				w.eventually(20*time.Second, "the control group has a leader", func() bool { return w.leader("control") != nil })
				if leads {
					w.lead("control", stranger)
				}
				w.wantLord(10*time.Second, w.box(2))
				if v := w.box(2).blue().View(); v.Votes != 2 {
					w.t.Errorf("the lord has %d votes, want 2: its own and n1's", v.Votes)
				}
				w.wantSteady(15*time.Second, w.box(2))

				// Without n1 one vote is left, of two that are needed; the stranger's does not count.
				w.box(1).stop()
				w.eventually(15*time.Second, "the lord without a quorum stops", func() bool { return !w.box(2).isLord() })
				w.wantNobody(20*time.Second, w.box(2), stranger)
			})
		})
	}
}

func TestAnArbiterVotesAndNeverRules(t *testing.T) {
	bubble(t, func(w *world) {
		w.legion.Quorum = 2
		arbiter := w.add(1, valor(0))
		candidate := w.add(2)
		w.add(3, valor(0))
		for _, b := range w.all() {
			b.start()
		}
		w.wantLord(20*time.Second, candidate)
		w.box(3).crash()
		time.Sleep(20 * time.Second)
		if !candidate.isLord() || candidate.blue().View().Votes != 2 {
			w.t.Errorf("n2 does not rule on with the arbiter's vote\n%s", w.state())
		}
		w.net.Heal()
		w.box(3).start()
		time.Sleep(10 * time.Second)
		candidate.crash()
		w.wantNobody(20*time.Second, arbiter, w.box(3))
		w.mustInc(arbiter, "healthy")
	})
}

func TestNobodyRulesBelowTheQuorum(t *testing.T) {
	bubble(t, func(w *world) {
		w.legion.Quorum = 3
		all := w.ready(3)
		all[0].crash()
		w.eventually(20*time.Second, "the lord without a quorum stops", func() bool { return !all[2].isLord() })
		w.wantNobody(20*time.Second, all[1:]...)
		w.net.Heal()
		all[0].start()
		w.wantLord(20*time.Second, all[2])
	})
}
