package legion

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cohortd/cohort/cachefsm/lord"
	"github.com/cohortd/cohort/cachefsm/op"
)

// The schedules here once broke leases, in a simulation or on paper. world checks at every moment that at most one node
// is lord and that wards of two epochs never live at once; each test adds what must happen besides.

func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

const renewKind = 2 // second byte of a Renew

func isRenew(cmd []byte) bool { return cmd[1] == renewKind }

// 1: two daemons, one of which ignores TERM, and kill -9 of main.
func TestOneTicketAfterTheLastDaemon(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, _, b, c := three(t)
		c.guard.set(func() { c.guard.obey = []time.Duration{20 * time.Millisecond, time.Hour} })
		w.wantLord(c, 3*time.Second)
		began := time.Now()
		c.kill()
		w.wantLord(b, 900*time.Millisecond)
		if d := time.Since(began); d < c.cfg.Numbers.Grace {
			t.Errorf("next lord after %v, before the second daemon was killed", d)
		}
		time.Sleep(3 * time.Second)
		if n := c.guard.ticketsSent(); n != 1 {
			t.Errorf("%d tickets, want 1", n)
		}
	})
}

// 2: kill -9 of main and a restart while the old guardian is still stopping things.
func TestRestartDoesNotTakeTheOldEpochUp(t *testing.T) {
	for _, pause := range []time.Duration{50 * time.Millisecond, 150 * time.Millisecond, 300 * time.Millisecond} {
		bubble(t, func(t *testing.T) {
			w, _, _, c := three(t, func(c *Config) { c.PreemptDelay = 0 })
			c.guard.set(func() { c.guard.obey = []time.Duration{20 * time.Millisecond, time.Hour} })
			w.wantLord(c, 3*time.Second)
			old, epoch := c.guard, c.table.State("blue").Epoch
			mark := len(w.group.log())
			c.kill()
			time.Sleep(pause)
			c.start()
			time.Sleep(time.Minute)
			renewal := lord.Renew(c.id, c.boot, lord.Renewal{Legion: "blue", Epoch: epoch, Seq: 1})
			for _, e := range w.group.log()[mark:] {
				if isRenew(e) && bytes.Equal(e[:len(renewal)-1], renewal[:len(renewal)-1]) {
					t.Fatalf("the new boot renewed the old boot's epoch %d", epoch)
				}
			}
			w.wantLord(c, time.Second)
			if n := old.ticketsSent(); n > 1 {
				t.Errorf("%d tickets, want one at most", n)
			}
		})
	}
}

// 3: tickets that come late, twice, or are not what they say.
func TestTicketsThatMustNotCount(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, a, b, c := three(t, func(c *Config) { c.PreemptDelay = 0 })
		w.wantLord(c, 3*time.Second)
		late := c.guard.started()[0].c.Ticket
		epoch := c.guard.started()[0].c.Epoch
		c.kill()
		w.wantLord(b, time.Second)
		time.Sleep(20 * time.Second)
		for range 3 {
			if got := a.tickets.Handle(late)[0]; got != TicketApplied {
				t.Errorf("late ticket: %c, want %c: its epoch is over", got, TicketApplied)
			}
		}
		w.wantSteady(b, 5*time.Second)
		c.start() // and a grant to the node that the ticket names
		w.wantLord(c, 5*time.Second)
		a.tickets.Handle(late)
		w.wantSteady(c, 5*time.Second)

		now := c.table.State("blue")
		for name, forged := range map[string]Ticket{
			"boot of before":  NewTicket("blue", c.id, c.boot-1<<32, now.Epoch),
			"epoch of before": NewTicket("blue", c.id, c.boot, epoch),
			"epoch to come":   NewTicket("blue", c.id, c.boot, now.Epoch+5),
			"other node":      NewTicket("blue", b.id, b.boot, now.Epoch),
			"other legion":    NewTicket("red", c.id, c.boot, now.Epoch),
		} {
			sealed, err := forged.Seal(ticketKey)
			if err != nil {
				t.Fatal(err)
			}
			a.tickets.Handle(sealed)
			if s := a.table.State("blue"); s.Epoch != now.Epoch || s.Phase != lord.Held {
				t.Fatalf("ticket with %s changed the state to %+v", name, s)
			}
		}
		right := NewTicket("blue", c.id, c.boot, now.Epoch)
		sealed, _ := right.Seal([]byte("another cluster's key"))
		if got := a.tickets.Handle(sealed)[0]; got != TicketRefused {
			t.Errorf("ticket with a foreign seal: %c, want %c", got, TicketRefused)
		}
		w.wantSteady(c, 10*time.Second)
	})
}

