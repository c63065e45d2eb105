package legion

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cohortd/cohort/cachefsm/lord"
	"github.com/cohortd/cohort/clock"
)

// at is a moment on clocks that all agree.
func at(d time.Duration) clock.Reading {
	d += time.Hour
	return clock.Reading{Boot: d, Mono: d, Raw: d}
}

func testRules() rules {
	return rules{quorum: 1, preempt: 10 * time.Second, announce: time.Second, lordError: 3 * time.Second, numbers: lord.Defaults()}
}

func plain(id string, valor int64) Member {
	return Member{ID: id, Boot: 1 << 32, Valor: valor, Vote: "c", Alive: true, Fresh: true}
}

func heldBy(id string, phase lord.Phase) lord.State {
	return lord.State{
		Legion: "blue", Phase: phase, Epoch: 7, Holder: id, Boot: 1 << 32, Numbers: lord.Defaults(), RenewIndex: 9, RenewSeq: 2,
	}
}

// Each row looks at one state at second 0 and again at the given moment.
func TestDecide(t *testing.T) {
	three := []Member{plain("a", 10), plain("b", 20), plain("c", 30)}
	with := func(change func(*Member)) []Member {
		out := []Member{three[0], three[1], three[2]}
		change(&out[2])
		return out
	}
	n := lord.Defaults()
	vacant := lord.State{Legion: "blue", VacIndex: 3}
	after := func(r lord.Reason) lord.State {
		s := heldBy("c", lord.Vacant)
		s.VacIndex, s.Reason = 12, r
		return s
	}
	w := n.Wait()
	for name, tt := range map[string]struct {
		s       lord.State
		members []Member
		rules   func(*rules)
		wait    time.Duration
		want    []byte // nil: nothing
	}{
		"first grant after one announce round": {vacant, three, nil, time.Second, lord.Grant("blue", "c", 1<<32, 3, n)},
		"not before":                           {vacant, three, nil, 900 * time.Millisecond, nil},
		"nobody is eligible":                   {vacant, []Member{plain("a", 0)}, nil, time.Minute, nil},
		"below quorum":                         {vacant, three, func(r *rules) { r.quorum = 4 }, time.Minute, nil},
		"after a ticket at once":               {after(lord.Dead), three, nil, time.Second, lord.Grant("blue", "c", 1<<32, 12, n)},
		"R26 not to a boot that is dead": {
			func() lord.State {
				s := after(lord.Dead)
				s.Dead = map[string]uint64{"c": 1 << 32}
				return s
			}(),
			three, nil, time.Second, lord.Grant("blue", "b", 1<<32, 12, n),
		},
		"suspended": {
			func() lord.State {
				s := after(lord.Failed)
				s.Suspended = map[string]uint64{"c": 1}
				return s
			}(),
			three, nil, 2 * time.Second, lord.Grant("blue", "b", 1<<32, 12, n),
		},
		"suspension is over": {
			func() lord.State {
				s := after(lord.Failed)
				s.Suspended = map[string]uint64{"c": 1}
				return s
			}(),
			three, nil, 3 * time.Second, lord.Grant("blue", "c", 1<<32, 12, n),
		},
		"suspension doubles": {
			func() lord.State {
				s := after(lord.Failed)
				s.Suspended = map[string]uint64{"c": 2}
				return s
			}(),
			three, nil, 5 * time.Second, lord.Grant("blue", "b", 1<<32, 12, n),
		},
		"R27 an offer has its time": {heldBy("c", lord.Offered), three, nil, n.Offer - 1, nil},
		"R27 and no more":           {heldBy("c", lord.Offered), three, nil, n.Offer, lord.Expire("blue", 7, 9)},
		"held: W has not passed":    {heldBy("c", lord.Held), three, nil, w, nil},
		"held: W has passed":        {heldBy("c", lord.Held), three, nil, w + 1, lord.Expire("blue", 7, 9)},
		"R4 W of the grant, not of the ini": {
			heldBy("c", lord.Held), three,
			func(r *rules) { r.numbers.Lease = time.Second }, w, nil,
		},
		"releasing: time to stop":      {heldBy("c", lord.Releasing), three, nil, w, nil},
		"releasing: W has passed":      {heldBy("c", lord.Releasing), three, nil, w + 1, lord.Expire("blue", 7, 9)},
		"revoked: W has not passed":    {heldBy("c", lord.Revoked), three, nil, w, nil},
		"revoked: W has passed":        {heldBy("c", lord.Revoked), three, nil, w + 1, lord.Expire("blue", 7, 9)},
		"R33 external does not expire": {heldBy(lord.External, lord.Held), three, nil, time.Hour, nil},
		"greater valor after the delay": {
			heldBy("b", lord.Held), three,
			func(r *rules) { r.preempt = 2 * time.Second }, 2 * time.Second, lord.Handover("blue", 7, "c"),
		},
		"greater valor before the delay": {
			heldBy("b", lord.Held), three,
			func(r *rules) { r.preempt = 2 * time.Second }, 1900 * time.Millisecond, nil,
		},
		"greater valor without preempt": {
			heldBy("b", lord.Held), three,
			func(r *rules) { r.preempt, r.noPreempt = 0, true }, 4 * time.Second, nil,
		},
		"equal valor": {
			heldBy("b", lord.Held),
			[]Member{plain("b", 30), plain("c", 30)},
			func(r *rules) { r.preempt = 0 }, 4 * time.Second, nil,
		},
		"draining, without preempt": {
			heldBy("c", lord.Held), with(func(m *Member) { m.Draining = true; m.Vote = "b" }),
			func(r *rules) { r.noPreempt = true }, 0, lord.Handover("blue", 7, "b"),
		},
		"stepped down": {heldBy("c", lord.Held), with(func(m *Member) { m.Stepped = true }), nil, 0, lord.Handover("blue", 7, "b")},
		"stepped down alone": {
			heldBy("c", lord.Held),
			[]Member{{ID: "c", Boot: 1 << 32, Valor: 3, Stepped: true, Alive: true, Fresh: true}},
			nil, time.Second, nil,
		},
		"became an arbiter": {heldBy("c", lord.Held), with(func(m *Member) { m.Valor = 0 }), nil, 0, lord.Handover("blue", 7, "b")},
		"silent holder that renews": {
			heldBy("c", lord.Held), three[:2], nil, 5 * time.Second, nil,
		},
		"votes below quorum for a lease": {
			heldBy("c", lord.Held), three,
			func(r *rules) { r.quorum = 4 }, n.Lease + 1, lord.Handover("blue", 7, ""),
		},
		"votes below quorum for less": {
			heldBy("c", lord.Held), three,
			func(r *rules) { r.quorum = 4 }, n.Lease, nil,
		},
		"R28 a new era grants nothing for W": {
			lord.State{Legion: "blue", VacIndex: 2, Era: 5, EraIndex: 2}, three, nil, w, nil,
		},
		"R28 and then it does": {
			lord.State{Legion: "blue", VacIndex: 2, Era: 5, EraIndex: 2}, three, nil, w + 1, lord.Grant("blue", "c", 1<<32, 2, n),
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := testRules()
			if tt.rules != nil {
				tt.rules(&r)
			}
			g := newGranter(r)
			for step := time.Duration(0); step < tt.wait; step += 100 * time.Millisecond {
				g.watch(at(step), tt.s, tt.members, "a")
			}
			g.watch(at(tt.wait), tt.s, tt.members, "a")
			p, _ := g.decide(at(tt.wait), tt.s)
			if !cmp.Equal(p.cmd, tt.want) {
				t.Errorf("decide = %x (%s %s, %s), want %x", p.cmd, p.what, p.node, p.why, tt.want)
			}
		})
	}
}

