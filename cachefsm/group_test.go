package cachefsm

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cohortd/cohort/cachefsm/cache"
	"github.com/cohortd/cohort/cachefsm/op"
)

func TestThreeNodesAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := cluster(t, 3, nil)
		for i, id := range []string{"n1", "n2", "n3", "n1"} {
			if res := r.do(id, inc("k")); res.Num != int64(i+1) {
				t.Errorf("increment %d, on %s = %+v", i+1, id, res)
			}
		}
		for id := range r.nodes {
			if res := r.read(id, cache.Get("c", "k"), true); res.Num != 4 {
				t.Errorf("fresh Get on %s = %+v, want 4", id, res)
			}
			time.Sleep(time.Second)
			if res := r.read(id, cache.Get("c", "k"), false); res.Num != 4 {
				t.Errorf("local Get on %s a second later = %+v, want 4", id, res)
			}
		}
	})
}

// The leader dies while 64 callers on all nodes increment. Nobody is told the same number as another, and
// what is not answered is counted once at most.
func TestLeaderDiesUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := cluster(t, 3, nil)
		led := r.waitLeader()
		var c counted
		var callers sync.WaitGroup
		stop := make(chan struct{})
		for i := range 64 {
			m := r.nodes[fmt.Sprintf("n%d", i%3+1)]
			callers.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
					res, err := m.g.Do(ctx, inc("k"))
					cancel()
					c.note(res, err)
					time.Sleep(time.Duration(i%7+1) * time.Millisecond) // nothing here takes time by itself
					if errors.Is(err, ErrClosed) {
						return
					}
				}
			})
		}
		time.Sleep(500 * time.Millisecond)
		r.kill(led.id)
		time.Sleep(5 * time.Second)
		close(stop)
		callers.Wait()
		next := r.waitLeader()
		final := r.read(next.id, cache.Get("c", "k"), true).Num
		t.Logf("%d answered, %d unknown, %d refused, counter %d", len(c.got), c.unknown, c.refused, final)
		c.check(t, final)
		if c.unknown > 64 || len(c.got) < 1000 {
			t.Errorf("%d answered and %d unknown; want thousands, and at most one for each caller", len(c.got), c.unknown)
		}
	})
}

// The answer to a forwarded batch is lost after it was committed: the retry is told what it came to then.
func TestLostAnswerIsAppliedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := cluster(t, 3, nil)
		f := r.follower()
		lost := 0
		r.w.change(func() {
			r.w.lose = func(from, _ string, kind uint8) bool {
				r.w.mu.Lock()
				defer r.w.mu.Unlock()
				if kind != kinds.Apply || lost >= 2 {
					return false
				}
				lost++
				return from == f.id
			}
		})
		if res := r.do(f.id, inc("k")); res.Num != 1 {
			t.Errorf("increment with two lost answers = %+v, want 1", res)
		}
		if res := r.do(f.id, inc("k")); res.Num != 2 || lost != 2 {
			t.Errorf("the next increment = %+v after %d lost answers, want 2 after 2", res, lost)
		}
		if s := f.g.Stats(); s.Retries < 2 {
			t.Errorf("%d retries, want two at least", s.Retries)
		}
	})
}

func TestLostAnswerAcrossLeaderChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := cluster(t, 3, nil)
		led := r.waitLeader()
		f := r.follower()
		r.w.change(func() {
			r.w.lose = func(from, to string, kind uint8) bool { return kind == kinds.Apply && from == f.id && to == led.id }
		})
		var res op.Result
		var err error
		var caller sync.WaitGroup
		caller.Go(func() { res, err = f.g.Do(r.ctx(time.Minute), inc("k")) })
		time.Sleep(time.Second) // committed by now, unanswered
		for id := range r.nodes {
			if id != led.id && id != f.id {
				r.transfer(id)
			}
		}
		caller.Wait()
		if err != nil || res.Num != 1 {
			t.Errorf("Do = %+v, %v; want 1", res, err)
		}
		if res := r.read(f.id, cache.Get("c", "k"), true); res.Num != 1 {
			t.Errorf("the counter holds %d, want 1", res.Num)
		}
	})
}

func TestForwardAfterLeaderChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := cluster(t, 3, nil)
		for i, to := range []string{"n2", "n3", "n1", "n2"} {
			r.transfer(to)
			began := time.Now()
			for _, id := range []string{"n1", "n2", "n3"} {
				r.do(id, inc("k"))
			}
			if d := time.Since(began); d > time.Second {
				t.Errorf("three increments after change %d took %v", i, d)
			}
		}
		if res := r.read("n1", cache.Get("c", "k"), true); res.Num != 12 {
			t.Errorf("the counter holds %d, want 12", res.Num)
		}
	})
}

// A node that takes another for the leader is told who is.
func TestNotLeaderSaysWhoIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := cluster(t, 3, nil)
		r.transfer("n1")
		stale := *r.nodes["n2"].g.view.Load()
		stale.leader, stale.changed = "n3", make(chan struct{})
		r.nodes["n2"].g.view.Store(&stale)
		if res := r.do("n2", inc("k")); res.Num != 1 {
			t.Errorf("increment by a node that is mistaken about the leader = %+v, want 1", res)
		}
	})
}

func TestMinorityHasNoLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := cluster(t, 3, nil)
		f := r.follower()
		r.w.cutOff(f.id)
		for name, call := range map[string]func(context.Context) error{
			"Do":    func(ctx context.Context) error { _, err := f.g.Do(ctx, inc("k")); return err },
			"fresh": func(ctx context.Context) error { _, err := f.g.Read(ctx, cache.Get("c", "k"), true); return err },
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			began := time.Now()
			err := call(ctx)
			cancel()
			if d := time.Since(began); !errors.Is(err, ErrNoLeader) || !errors.Is(err, context.DeadlineExceeded) || d > 5*time.Second {
				t.Errorf("%s in a minority = %v after %v; want ErrNoLeader within 5 s", name, err, d)
			}
		}
		if _, err := f.g.DoVia(r.ctx(time.Second), "", inc("k")); !errors.Is(err, ErrNoLeader) {
			t.Errorf("DoVia in a minority = %v, want ErrNoLeader", err)
		}
		// The next one was never sent, so it cannot be applied after the heal.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := f.g.Do(ctx, inc("never"))
		cancel()
		if errors.Is(err, ErrUnknown) || !errors.Is(err, ErrNoLeader) {
			t.Errorf("Do without a leader = %v; want ErrNoLeader and no doubt", err)
		}
		r.w.heal()
		r.do(f.id, inc("k"))
		if res := r.read(f.id, cache.Exists("c", "never"), true); res.Code != op.NotFound {
			t.Errorf("an op that was refused was applied: %+v", res)
		}
	})
}

// A leader that loses its majority gives its callers back within their deadlines, too.
func TestLeaderLosesMajority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := cluster(t, 3, nil)
		led := r.waitLeader()
		r.w.cutOff(led.id)
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		_, err := led.g.Do(ctx, inc("k"))
		if !errors.Is(err, ErrNoLeader) || !errors.Is(err, ErrUnknown) {
			t.Errorf("Do = %v; want ErrNoLeader, and ErrUnknown because it is in the log", err)
		}
		r.w.heal()
		r.waitLeader()
	})
}

func TestDoVia(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := cluster(t, 3, nil)
		r.transfer("n1")
		r.w.cutOneWay("n2", "n1")
		if res, err := r.nodes["n2"].g.DoVia(r.ctx(time.Second), "", inc("k")); err == nil {
			t.Errorf("DoVia over a cut way = %+v, want an error", res)
		}
		res, err := r.nodes["n2"].g.DoVia(r.ctx(time.Second), "n3", inc("k"))
		if err != nil || res.Num == 0 {
			t.Errorf("DoVia through n3 = %+v, %v", res, err)
		}
		for _, via := range []string{"", "n1", "n3"} {
			if res, err := r.nodes["n1"].g.DoVia(r.ctx(time.Second), via, inc("other")); err != nil || res.Code != op.OK {
				t.Errorf("DoVia(%q) on the leader = %+v, %v", via, res, err)
			}
		}
		r.w.heal()
	})
}

func TestIdentify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := cluster(t, 3, nil)
		for _, id := range []string{"n2", "n1", "n3"} {
			got, err := r.nodes[id].g.Identify(r.ctx(time.Second), "by-"+id)
			if err != nil || got != "by-n2" {
				t.Errorf("Identify on %s = %q, %v; want the first proposal", id, got, err)
			}
		}
		time.Sleep(time.Second)
		for id, m := range r.nodes {
			if got := m.g.ClusterID(); got != "by-n2" {
				t.Errorf("ClusterID on %s = %q", id, got)
			}
		}
	})
}

func TestAppliedNotice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := cluster(t, 3, nil)
		time.Sleep(5 * time.Second)
		notice := r.nodes["n3"].g.Applied()
		select {
		case <-notice:
			t.Fatal("closed although nothing was applied")
		default:
		}
		r.do("n1", inc("k"))
		select {
		case <-notice:
		case <-time.After(time.Second):
			t.Error("an entry was applied and nobody was told")
		}
		if res := r.read("n3", cache.Get("c", "k"), false); res.Num != 1 {
			t.Errorf("after the notice the table holds %+v", res)
		}
	})
}

func TestCampaign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := cluster(t, 3, nil)
		led := r.waitLeader()
		f := r.follower()
		r.sameIndex()
		r.kill(led.id)
		began := time.Now()
		if err := f.g.Campaign(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it leads", func() bool { _, ok := f.g.Leading(); return ok })
		if d := time.Since(began); d > 500*time.Millisecond {
			t.Errorf("leading after %v; want at once, without an election timeout", d)
		}
		r.do(f.id, inc("k"))
		if err := f.g.Campaign(); err != nil {
			t.Errorf("Campaign of the leader = %v", err)
		}
	})
}

func TestOpTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := cluster(t, 1, nil)
		if res := r.do("n1", make([]byte, op.MaxOp+1)); res.Code != op.TooBig {
			t.Errorf("Do of an op over the limit = %+v", res)
		}
		r.do("n1", cache.Define(cache.Spec{Name: "large", Items: 2, BlockSize: cache.MaxBlockSize}))
		if res := r.do("n1", cache.Set("large", "k", make([]byte, cache.MaxBlockSize), 0)); res.Code != op.OK {
			t.Errorf("Set of the largest value = %+v", res)
		}
		if res := r.read("n1", cache.Get("large", "k"), true); len(res.Bytes) != cache.MaxBlockSize {
			t.Errorf("Get of the largest value = %d bytes", len(res.Bytes))
		}
	})
}

func TestDoEndsWithItsGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		m := r.start("n1") // no leader ever: it is not bootstrapped
		var caller sync.WaitGroup
		caller.Go(func() {
			if _, err := m.g.Do(t.Context(), inc("k")); !errors.Is(err, ErrClosed) {
				t.Errorf("Do of a group that ends = %v, want ErrClosed", err)
			}
		})
		time.Sleep(time.Second)
		r.stop()
		caller.Wait()
		if _, err := m.g.Do(t.Context(), inc("k")); !errors.Is(err, ErrClosed) {
			t.Errorf("Do after the end = %v, want ErrClosed", err)
		}
	})
}
