package node

import (
	"testing"
	"time"

	"github.com/cohortd/cohort/cachefsm/lord"
)

// Bounds of what a cut or a death may cost, from the numbers of the lease: soft is how long a lord that
// nobody hears may believe, elsewhere how long until another one rules.
func softDeadline() time.Duration {
	n := lord.Defaults()
	return n.Lease - n.Soft
}

const election = 3 * defaultControlTimeout

func elsewhere() time.Duration { return lord.Defaults().Wait() + election + time.Second }

// leaderPlaces are where the control group's leader may be when something befalls the lord.
var leaderPlaces = map[string]func(w *world, ruler *box){
	"leader elsewhere":      func(w *world, ruler *box) { w.lead("control", w.others(ruler)[0]) },
	"the lord leads itself": func(w *world, ruler *box) { w.lead("control", ruler) },
}

func TestALordThatIsCutOffStopsBeforeAnotherRules(t *testing.T) {
	for name, place := range leaderPlaces {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				all := w.ready(3)
				old := all[2]
				stop := w.flood(6, "n", all...)
				place(w, old)
				w.lead("cache", old)
				w.net.Isolate(old.name)
				cut := time.Now()
				w.eventually(softDeadline()+20*time.Millisecond, "the lord that is cut off stops by itself", func() bool { return !old.isLord() })
				w.eventually(elsewhere()-time.Since(cut), "another rules", all[1].isLord)
				w.t.Logf("another ruled after %v", time.Since(cut))
				w.wantNoWrite(old)
				if old.running().control.Leader() == old.id {
					w.t.Errorf("%s still believes that it leads", old.name)
				}
				w.wantSteady(10*time.Second, all[1])

				w.net.Heal()
				w.wantLord(15*time.Second, old)
				w.wantCluster(old, all...)
				time.Sleep(3 * time.Second)
				stop().check(w, w.count(old, "n"))
			})
		})
	}
}

func TestTheLordRulesOnWhileSomeWayIsLeft(t *testing.T) {
	// n3 rules, n1 leads, n2 does neither.
	for name, cut := range map[string]func(w *world){
		"lord to leader":            func(w *world) { w.net.CutOneWay("n3", "n1") },
		"leader to lord":            func(w *world) { w.net.CutOneWay("n1", "n3") },
		"lord and leader":           func(w *world) { w.net.Cut("n3", "n1") },
		"lord to follower":          func(w *world) { w.net.CutOneWay("n3", "n2") },
		"follower to lord":          func(w *world) { w.net.CutOneWay("n2", "n3") },
		"lord and follower":         func(w *world) { w.net.Cut("n3", "n2") },
		"leader to follower":        func(w *world) { w.net.CutOneWay("n1", "n2") },
		"leader and follower":       func(w *world) { w.net.Cut("n1", "n2") },
		"follower to both":          func(w *world) { w.net.CutOneWay("n2", "n1"); w.net.CutOneWay("n2", "n3") },
		"the follower from both":    func(w *world) { w.net.Isolate("n2") },
		"half of all packets":       func(w *world) { w.net.Loss(0.5) },
		"nothing, and all are slow": func(w *world) { w.net.Delay(50*time.Millisecond, 50*time.Millisecond) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				w.legion.Quorum = 2
				all := w.ready(3)
				w.lead("control", all[0])
				cut(w)
				w.wantSteady(25*time.Second, all[2])
				w.net.Heal()
				w.net.Loss(0)
				w.wantSteady(10*time.Second, all[2])
				w.wantCluster(all[2], all...)
			})
		})
	}
}

func TestAOneWayCutFromAllOthersCostsLordship(t *testing.T) {
	for name, tt := range map[string]struct {
		within time.Duration
		cut    func(w *world)
	}{
		"nobody hears the lord": {elsewhere(), func(w *world) { w.net.CutOneWay("n3", "n1"); w.net.CutOneWay("n3", "n2") }},
		// Its renewals are agreed on, although it never hears so, until it stops to send them.
		"the lord hears nobody": {softDeadline() + elsewhere(), func(w *world) { w.net.CutOneWay("n1", "n3"); w.net.CutOneWay("n2", "n3") }},
	} {
		for where, place := range leaderPlaces {
			t.Run(name+", "+where, func(t *testing.T) {
				bubble(t, func(w *world) {
					w.legion.Quorum = 2
					all := w.ready(3)
					stop := w.flood(6, "n", all...)
					place(w, all[2])
					tt.cut(w)
					began := time.Now()
					w.eventually(softDeadline()+20*time.Millisecond, "the lord stops by itself", func() bool { return !all[2].isLord() })
					w.eventually(tt.within-time.Since(began), "another rules", all[1].isLord)
					w.t.Logf("another ruled after %v", time.Since(began))
					w.wantNoWrite(all[2])
					w.wantSteady(10*time.Second, all[1])
					w.net.Heal()
					w.wantLord(15*time.Second, all[2])
					time.Sleep(3 * time.Second)
					stop().check(w, w.count(all[2], "n"))
				})
			})
		}
	}
}