// A node that stood still and then decides on lordship must not count the time it did not see: the stronger
// one, which may be itself, has the whole delay before it again.
func TestPreemptDelayAfterAPause(t *testing.T) {
	r := testRules()
	r.preempt = 2 * time.Second
	g, s := newGranter(r), heldBy("b", lord.Held)
	three := []Member{plain("a", 10), plain("b", 20), plain("c", 30)}
	look := func(when time.Duration) bool {
		s.RenewIndex++ // the holder renews all the time
		g.watch(at(when), s, three, "a")
		_, ok := g.decide(at(when), s)
		return ok
	}
	look(0)
	const thaw = time.Minute
	for step := thaw; step < thaw+r.preempt; step += 100 * time.Millisecond {
		if look(step) {
			t.Fatalf("took lordship away %s after a pause, want the delay of %s first", step-thaw, r.preempt)
		}
	}
	if !look(thaw + r.preempt) {
		t.Errorf("nothing happened %s after the pause", r.preempt)
	}
}

func TestRevokeAfterStopGrace(t *testing.T) {
	g := newGranter(testRules())
	s := heldBy("c", lord.Releasing)
	limit := s.Numbers.StopGrace + revokeMargin
	var when time.Duration
	for step := time.Duration(0); when == 0 && step < time.Minute; step += 100 * time.Millisecond {
		s.RenewIndex++ // the holder goes on renewing while it stops
		g.watch(at(step), s, nil, "a")
		if p, ok := g.decide(at(step), s); ok {
			if !cmp.Equal(p.cmd, lord.Revoke("blue", 7)) {
				t.Fatalf("decide = %s: %s", p.what, p.why)
			}
			when = step
		}
	}
	if when <= limit || when > limit+200*time.Millisecond {
		t.Errorf("revoked after %v, want just over %v", when, limit)
	}
}

