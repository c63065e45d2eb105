package legion

import (
	"testing"
	"time"

	"github.com/cohortd/cohort/cachefsm/lord"
	"github.com/cohortd/cohort/cachefsm/op"
	"github.com/cohortd/cohort/clock"
)

const boot = 5<<32 | 1

// script drives one holder and remembers what it wanted.
type script struct {
	t   *testing.T
	h   *holder
	s   lord.State
	all []action
}

func newScript(t *testing.T) *script {
	return &script{t: t, h: newHolder("blue", "c", boot, true), s: lord.State{
		Legion: "blue", Phase: lord.Offered, Epoch: 7, Holder: "c", Boot: boot, Numbers: lord.Defaults(), RenewIndex: 7,
	}}
}

func (p *script) did(out []action) []action {
	p.all = append(p.all, out...)
	return out
}

func (p *script) step(d time.Duration) []action { return p.did(p.h.step(at(d), p.s, wish{})) }

func (p *script) answer(d time.Duration, seq uint64, code op.Code) []action {
	return p.did(p.h.answer(at(d), 7, seq, code))
}

// rule brings the holder into office at second 0, with everything started.
func (p *script) rule() {
	p.step(0)
	p.answer(time.Millisecond, 1, op.OK)
	p.s.Phase, p.s.RenewSeq = lord.Held, 1
	p.did(p.h.started(at(2*time.Millisecond), 7, true))
	if p.h.phase != ruling || p.h.ward != wardUp {
		p.t.Fatalf("phase %d, ward %d after the first answer", p.h.phase, p.h.ward)
	}
}

func has(list []action, do doing) bool {
	for _, a := range list {
		if a.do == do {
			return true
		}
	}
	return false
}

func (p *script) want(list []action, does ...doing) {
	p.t.Helper()
	for _, do := range does {
		if !has(list, do) {
			p.t.Errorf("%+v, want it to contain %d", list, do)
		}
	}
	if len(does) == 0 && len(list) > 0 {
		p.t.Errorf("%+v, want nothing", list)
	}
}

func TestGrantIsNotLordship(t *testing.T) { // R7
	p := newScript(t)
	p.want(p.step(0), doRenew)
	if p.h.lease() != nil {
		t.Error("lord on sight of the grant")
	}
	p.want(p.answer(time.Millisecond, 1, op.OK), doGain, doStart)
	if l := p.h.lease(); l.valid(at(0)) != 3500*time.Millisecond || l.valid(at(3500*time.Millisecond)) > 0 {
		t.Errorf("valid for %v at 0", l.valid(at(0)))
	}
}

func TestLateFirstAnswerIsNotLordship(t *testing.T) { // R7
	p := newScript(t)
	p.step(0)
	p.step(100 * time.Millisecond)
	p.want(p.answer(3100*time.Millisecond, 1, op.OK)) // 3.5 - 3.1 is less than half a second
	if p.h.lease() != nil {
		t.Error("lord with almost nothing left")
	}
	p.want(p.answer(3050*time.Millisecond, 2, op.OK), doGain) // of 0.1 s: more than half a second left
}

func TestAnswerCountsForItsOwnRequest(t *testing.T) { // R8
	p := newScript(t)
	p.rule()
	p.step(500 * time.Millisecond)  // seq 2
	p.step(600 * time.Millisecond)  // 3
	p.step(1000 * time.Millisecond) // 4
	for _, tt := range []struct {
		seq   uint64
		since time.Duration
	}{{3, 600 * time.Millisecond}, {2, 600 * time.Millisecond}, {3, 600 * time.Millisecond}, {99, 600 * time.Millisecond}, {4, 1000 * time.Millisecond}} {
		p.answer(1100*time.Millisecond, tt.seq, op.OK)
		if p.h.since != at(tt.since) {
			t.Errorf("after the answer to %d the lease counts from %v, want %v", tt.seq, p.h.since.Boot-time.Hour, tt.since)
		}
	}
}

func TestRenewals(t *testing.T) { // R9
	p := newScript(t)
	p.rule()
	var sent []action
	var when []time.Duration
	for d := 10 * time.Millisecond; d < time.Second; d += 10 * time.Millisecond {
		for _, a := range p.step(d) {
			if a.do == doRenew {
				sent, when = append(sent, a), append(when, d)
			}
		}
		if d == 750*time.Millisecond {
			p.answer(d, sent[1].seq, op.OK) // the second of the round
		}
	}
	wantWhen := []time.Duration{500, 600, 700}
	if len(sent) != len(wantWhen) {
		t.Fatalf("renewals at %v, want at %v ms", when, wantWhen)
	}
	for i, a := range sent {
		if when[i] != wantWhen[i]*time.Millisecond || a.try != i || a.seq != uint64(i+2) {
			t.Errorf("renewal %d at %v: %+v", i, when[i], a)
		}
	}
}