// 4: the chosen node applies its grant six seconds late.
func TestGrantAppliedLate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.add(nodeA, 10), w.add(nodeB, 20)
		c := w.add(nodeC, 30)
		c.late(6 * time.Second)
		w.wantLord(b, 5*time.Second)
		w.wantNobody(time.Second, a, c)
		c.late(0)
		time.Sleep(time.Minute)
		w.wantLord(c, time.Second)
	})
}

// 5: answers to renewals come late and out of order; each counts for its own moment only.
func TestAnswersOutOfOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, _, _, c := three(t)
		var mu sync.Mutex
		r := rand.New(rand.NewPCG(5, 5))
		w.set(func() {
			c.answers = func(cmd []byte, _ op.Result) time.Duration {
				mu.Lock()
				defer mu.Unlock()
				if isRenew(cmd) && r.IntN(3) == 0 {
					return time.Duration(r.IntN(4000)) * time.Millisecond
				}
				return 2 * time.Millisecond
			}
		})
		w.wantLord(c, 3*time.Second)
		w.wantSteady(c, 30*time.Second)
		// From now on every answer is late by more than a lease can bear.
		w.set(func() {
			c.answers = func(cmd []byte, _ op.Result) time.Duration {
				if isRenew(cmd) {
					return 4 * time.Second
				}
				return 2 * time.Millisecond
			}
		})
		time.Sleep(5 * time.Second)
		if c.legion.IsLord() {
			t.Error("lord by answers that are older than L - G")
		}
	})
}

// 6: entries of a leader that is none any more, committed late.
func TestLateEntriesOfALostLeader(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, _, b, c := three(t)
		w.wantLord(c, 3*time.Second)
		seen := c.table.State("blue")
		time.Sleep(2 * time.Second)
		if r := w.inject(lord.Expire("blue", seen.Epoch, seen.RenewIndex)); r.Code != op.Refused {
			t.Errorf("Expire of an older renewal: %+v, want refused", r)
		}
		for name, cmd := range map[string][]byte{
			"grant of the first vacancy": lord.Grant("blue", b.id, b.boot, 0, b.cfg.Numbers),
			"grant of a later vacancy":   lord.Grant("blue", b.id, b.boot, seen.RenewIndex, b.cfg.Numbers),
			"handover of another epoch":  lord.Handover("blue", seen.Epoch+1, b.id),
			"revoke without handover":    lord.Revoke("blue", seen.Epoch),
		} {
			if r := w.inject(cmd); r.Code != op.Refused {
				t.Errorf("%s: %+v, want refused", name, r)
			}
		}
		w.wantSteady(c, 10*time.Second)
	})
}

// 7: every voter has other times in its ini.
func TestNumbersComeFromTheGrant(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		long := func(c *Config) {
			c.Numbers.Lease, c.Numbers.Soft, c.Numbers.Rho, c.PreemptDelay = 12*time.Second, 3*time.Second, 0.05, time.Second
		}
		slow := func(c *Config) { c.Numbers.Renew, c.PreemptDelay = 800*time.Millisecond, time.Second }
		a, b, c := w.add(nodeA, 10, long), w.add(nodeB, 20), w.add(nodeC, 30, slow)
		w.wantLord(c, 3*time.Second)
		if got := c.guard.started()[0].c.Numbers; got != a.cfg.Numbers {
			t.Errorf("the ward was started with %+v, want the granter's %+v", got, a.cfg.Numbers)
		}
		w.group.transfer(b) // its own lease is 5 s, the grant's 12
		began := time.Now()
		w.isolate(c)
		w.group.transfer(b)
		w.wantLord(b, 15*time.Second)
		if d := time.Since(began); d < 11*time.Second {
			t.Errorf("next lord after %v: the grant's lease is 12 s", d)
		}
	})
}

// 8: the guardian is stopped for 20 s, main alive, and the lease is lost.
func TestStoppedGuardianHasASecondKiller(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, _, b, c := three(t)
		c.guard.set(func() { c.guard.obey = []time.Duration{time.Hour} })
		w.wantLord(c, 3*time.Second)
		c.guard.hear(false)
		w.isolate(c)
		w.wantLord(b, 7*time.Second)
		time.Sleep(15 * time.Second)
		c.guard.hear(true)
		w.heal()
		w.wantLord(c, 20*time.Second)
	})
}

// 12: the guardian misses the deadlines and ends, while main goes on renewing.
func TestGuardiansEndIsFinal(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, _, _, c := three(t)
		c.guard.set(func() { c.guard.missing = true })
		w.wantLord(c, 3*time.Second)
		epoch := c.table.State("blue").Epoch
		time.Sleep(4 * time.Second) // L - G = 3.5 s
		if s := c.table.State("blue"); s.Epoch == epoch && s.Phase != lord.Vacant {
			t.Fatalf("epoch %d goes on without anything that it runs: %+v", epoch, s)
		}
		c.guard.set(func() { c.guard.missing = false })
		time.Sleep(5 * time.Second)
		w.wantSteady(c, 10*time.Second)
	})
}

