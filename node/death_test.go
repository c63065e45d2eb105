package node

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cohortd/cohort/api"
)

// takeover lets something befall the lord n3 and measures until n2 rules.
func (w *world) takeover(within time.Duration, befall func(old *box)) {
	w.t.Helper()
	heir, old := w.box(2), w.box(3)
	first := old.epoch()
	began := time.Now()
	befall(old)
	w.eventually(within-time.Since(began), heir.name+" rules", heir.isLord)
	w.t.Logf("%s ruled after %v", heir.name, time.Since(began))
	if e := heir.epoch(); e <= first {
		w.t.Errorf("epoch %d after %d, want a greater one", e, first)
	}
	w.wantSteady(10*time.Second, heir)
}

func TestWhenTheLordGoesTheNextBestRules(t *testing.T) {
	for name, tt := range map[string]struct {
		within time.Duration
		befall func(old *box)
	}{
		"its process is killed":  {500 * time.Millisecond, (*box).kill},
		"its machine is lost":    {elsewhere(), (*box).crash},
		"it is stopped in order": {time.Second, func(b *box) { go b.stop() }},
	} {
		for where, place := range leaderPlaces {
			t.Run(name+", "+where, func(t *testing.T) {
				bubble(t, func(w *world) {
					all := w.ready(3)
					time.Sleep(5 * time.Second)
					place(w, all[2])
					w.takeover(tt.within, tt.befall)
					w.mustInc(all[0], "after")
				})
			})
		}
	}
}

func TestADrainedLordHandsEverythingOver(t *testing.T) {
	for where, place := range leaderPlaces {
		t.Run(where, func(t *testing.T) {
			bubble(t, func(w *world) {
				all := w.ready(3)
				old := all[2]
				time.Sleep(5 * time.Second)
				w.lead("cache", old)
				place(w, old)
				stop := w.flood(6, "n", all...)
				n := old.running()
				w.takeover(time.Second, func(*box) {
					ctx, cancel := context.WithTimeout(context.Background(), time.Second)
					defer cancel()
					if err := (admin{n}).Drain(ctx, true); err != nil {
						w.t.Errorf("Drain = %v, want no error", err)
					}
				})
				if w.leader("control") == old || w.leader("cache") == old {
					w.t.Errorf("the drained node still leads\n%s", w.state())
				}
				if !(admin{n}).Status().Draining {
					w.t.Error("the status does not tell of the drain")
				}
				if err := (admin{n}).Drain(context.Background(), false); err != nil {
					w.t.Errorf("Drain off = %v, want no error", err)
				}
				w.wantLord(3*time.Second, old)
				stop().check(w, w.count(old, "n"))
			})
		})
	}
}

func TestALordThatStepsDownComesBackLater(t *testing.T) {
	bubble(t, func(w *world) {
		all := w.ready(3)
		old := all[2]
		time.Sleep(5 * time.Second)
		n := old.running()
		w.takeover(time.Second, func(*box) {
			if err := (admin{n}).StepDown(context.Background(), "blue"); err != nil {
				w.t.Errorf("StepDown = %v, want no error", err)
			}
		})
		var said *api.Error
		if err := (admin{n}).StepDown(context.Background(), "blue"); !errors.As(err, &said) || said.Kind != api.Conflict {
			w.t.Errorf("StepDown of a node that does not rule = %v, want a conflict", err)
		}
		w.wantLord(time.Minute, old)
	})
}

func TestNobodyStepsDownWithoutAnHeir(t *testing.T) {
	bubble(t, func(w *world) {
		all := w.ready(3, func(b *box) {
			if b.name != "n3" {
				b.cfg.Legions[0].Valor = 0
			}
		})
		var said *api.Error
		err := (admin{all[2].running()}).StepDown(context.Background(), "blue")
		if !errors.As(err, &said) || said.Kind != api.Conflict {
			w.t.Errorf("StepDown without an heir = %v, want a conflict", err)
		}
		w.wantSteady(10*time.Second, all[2])
	})
}

func TestNoIncrementIsLostOrCountedTwiceWhenLeadersDie(t *testing.T) {
	for name, befall := range map[string]func(*box){"killed": (*box).kill, "lost": (*box).crash} {
		for _, group := range []string{"control", "cache"} {
			t.Run(group+" leader "+name, func(t *testing.T) {
				bubble(t, func(w *world) {
					w.expect, w.pace = 5, 20*time.Millisecond
					all := w.ready(5)
					w.net.Delay(20*time.Millisecond, 10*time.Millisecond) // so that much is under way at any time
					stop := w.flood(32, "n", all...)
					for range 2 { // five voters bear two deaths
						time.Sleep(3 * time.Second)
						w.eventually(10*time.Second, "the group has a leader", func() bool { return w.leader(group) != nil })
						befall(w.leader(group))
					}
					time.Sleep(8 * time.Second)
					t := stop()
					w.t.Log(t)
					for _, b := range w.live() {
						t.check(w, w.count(b, "n"))
					}
					if len(w.lords()) != 1 {
						w.t.Errorf("lords %v, want one\n%s", w.lords(), w.state())
					}
				})
			})
		}
	}
}

// TestAnIncrementThatIsTriedAgainCountsOnce cuts the leader off while much is under way, from callers who wait
// for as long as it takes: entries whose answers are lost are agreed on by the next leader, and sent again.
func TestAnIncrementThatIsTriedAgainCountsOnce(t *testing.T) {
	bubble(t, func(w *world) {
		w.pace, w.patience = 10*time.Millisecond, time.Minute
		all := w.ready(3)
		w.net.Delay(20*time.Millisecond, 10*time.Millisecond)
		for round := range 8 {
			key := fmt.Sprint("n", round)
			w.eventually(20*time.Second, "the cache group has a leader", func() bool { return w.leader("cache") != nil })
			leader := w.leader("cache")
			stop := w.flood(16, key, w.others(leader)...)
			time.Sleep(time.Second + time.Duration(7*round)*time.Millisecond)
			w.net.Isolate(leader.name)
			time.Sleep(4 * time.Second)
			t := stop()
			t.check(w, w.count(w.others(leader)[0], key))
			if t.unknown+t.refused+t.maybe > 0 {
				w.t.Errorf("%v: want every increment acknowledged", t)
			}
			w.net.Heal()
			w.wantLord(20*time.Second, all[2])
		}
	})
}
