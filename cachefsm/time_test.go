package cachefsm

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cohortd/cohort/cachefsm/cache"
	"github.com/cohortd/cohort/cachefsm/op"
)

// A blocked counter ends although nobody writes: the leader's ticks carry the time.
func TestTicksEndACounter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := cluster(t, 3, nil)
		r.do("n1", cache.Math("c", "blocked", cache.Inc, 100, 10*time.Second))
		time.Sleep(9 * time.Second)
		if res := r.read("n2", cache.Get("c", "blocked"), true); res.Num != 100 {
			t.Errorf("after 9 of 10 s: %+v", res)
		}
		for range 25 { // nothing but reads
			time.Sleep(100 * time.Millisecond)
			r.read("n3", cache.Get("c", "blocked"), true)
		}
		for id := range r.nodes {
			for _, fresh := range []bool{true, false} {
				if res := r.read(id, cache.Get("c", "blocked"), fresh); res.Code != op.NotFound {
					t.Errorf("after 11.5 of 10 s, on %s, fresh %v: %+v", id, fresh, res)
				}
			}
		}
		led := r.waitLeader()
		ticks, applied := led.g.Stats().Ticks, led.g.Stats().Applied
		time.Sleep(time.Minute)
		if s := led.g.Stats(); s.Applied != applied || ticks == 0 {
			t.Errorf("%d ticks while something was timed, %d entries in an idle minute; want some and none", ticks, s.Applied-applied)
		}
	})
}

// All nodes see the same items at the same index, whatever their clocks say.
func TestExpiryIsTheSameEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := cluster(t, 3, nil)
		for i := range 50 {
			r.do("n1", cache.Math("c", fmt.Sprint(i), cache.Inc, 1, time.Duration(i+1)*200*time.Millisecond))
			if i == 25 {
				r.transfer("n3")
			}
		}
		time.Sleep(5 * time.Second)
		r.do("n2", inc("last"))
		r.sameIndex()
		same := map[string]int{}
		for _, m := range r.nodes {
			m.g.machine.mu.RLock()
			var list strings.Builder
			fmt.Fprint(&list, m.g.machine.at)
			for i := range 50 {
				fmt.Fprint(&list, " ", i, m.tab.Read(cache.Exists("c", fmt.Sprint(i))).Code == op.OK)
			}
			m.g.machine.mu.RUnlock()
			same[list.String()]++
		}
		if len(same) != 1 {
			t.Errorf("the nodes see %d different states: %v", len(same), same)
		}
	})
}

// Leaders change and stand still in between: the table's time goes on by what passed under each leader and
// never back, and the wall clock is not asked again.
func TestTimeOverLeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		r := cluster(t, 3, func(o *Options) {
			o.WallStart = func() time.Time { asked++; return time.Unix(1_700_000_000, 0) }
		})
		began := r.waitLeader().g.Stats().Time
		last := began
		for i := range 9 {
			r.transfer([]string{"n1", "n2", "n3"}[i%3])
			time.Sleep(10 * time.Second)
			r.do("n1", inc("k"))
			now := r.waitLeader().g.Stats().Time
			if now-last < 9*time.Second || now-last > 12*time.Second {
				t.Errorf("10 s passed, the table's time went from %v to %v", last-began, now-began)
			}
			last = now
		}
		if asked != 1 {
			t.Errorf("the wall clock was asked %d times, want once", asked)
		}
	})
}

// The same entries an hour later, on another machine with another clock, come to the same.
func TestAnHourApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var states [2][]byte
		for i := range states {
			m := newCacheMachine()
			for n := range 500 {
				at := time.Duration(n) * 50 * time.Millisecond
				life := time.Duration(n%90) * time.Second
				m.apply(uint64(n+2), at, chunkOf("a", uint64(n+1), cache.Math("c", fmt.Sprint(n%120), cache.Kind(n%4), int64(n), life)))
			}
			states[i] = snapshotOf(t, m)
			time.Sleep(time.Hour)
		}
		if !bytes.Equal(states[0], states[1]) {
			t.Error("the two states differ")
		}
	})
}