func TestSoftDeadline(t *testing.T) { // R11, R13
	p := newScript(t)
	p.rule()
	p.step(500 * time.Millisecond)
	if p.step(3499 * time.Millisecond); has(p.all, doLose) {
		t.Fatal("lost before the soft deadline")
	}
	// The answer that would have saved it comes one moment too late.
	p.want(p.answer(3500*time.Millisecond, 2, op.OK), doLose, doAbort)
	if has(p.all, doExtend) && p.h.since != at(0) {
		t.Error("a late answer moved the deadline")
	}
	p.want(p.step(3999 * time.Millisecond))
	p.want(p.step(4*time.Second), doKill) // D - K, the second killer
	p.want(p.step(4100 * time.Millisecond))
	p.want(p.did(p.h.down(at(4150*time.Millisecond), 7, Outcome{Undone: true})))
	out := p.step(4151 * time.Millisecond)
	p.want(out, doRelease)
	if out[0].reason != lord.Lost || out[0].epoch != 7 || out[0].boot != boot {
		t.Errorf("release %+v", out[0])
	}
	p.h.releasedNow(7)
	p.want(p.step(4200 * time.Millisecond)) // the table still shows it: not taken up again
	p.s.Epoch, p.s.Phase = 9, lord.Offered
	p.want(p.step(5*time.Second), doRenew)
}

func TestSecondKillerIsArmedForEachDeadline(t *testing.T) { // R13
	p := newScript(t)
	p.rule()
	p.s.Phase = lord.Releasing
	p.want(p.step(500*time.Millisecond), doLose, doStop, doRenew)
	p.want(p.answer(510*time.Millisecond, 2, op.OK), doExtend) // renewals go on while it stops
	p.want(p.step(4*time.Second), doAbort)                     // its new soft deadline
	p.want(p.step(4500*time.Millisecond), doKill)
}

func TestRefusedEndsAtOnce(t *testing.T) { // R14
	p := newScript(t)
	p.rule()
	p.step(500 * time.Millisecond)
	p.want(p.answer(510*time.Millisecond, 2, op.Refused), doLose, doAbort)
}

func TestAppliedEntryEndsAtOnce(t *testing.T) { // R14
	for name, change := range map[string]func(*lord.State){
		"vacant":      func(s *lord.State) { s.Phase = lord.Vacant },
		"revoked":     func(s *lord.State) { s.Phase = lord.Revoked },
		"later epoch": func(s *lord.State) { s.Epoch, s.Holder, s.Phase = 9, "b", lord.Held },
	} {
		p := newScript(t)
		p.rule()
		change(&p.s)
		if out := p.step(300 * time.Millisecond); !has(out, doLose) || !has(out, doAbort) {
			t.Errorf("%s: %+v, want it to stop", name, out)
		}
	}
	p := newScript(t)
	p.rule()
	p.s.Epoch, p.s.Phase = 3, lord.Vacant // a replica that is behind
	if out := p.step(300 * time.Millisecond); has(out, doLose) {
		t.Error("stopped for an older epoch")
	}
}

func TestPlannedStop(t *testing.T) { // R15
	p := newScript(t)
	p.rule()
	out := p.did(p.h.step(at(300*time.Millisecond), p.s, wish{decline: true, quit: true}))
	p.want(out, doLose, doStop)
	if p.h.lease() != nil {
		t.Error("lord while stopping")
	}
	p.want(p.step(500*time.Millisecond), doRenew)
	p.did(p.h.down(at(600*time.Millisecond), 7, Outcome{Undone: true}))
	out = p.step(601 * time.Millisecond)
	p.want(out, doRelease)
	if has(out, doRenew) || out[0].reason != lord.Planned {
		t.Errorf("%+v, want one planned release", out)
	}
	p.want(p.step(700 * time.Millisecond)) // asked already
	p.want(p.step(900*time.Millisecond), doRelease)
	p.s.Phase = lord.Vacant
	p.step(910 * time.Millisecond)
	if p.h.busy() {
		t.Error("busy after the table showed the release")
	}
}

