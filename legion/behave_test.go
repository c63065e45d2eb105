package legion

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cohortd/cohort/cachefsm/lord"
)

func TestArbiterVotesAndNeverRules(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		two := func(c *Config) { c.Quorum = 2 }
		a, b := w.add(nodeA, 0, two), w.add(nodeB, 10, two)
		w.wantLord(b, 5*time.Second)
		b.crash()
		w.wantNobody(30*time.Second, a)
	})
}

func TestBelowQuorumNobodyRules(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, a, b, c := three(t, func(c *Config) { c.Quorum = 3 })
		w.wantLord(c, 5*time.Second)
		a.stop() // its vote is gone, the group still agrees
		time.Sleep(c.cfg.Numbers.Lease + 3*time.Second)
		w.wantNobody(20*time.Second, b, c)
		a.start()
		w.wantLord(c, 5*time.Second)
	})
}

func TestQuorumOfTwoFailsOverFast(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, _, b, c := three(t, func(c *Config) { c.Quorum = 2 })
		w.wantLord(c, 5*time.Second)
		w.set(func() { c.unheard = true })
		c.kill()
		w.wantLord(b, time.Second)
	})
}

func TestGreaterValorTakesOverAfterTheDelay(t *testing.T) {
	for name, tt := range map[string]struct {
		change   func(*Config)
		from, to time.Duration // of the takeover; zero: never
	}{
		"ten seconds":     {func(*Config) {}, 10 * time.Second, 11 * time.Second},
		"at once":         {func(c *Config) { c.PreemptDelay = 0 }, 0, 500 * time.Millisecond},
		"without preempt": {func(c *Config) { c.NoPreempt = true }, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.add(nodeA, 10, tt.change)
				b := w.add(nodeB, 20, tt.change)
				w.wantLord(b, 3*time.Second)
				began := time.Now()
				c := w.add(nodeC, 30, tt.change)
				if tt.to == 0 {
					w.wantSteady(b, time.Minute)
					return
				}
				w.wantLord(c, tt.to)
				if d := time.Since(began); d < tt.from {
					t.Errorf("took over after %v, want %v", d, tt.from)
				}
			})
		})
	}
}

func TestEqualValorNeverTakesOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.add(nodeA, 10)
		b := w.add(nodeB, 20)
		w.wantLord(b, 3*time.Second)
		w.add(nodeC, 20) // greater uuid
		w.wantSteady(b, time.Minute)
	})
}

func TestChangedValorMovesTheLord(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, a, b, c := three(t, func(c *Config) { c.PreemptDelay = 0 })
		w.wantLord(c, 3*time.Second)
		a.legion.SetValor(99)
		w.wantLord(a, 500*time.Millisecond)
		a.legion.SetValor(0)
		w.wantLord(c, 500*time.Millisecond)
		c.legion.SetValor(5)
		w.wantLord(b, 500*time.Millisecond)
	})
}

func TestDrainHandsOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, _, b, c := three(t)
		w.wantLord(c, 3*time.Second)
		c.legion.Drain(true)
		w.wantLord(b, 500*time.Millisecond)
		w.wantSteady(b, 30*time.Second)
		c.legion.Drain(false)
		w.wantLord(c, 12*time.Second)
	})
}

func TestDrainAloneStops(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.add(nodeA, 10)
		w.wantLord(a, 3*time.Second)
		a.legion.Drain(true)
		time.Sleep(time.Second)
		w.wantNobody(20*time.Second, a)
	})
}

func TestStepDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, _, b, c := three(t, func(c *Config) { c.PreemptDelay = 0 })
		w.wantLord(c, 3*time.Second)
		if err := b.legion.StepDown(t.Context()); !errors.Is(err, ErrNotLord) {
			t.Errorf("StepDown of another: %v, want %v", err, ErrNotLord)
		}
		if err := c.legion.StepDown(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.wantLord(b, 500*time.Millisecond)
		w.wantSteady(b, 28*time.Second)
		w.wantLord(c, 4*time.Second) // the hold is over
		if err := c.legion.StepDown(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.wantLord(b, 500*time.Millisecond)
		c.legion.SetValor(30)
		w.wantLord(c, 500*time.Millisecond)
	})
}

