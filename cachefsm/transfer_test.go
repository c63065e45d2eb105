package cachefsm

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cohortd/cohort/cachefsm/cache"
)

func TestTransferTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := cluster(t, 3, nil)
		r.transfer("n1")
		led := r.nodes["n1"].g
		if err := r.nodes["n2"].g.TransferTo(r.ctx(time.Second), "n3"); err == nil {
			t.Error("a follower handed leadership over")
		}
		if err := led.TransferTo(r.ctx(time.Second), "nobody"); err == nil {
			t.Error("leadership went to nobody")
		}
		if err := led.TransferTo(r.ctx(time.Second), "n1"); err != nil {
			t.Errorf("to itself: %v", err)
		}
		if err := led.TransferTo(r.ctx(time.Second), ""); err != nil {
			t.Errorf("to whoever is furthest: %v", err)
		}
		if id := r.waitLeader().id; id == "n1" {
			t.Error("n1 leads on")
		}
	})
}

// A transfer that cannot be done ends, and the leader goes on.
func TestTransferToWhoIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := cluster(t, 3, nil)
		r.transfer("n1")
		r.w.cutOff("n3")
		time.Sleep(100 * time.Millisecond)
		began := time.Now()
		if err := r.nodes["n1"].g.TransferTo(r.ctx(time.Minute), "n3"); err == nil {
			t.Error("leadership went to a node that is cut off")
		}
		if d := time.Since(began); d > 3*time.Second {
			t.Errorf("it took %v to give up", d)
		}
		for i := range 3 {
			if res := r.do("n2", inc("k")); res.Num != int64(i+1) {
				t.Errorf("increment %d afterwards = %+v", i+1, res)
			}
		}
		r.w.heal()
		r.transfer("n3")
		r.do("n1", inc("k"))
	})
}

// Under load leadership goes where it should, at the first try, and nobody waits long.
func TestTransferUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := cluster(t, 3, nil)
		var c counted
		var running sync.WaitGroup
		stop := make(chan struct{})
		for _, m := range r.nodes {
			for range 8 {
				running.Go(func() {
					for {
						select {
						case <-stop:
							return
						case <-time.After(time.Millisecond):
						}
						began := time.Now()
						res, err := m.g.Do(r.t.Context(), inc("k"))
						c.note(res, err)
						if d := time.Since(began); d > time.Second {
							t.Errorf("an increment took %v", d)
						}
					}
				})
			}
		}
		for _, id := range []string{"n1", "n2", "n3", "n1", "n2"} {
			led := r.waitLeader()
			if led.id == id {
				continue
			}
			if err := led.g.TransferTo(r.ctx(5*time.Second), id); err != nil {
				t.Errorf("TransferTo(%s) = %v", id, err)
			}
			if got := r.waitLeader().id; got != id {
				t.Errorf("leadership went to %s, not to %s", got, id)
			}
			time.Sleep(200 * time.Millisecond)
		}
		close(stop)
		running.Wait()
		c.check(t, r.read("n1", cache.Get("c", "k"), true).Num)
		if c.unknown > 0 || c.refused > 0 {
			t.Errorf("%d unknown, %d refused; want none", c.unknown, c.refused)
		}
	})
}