func TestFailedUndoIsNoRelease(t *testing.T) { // R16
	p := newScript(t)
	p.rule()
	p.did(p.h.step(at(300*time.Millisecond), p.s, wish{decline: true, quit: true}))
	p.want(p.did(p.h.down(at(600*time.Millisecond), 7, Outcome{})), doAlarm)
	for d := 700 * time.Millisecond; d < 10*time.Second; d += 100 * time.Millisecond {
		p.want(p.step(d))
	}
}

func TestGuardianEnds(t *testing.T) { // R20
	p := newScript(t)
	p.rule()
	p.want(p.did(p.h.ended(at(300*time.Millisecond), 7)), doLose, doAbort)
	p.want(p.step(500 * time.Millisecond)) // no renewals
	p.did(p.h.down(at(600*time.Millisecond), 7, Outcome{HookFailed: true, Undone: true}))
	out := p.step(601 * time.Millisecond)
	p.want(out, doRelease)
	if out[0].reason != lord.Failed {
		t.Errorf("reason %v, want %v", out[0].reason, lord.Failed)
	}
}

func TestGuardianDoesNotStart(t *testing.T) {
	p := newScript(t)
	p.step(0)
	p.answer(time.Millisecond, 1, op.OK)
	p.want(p.did(p.h.started(at(2*time.Millisecond), 7, false)), doLose)
	out := p.step(3 * time.Millisecond)
	p.want(out, doRelease)
	if out[0].reason != lord.Failed {
		t.Errorf("reason %v, want %v", out[0].reason, lord.Failed)
	}
}

func TestStopWhileTheGuardianStarts(t *testing.T) {
	p := newScript(t)
	p.step(0)
	p.answer(time.Millisecond, 1, op.OK)
	p.want(p.step(10*time.Second), doLose, doKill) // main was stopped for long
	if has(p.step(10100*time.Millisecond), doRelease) {
		t.Error("released while something may be starting")
	}
	p.want(p.did(p.h.started(at(10200*time.Millisecond), 7, true)), doAbort, doKill)
}

func TestOlderBootIsReleasedAndNeverRenewed(t *testing.T) { // R30, R31
	p := newScript(t)
	p.s.Phase, p.s.Boot = lord.Held, 4<<32|9
	out := p.step(0)
	p.want(out, doRelease)
	if len(out) != 1 || out[0].boot != p.s.Boot || out[0].reason != lord.Dead {
		t.Errorf("%+v, want one release of the old boot", out)
	}
	p.want(p.step(100 * time.Millisecond))
	p.want(p.step(300*time.Millisecond), doRelease)

	p.h.swept = false
	p.want(p.step(time.Second))
	p.h.swept = true
	p.s.Boot = 6<<32 | 9 // a later boot: not for this one to say
	p.want(p.step(2 * time.Second))
}

func TestDeclinedOffer(t *testing.T) {
	p := newScript(t)
	out := p.did(p.h.step(at(0), p.s, wish{decline: true}))
	p.want(out, doRelease)
	if has(out, doRenew) || out[0].reason != lord.Declined {
		t.Errorf("%+v, want only a declining release", out)
	}
}

func TestHolderCountsFast(t *testing.T) { // R5
	p := newScript(t)
	p.rule()
	now := at(0)
	now.Raw += 3600 * time.Millisecond
	if p.h.lease().valid(now) > 0 {
		t.Error("valid by the slower clock")
	}
	now = at(0)
	now.Boot += time.Hour // suspended meanwhile
	if p.h.lease().valid(now) > 0 {
		t.Error("valid after a suspend")
	}
	now = at(0)
	now.Mono += time.Hour // not a clock that the holder looks at
	if p.h.lease().valid(now) <= 0 {
		t.Error("not valid by a clock that does not count")
	}
}

func TestNextIsNeverLate(t *testing.T) {
	p := newScript(t)
	p.rule()
	moment := 2 * time.Millisecond
	for !has(p.all, doKill) {
		wait := p.h.next(at(moment), 100*time.Millisecond)
		moment += max(wait, time.Microsecond)
		p.step(moment)
		if moment > 10*time.Second {
			t.Fatal("no kill")
		}
	}
	if moment < 4*time.Second || moment > 4*time.Second+time.Millisecond {
		t.Errorf("killed at %v, want at 4 s", moment)
	}
}

var _ clock.Clock = (*testClock)(nil)