// R6: what a node counts from is when it saw the renewal applied; what it finds after a restart counts from then.
func TestCountingStartsAtSight(t *testing.T) {
	s := heldBy("c", lord.Held)
	w := s.Numbers.Wait()
	old, young := newGranter(testRules()), newGranter(testRules())
	old.watch(at(0), s, nil, "a")
	young.watch(at(3*time.Second), s, nil, "b")
	for _, tt := range []struct {
		g    *granter
		now  time.Duration
		want bool
	}{{old, w, false}, {old, w + 1, true}, {young, w + 1, false}, {young, w + 3*time.Second, false}, {young, w + 3*time.Second + 1, true}} {
		tt.g.watch(at(tt.now), s, nil, "a")
		if p, _ := tt.g.decide(at(tt.now), s); (p.what == "expire") != tt.want {
			t.Errorf("at %v: %q, want an expire: %v", tt.now, p.what, tt.want)
		}
	}
	// The same index in another era is another renewal.
	s.Era++
	old.watch(at(2*w), s, nil, "a")
	if p, _ := old.decide(at(2*w), s); p.what == "expire" {
		t.Error("expired by what was counted in another era")
	}
}

// R5: the granter counts on the slower of its clocks.
func TestGranterCountsSlow(t *testing.T) {
	s := heldBy("c", lord.Held)
	g := newGranter(testRules())
	g.watch(clock.Reading{}, s, nil, "a")
	now := clock.Reading{Boot: time.Hour, Mono: 6 * time.Second, Raw: 5 * time.Second}
	g.watch(now, s, nil, "a")
	if p, _ := g.decide(now, s); p.what == "expire" {
		t.Error("expired by the faster clock")
	}
}

func TestMissedOfferBarsForAWhile(t *testing.T) {
	g := newGranter(testRules())
	members := []Member{plain("b", 20), plain("c", 30)}
	g.watch(at(0), heldBy("c", lord.Offered), members, "b")
	s := heldBy("c", lord.Vacant)
	s.VacIndex, s.Reason = 12, lord.Missed
	for _, tt := range []struct {
		now  time.Duration
		want string
	}{{1100 * time.Millisecond, "b"}, {4 * time.Second, "b"}, {4200 * time.Millisecond, "c"}} {
		g.watch(at(tt.now), s, members, "b")
		if p, ok := g.decide(at(tt.now), s); !ok || p.node != tt.want {
			t.Errorf("at %v: grant to %q, want %q", tt.now, p.node, tt.want)
		}
	}
}