// 13: a daemon that ignores TERM at the soft deadline, while renewals come back.
func TestSoftDeadlineIsFinal(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, _, _, c := three(t)
		c.guard.set(func() { c.guard.obey = []time.Duration{time.Hour} })
		w.wantLord(c, 3*time.Second)
		epoch := c.table.State("blue").Epoch
		var silent atomic.Bool
		silent.Store(true)
		w.set(func() { c.filter = func(cmd []byte) bool { return !isRenew(cmd) || !silent.Load() } })
		for c.legion.IsLord() {
			time.Sleep(10 * time.Millisecond)
		}
		lost := time.Now()
		silent.Store(false)
		for w.lives(epoch) {
			time.Sleep(5 * time.Millisecond)
		}
		n := c.cfg.Numbers
		if d := time.Since(lost); d > n.Soft-n.Kill+50*time.Millisecond {
			t.Errorf("killed %v after the soft deadline, want %v", d, n.Soft-n.Kill)
		}
		time.Sleep(2 * time.Second)
		if s := c.table.State("blue"); s.Epoch == epoch {
			t.Errorf("epoch %d is still there: %+v", epoch, s)
		}
	})
}

func (w *world) lives(epoch uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.alive[epoch] > 0
}

// 14: handover with a daemon that needs 8 s, and one that does not stop.
func TestHandoverWaitsForTheDaemon(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, _, b, c := three(t)
		c.guard.set(func() { c.guard.obey = []time.Duration{8 * time.Second} })
		w.wantLord(c, 3*time.Second)
		began := time.Now()
		c.legion.Drain(true)
		w.wantLord(b, 9*time.Second)
		if d := time.Since(began); d < 8*time.Second {
			t.Errorf("next lord after %v, the daemon needs 8 s", d)
		}
	})
	bubble(t, func(t *testing.T) {
		w, _, b, c := three(t)
		c.guard.set(func() { c.guard.obey = []time.Duration{time.Hour} })
		w.wantLord(c, 3*time.Second)
		c.guard.hear(false) // it never hears of the stop
		epoch := c.table.State("blue").Epoch
		began := time.Now()
		c.legion.Drain(true)
		for w.lives(epoch) {
			time.Sleep(20 * time.Millisecond)
		}
		n := c.cfg.Numbers
		if d := time.Since(began); d < n.StopGrace || d > n.StopGrace+revokeMargin+n.Lease {
			t.Errorf("killed after %v, want it revoked at %v and killed within a lease", d, n.StopGrace+revokeMargin)
		}
		c.guard.hear(true)
		w.wantLord(b, 6*time.Second)
	})
}

// 15: the lord leads the group; its death is an election too. The ticket tells a voter to take over at once.
func TestTicketWhenTheLordLeads(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, _, b, c := three(t)
		w.wantLord(c, 3*time.Second)
		w.group.transfer(c)
		w.group.slow(4 * time.Second) // the hint must be faster
		time.Sleep(time.Second)
		c.kill()
		w.wantLord(b, time.Second)
	})
	bubble(t, func(t *testing.T) { // an election is under way already
		w, a, b, c := three(t)
		w.wantLord(c, 3*time.Second)
		w.group.slow(1500 * time.Millisecond)
		w.group.transfer(a)
		w.group.lost(a.id)
		c.kill()
		w.wantLord(b, 2*time.Second)
	})
}

// 16: the dead lord is still alive in gossip, with the greatest valor.
func TestDeadBootIsNotGranted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, a, b, c := three(t)
		w.wantLord(c, 3*time.Second)
		w.set(func() { c.unheard = true })
		c.kill()
		w.wantLord(b, 300*time.Millisecond)
		if s := a.table.State("blue"); s.Dead[c.id] != c.boot {
			t.Errorf("dead = %v, want boot %d of c", s.Dead, c.boot)
		}
	})
}

// 17: the offer goes to a node that does not take it.
func TestOfferNotTaken(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.add(nodeA, 10)
		b := w.add(nodeB, 20)
		c := w.add(nodeC, 30)
		w.set(func() { c.filter = func(cmd []byte) bool { return !isRenew(cmd) } })
		time.Sleep(1100 * time.Millisecond)
		w.wantLord(b, time.Second)
	})
}

