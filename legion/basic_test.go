package legion

import (
	"testing"
	"testing/synctest"
	"time"
)

func three(t *testing.T, change ...func(*Config)) (*world, *node, *node, *node) {
	w := newWorld(t)
	return w, w.add(nodeA, 10, change...), w.add(nodeB, 20, change...), w.add(nodeC, 30, change...)
}

func TestGreatestValorRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, _, c := three(t)
		w.wantLord(c, 3*time.Second)
		w.wantSteady(c, time.Minute)
		if n := len(c.guard.started()); n != 1 {
			t.Errorf("%d lordships, want 1", n)
		}
	})
}

func TestKilledLordIsReplacedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, b, c := three(t)
		w.wantLord(c, 3*time.Second)
		began := time.Now()
		w.set(func() { c.unheard = true })
		c.kill()
		w.wantLord(b, time.Second)
		t.Logf("failover %v", time.Since(began))
		c.start()
		w.wantLord(c, 15*time.Second)
	})
}

func TestCrashedLordIsReplacedAfterItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, b, c := three(t)
		w.wantLord(c, 3*time.Second)
		c.crash()
		w.wantLord(b, 7*time.Second)
	})
}

func TestStoppedLordHandsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, b, c := three(t)
		w.wantLord(c, 3*time.Second)
		c.stop()
		w.wantLord(b, time.Second)
	})
}
