package node

import (
	"testing"
	"time"
)

// wantCluster looks that all are in one cluster with these voters, name the same lord, and count together.
func (w *world) wantCluster(lord *box, all ...*box) {
	w.t.Helper()
	w.eventually(10*time.Second, "all are in one cluster, and say who rules", func() bool {
		for _, b := range all {
			n := b.running()
			id := n.control.ClusterID()
			if id == "" || id != all[0].running().control.ClusterID() || n.cluster.Self().Meta.ClusterID != id || b.blue().View().Lord != lord.id {
				return false
			}
		}
		return w.voters(all...) == len(all)
	})
	before := w.count(all[0], "together")
	for range 5 {
		for _, b := range all {
			w.mustInc(b, "together")
		}
	}
	for _, b := range all {
		if got, want := w.count(b, "together"), before+int64(5*len(all)); got != want {
			w.t.Errorf("%s counts %d, want %d", b.name, got, want)
		}
	}
}

func TestNodesFormOneClusterAndTheStrongestRules(t *testing.T) {
	for name, n := range map[string]int{"three": 3, "five": 5} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				w.expect = n
				all := w.ready(n)
				if took := w.now(); took > 10*time.Second {
					w.t.Errorf("ready after %v, want 10s at most", took)
				}
				w.wantCluster(all[n-1], all...)
				w.wantSteady(20*time.Second, all[n-1])
			})
		})
	}
}

func TestNodesStartedAMinuteApartFormOneCluster(t *testing.T) {
	bubble(t, func(w *world) {
		for i := range 3 {
			w.add(i + 1)
		}
		for _, b := range w.all() {
			time.Sleep(time.Minute)
			b.start()
		}
		w.wantLord(20*time.Second, w.box(3))
		w.wantCluster(w.box(3), w.all()...)
	})
}

func TestALateFourthJoins(t *testing.T) {
	bubble(t, func(w *world) {
		all := w.ready(3)
		w.mustInc(all[0], "early")
		time.Sleep(30 * time.Second)
		late := w.add(4)
		late.start()
		w.wantLord(20*time.Second, late)
		w.wantCluster(late, w.all()...)
		if got := w.count(late, "early"); got != 1 {
			w.t.Errorf("the late node counts %d, want 1", got)
		}
	})
}

func TestNothingIsFoundedBelowClusterExpect(t *testing.T) {
	bubble(t, func(w *world) {
		all := w.start(2)
		w.wantNobody(time.Minute, all...)
		for _, b := range all {
			n := b.running()
			if !n.fresh() || n.control.ClusterID() != "" || n.control.Leader() != "" || n.cache.Leader() != "" {
				w.t.Errorf("%s is in a cluster although one node is missing\n%s", b.name, w.state())
			}
			w.wantNoWrite(b)
		}
	})
}