// 18: leadership moves all the time, also to a node that has just installed a snapshot.
func TestLeadershipMoves(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, a, b, c := three(t)
		w.wantLord(c, 3*time.Second)
		epoch := c.table.State("blue").Epoch
		for i := range 60 {
			w.group.transfer([]*node{a, b, c}[i%3])
			if i%7 == 0 {
				reinstall(t, []*node{a, b}[i%2])
			}
			time.Sleep(500 * time.Millisecond)
		}
		if got := c.table.State("blue").Epoch; got != epoch || !c.legion.IsLord() {
			t.Fatalf("epoch %d became %d by leader changes alone", epoch, got)
		}
		// A new leader that starts to count after an installed snapshot waits longer, never shorter.
		w.isolate(c)
		began := time.Now()
		time.Sleep(3 * time.Second)
		reinstall(t, b)
		w.group.transfer(b)
		w.wantLord(b, 9*time.Second)
		if d := time.Since(began); d < c.cfg.Numbers.Lease-c.cfg.Numbers.Renew {
			t.Errorf("next lord after %v", d)
		}
	})
}

func reinstall(t *testing.T, n *node) {
	var b bytes.Buffer
	if err := n.table.Snapshot()(&b); err != nil {
		t.Fatal(err)
	}
	if err := n.table.Restore(&b); err != nil {
		t.Fatal(err)
	}
}

// 19: the lord's machine reboots: the new boot releases what the old one held.
func TestRebootReleasesTheOldEpoch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, _, b, c := three(t)
		w.wantLord(c, 3*time.Second)
		c.crash()
		time.Sleep(500 * time.Millisecond)
		began := time.Now()
		c.start()
		for !b.legion.IsLord() && !c.legion.IsLord() {
			time.Sleep(5 * time.Millisecond)
		}
		if d := time.Since(began); d > 1500*time.Millisecond {
			t.Errorf("next lord %v after the reboot", d)
		}
		time.Sleep(20 * time.Second)
		w.wantLord(c, time.Second)
	})
}

// 20: copies of a dead boot's renewals keep coming.
func TestLateRenewalsDoNotLengthenTheWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, _, b, c := three(t)
		w.wantLord(c, 3*time.Second)
		time.Sleep(2 * time.Second)
		s := c.table.State("blue")
		c.crash()
		for range 55 {
			for seq := range s.RenewSeq {
				w.inject(lord.Renew(c.id, c.boot, lord.Renewal{Legion: "blue", Epoch: s.Epoch, Seq: seq + 1}))
			}
			time.Sleep(100 * time.Millisecond)
		}
		w.wantLord(b, 500*time.Millisecond)
	})
}

// 23: clock rates at their extremes, and one clock slewed by 8 %.
func TestClocksAtTheirWorst(t *testing.T) {
	for name, rates := range map[string][2][3]float64{ // boot, mono, raw of the holder, then of the others
		"slow holder, fast granter": {{0.99, 0.99, 0.99}, {1.01, 1.01, 1.01}},
		"fast holder, slow granter": {{1.01, 1.01, 1.01}, {0.99, 0.99, 0.99}},
		"holder's boot slewed down": {{0.92, 0.92, 0.99}, {1.01, 1.01, 1.01}},
		"granter's mono slewed up":  {{0.99, 0.99, 0.99}, {1.08, 1.08, 1.01}},
		"granter's raw runs wild":   {{0.99, 0.99, 0.99}, {1.01, 1.01, 1.2}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w, a, b, c := three(t)
				for n, r := range map[*node][3]float64{c: rates[0], a: rates[1], b: rates[1]} {
					n.clock.mu.Lock()
					n.clock.boot, n.clock.mono, n.clock.raw = r[0], r[1], r[2]
					n.clock.mu.Unlock()
				}
				c.guard.set(func() { c.guard.obey = []time.Duration{time.Hour} })
				w.wantLord(c, 3*time.Second)
				for range 3 {
					w.isolate(c)
					w.wantLord(b, 8*time.Second)
					w.heal()
					w.wantLord(c, 30*time.Second)
				}
			})
		})
	}
}

// 27: only the way between holder and leader is cut, in one direction.
func TestCutToTheLeaderAlone(t *testing.T) {
	for name, cut := range map[string]func(w *world, a, c *node){
		"holder to leader": func(w *world, a, c *node) { w.cut(c, a) },
		"leader to holder": func(w *world, a, c *node) { w.cut(a, c) },
		"both":             func(w *world, a, c *node) { w.cut(a, c); w.cut(c, a) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w, a, _, c := three(t)
				w.wantLord(c, 3*time.Second)
				cut(w, a, c)
				epoch := c.table.State("blue").Epoch
				for range 300 {
					time.Sleep(100 * time.Millisecond)
					if !c.legion.IsLord() || c.legion.held.Load().epoch != epoch {
						t.Fatal("lordship lost")
					}
				}
			})
		})
	}
}
