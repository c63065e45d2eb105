package cachefsm

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cohortd/cohort/cachefsm/cache"
)

func TestFreshIsNeverStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := cluster(t, 3, nil)
		ids := []string{"n1", "n2", "n3"}
		n := int64(0)
		for round := range 30 {
			r.transfer(ids[round%3])
			for i := range 3 {
				n = r.do(ids[(round+i)%3], inc("k")).Num
				for _, id := range ids {
					if res := r.read(id, cache.Get("c", "k"), true); res.Num != n {
						t.Fatalf("round %d: fresh Get on %s = %d after %d was answered", round, id, res.Num, n)
					}
				}
			}
		}
		if s := r.waitLeader().g.Stats(); s.ReadRounds == 0 {
			t.Error("no leader ever asked for its term")
		}
	})
}

// A leader that is cut off and does not know it yet must not answer fresh reads.
func TestDeposedLeaderAnswersNoFreshRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// A long lease makes the old leader believe in itself while the others elect a new one at once.
		r := cluster(t, 3, func(o *Options) { o.Timeout = 5 * time.Second })
		old := r.waitLeader()
		r.do(old.id, inc("k"))
		r.sameIndex() // or the one that campaigns might lack an entry
		r.w.cutOff(old.id)
		f := r.nodes[map[string]string{"n1": "n2", "n2": "n3", "n3": "n1"}[old.id]]
		if err := f.g.Campaign(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the others have a leader", func() bool { _, ok := f.g.Leading(); return ok })
		if res := r.do(f.id, inc("k")); res.Num != 2 {
			t.Fatalf("increment on the new leader = %+v", res)
		}
		if _, ok := old.g.Leading(); !ok {
			t.Fatal("the old leader has noticed already; this test shows nothing")
		}
		if res := r.read(old.id, cache.Get("c", "k"), false); res.Num != 1 {
			t.Errorf("local Get on the old leader = %d; it may be stale and here must be", res.Num)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if res, err := old.g.Read(ctx, cache.Get("c", "k"), true); err == nil {
			t.Errorf("fresh Get on the old leader = %+v, want an error", res)
		}
		r.w.heal()
		if res := r.read(old.id, cache.Get("c", "k"), true); res.Num != 2 {
			t.Errorf("fresh Get after the heal = %d, want 2", res.Num)
		}
	})
}

// Values are large and answers have a limit: the rest is asked again.
func TestLargeReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := cluster(t, 3, nil)
		f := r.follower()
		value := make([]byte, cache.DefaultBlockSize)
		for i := range 64 {
			value[0] = byte(i)
			r.do(f.id, cache.Set("c", fmt.Sprint(i), value, 0))
		}
		var callers sync.WaitGroup
		for i := range 64 {
			callers.Go(func() {
				if res := r.read(f.id, cache.Get("c", fmt.Sprint(i)), true); len(res.Bytes) != len(value) || res.Bytes[0] != byte(i) {
					t.Errorf("Get %d = %d bytes", i, len(res.Bytes))
				}
			})
		}
		callers.Wait()
	})
}