func TestStepDownWithoutAnHeir(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.add(nodeA, 10)
		w.add(nodeB, 0)
		w.wantLord(a, 3*time.Second)
		if err := a.legion.StepDown(t.Context()); !errors.Is(err, ErrNoHeir) {
			t.Errorf("StepDown = %v, want %v", err, ErrNoHeir)
		}
		w.wantSteady(a, 5*time.Second)
	})
}

func TestFailedLordHookSuspends(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, _, b, c := three(t, func(c *Config) { c.PreemptDelay = 0 })
		c.guard.set(func() { c.guard.lordHook = true })
		w.wantLord(b, 5*time.Second)
		began := time.Now()
		var gaps []time.Duration
		for len(gaps) < 3 {
			have := len(c.guard.started())
			for len(c.guard.started()) == have {
				time.Sleep(10 * time.Millisecond)
			}
			gaps = append(gaps, time.Since(began))
			w.wantLord(b, 2*time.Second)
			began = time.Now()
		}
		for i, want := range []time.Duration{3 * time.Second, 6 * time.Second, 12 * time.Second} {
			if gaps[i] < want-500*time.Millisecond || gaps[i] > want+time.Second {
				t.Errorf("suspensions %v, want about 3, 6, 12 s", gaps)
				break
			}
		}
		c.guard.set(func() { c.guard.lordHook = false })
		w.wantLord(c, 30*time.Second)
		w.wantSteady(c, time.Minute)
	})
}

func TestFailedUnlordHookWaitsForTheLease(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, _, b, c := three(t)
		c.guard.set(func() { c.guard.unlord = true })
		w.wantLord(c, 3*time.Second)
		began := time.Now()
		c.legion.Drain(true)
		w.wantLord(b, 8*time.Second)
		n := c.cfg.Numbers
		if d := time.Since(began); d < n.Lease-n.Renew {
			t.Errorf("next lord after %v, before the lease could run out", d)
		}
		if c.legion.Stats().Alarms != 1 {
			t.Errorf("%d alarms, want 1", c.legion.Stats().Alarms)
		}
	})
}

func TestGuardianThatDoesNotStart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, _, b, c := three(t)
		c.guard.set(func() { c.guard.broken = errBroken })
		w.wantLord(b, 4*time.Second)
		if n := b.table.State("blue").Suspended[c.id]; n != 1 {
			t.Errorf("suspended %d times, want 1", n)
		}
	})
}

// A node with the cluster's secret and another legion secret is no member, and its vote does not count.
func TestWrongLegionSecretIsNoMember(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		two := func(c *Config) { c.Quorum = 2 }
		a := w.add(nodeA, 10, two)
		c := w.add(nodeC, 30, two, func(c *Config) { c.Secret = "a guess" })
		w.wantNobody(20*time.Second, a, c)
		if n := len(a.legion.View().Members); n != 1 {
			t.Errorf("%d members, want 1", n)
		}
		if a.legion.Stats().Refused.Foreign == 0 {
			t.Error("no announcement was counted as refused")
		}
		b := w.add(nodeB, 5, two)
		w.wantLord(a, 5*time.Second)
		w.wantNobody(5*time.Second, b, c)
	})
}

func TestDroppedAnnouncementsGrantNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.add(nodeA, 0) // leads, and may not rule
		w.mute = true
		b, c := w.add(nodeB, 20), w.add(nodeC, 30)
		w.wantNobody(20*time.Second, a, b, c)
		b.mute(false)
		w.wantLord(b, 4*time.Second)
	})
}

func TestSecretIsRotatedWithoutALordChange(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, a, b, c := three(t, func(c *Config) { c.Quorum = 2 })
		w.wantLord(c, 5*time.Second)
		for _, secrets := range [][2]string{{"a secret of the legion", "the next"}, {"the next", "a secret of the legion"}, {"the next", ""}} {
			for _, n := range []*node{a, b} {
				n.stop()
				n.cfg.Secret, n.cfg.OldSecret = secrets[0], secrets[1]
				n.start()
				w.group.transfer(n)
				time.Sleep(2 * time.Second)
				if secrets[1] != "" && len(n.legion.View().Members) != 3 {
					t.Fatalf("%d members with secrets %v, want 3", len(n.legion.View().Members), secrets)
				}
			}
		}
	})
}

func TestRecoveredLogGrantsAfterTheWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, _, _, c := three(t)
		w.wantLord(c, 3*time.Second)
		before := c.table.State("blue")
		began := time.Now()
		w.inject(lord.Era(1234))
		time.Sleep(100 * time.Millisecond)
		if c.legion.IsLord() {
			t.Error("still lord in a new era")
		}
		w.wantLord(c, 10*time.Second)
		if d := time.Since(began); d < before.Numbers.Wait() {
			t.Errorf("granted %v after the new era began, want W = %v at least", d, before.Numbers.Wait())
		}
		if s := c.table.State("blue"); s.Epoch <= before.Epoch || lord.EraOf(s.Epoch) != 1234 {
			t.Errorf("epoch %x after %x, want one of era 1234", s.Epoch, before.Epoch)
		}
		w.wantSteady(c, 10*time.Second)
	})
}

func TestLordshipContext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, _, b, c := three(t)
		w.wantLord(c, 3*time.Second)
		ctx, epoch, ok := c.legion.Lordship()
		if !ok || c.legion.AssertLord(epoch) != nil || c.legion.AssertLord(epoch+1) == nil {
			t.Fatalf("Lordship = %d, %v", epoch, ok)
		}
		if _, _, ok := b.legion.Lordship(); ok {
			t.Error("b has a lordship")
		}
		w.isolate(c)
		began := time.Now()
		<-ctx.Done()
		n := c.cfg.Numbers
		if d := time.Since(began); d > n.Lease-n.Soft+10*time.Millisecond {
			t.Errorf("the context ended after %v, want %v at most", d, n.Lease-n.Soft)
		}
		if v := c.legion.View(); v.ValidFor(c.clock.Now()) != 0 {
			t.Errorf("ValidFor = %v after the lordship", v.ValidFor(c.clock.Now()))
		}
	})
}

func TestNodeHooks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var got []string
		hook := func(_ context.Context, command string, env []string) error {
			line := command
			for _, e := range env {
				if name, ok := strings.CutPrefix(e, "COHORT_MEMBER_NAME="); ok {
					line += " " + name
				}
			}
			got = append(got, line)
			if command == "slow" {
				time.Sleep(10 * time.Second) // must not keep the protocol from going on
			}
			return nil
		}
		w := newWorld(t)
		a := w.add(nodeA, 10, func(c *Config) {
			c.Setup, c.Join, c.Death = []string{"slow", "setup"}, []string{"join"}, []string{"death"}
			c.NodeJoined, c.NodeLeft = []string{"joined"}, []string{"left"}
		}, func(*Config) {})
		a.stop()
		a.hook = hook
		got = nil
		a.start()
		w.wantLord(a, 3*time.Second)
		b := w.add(nodeB, 5)
		time.Sleep(12 * time.Second)
		b.stop()
		time.Sleep(time.Second)
		a.stop()
		if want := "slow,setup,join,joined b,left b,death"; strings.Join(got, ",") != want {
			t.Errorf("hooks ran: %v, want %s", got, want)
		}
	})
}

func TestStopAloneAndWithoutAnybodyToAgree(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.add(nodeA, 10)
		w.wantLord(a, 3*time.Second)
		began := time.Now()
		a.stop()
		if d := time.Since(began); d > time.Second {
			t.Errorf("stopped after %v", d)
		}
	})
	bubble(t, func(t *testing.T) {
		w, _, _, c := three(t)
		w.wantLord(c, 3*time.Second)
		w.isolate(c)
		began := time.Now()
		c.stop()
		if d := time.Since(began); d > 4*time.Second {
			t.Errorf("stopped after %v", d)
		}
	})
}
