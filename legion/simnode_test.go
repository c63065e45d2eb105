package legion

import (
	"bytes"
	"fmt"
	"time"

	"github.com/cohortd/cohort/cachefsm/lord"
	"github.com/cohortd/cohort/cachefsm/op"
	"github.com/cohortd/cohort/clock"
)

// simNumbers are the defaults, with a stop-grace that lets many handovers happen.
func simNumbers() lord.Numbers {
	n := lord.Defaults()
	n.StopGrace = 2 * time.Second
	return n
}

// simNode is a machine with a main process; its guardians live apart from it.
type simNode struct {
	s  *sim
	n  int
	id string

	mono, raw, bootRate float64
	valor               int64
	draining            bool
	hookFails           bool

	up, booting bool
	pausedUntil time.Duration
	counter     uint64
	bootID      uint64
	life        int // grows with each start and end of main
	deferred    []func()
	table       *lord.Table
	applied     int
	holder      *holder
	granter     *granter
	heard       map[string]Member
	said        uint64            // announcements of this life and of those before
	newest      map[string]uint64 // announcement heard of each
	numbers     lord.Numbers
	proposing   bool
	guardian    *simWard // the newest
	wards       []*simWard
}

func newSimNode(s *sim, i int) *simNode {
	rate := func() float64 { return []float64{0.99, 1, 1.01, 0.995, 1.005}[s.r.IntN(5)] }
	n := &simNode{
		s: s, n: i, id: fmt.Sprintf("%c", 'a'+i), valor: int64(i+1) * 10, mono: rate(), raw: rate(), bootRate: rate(),
		numbers: lord.Defaults(),
	}
	if s.broken.ownNumbers {
		n.numbers.Lease = 10 * time.Second
	}
	s.after(s.between(0, time.Second), n.announce)
	return n
}

func (n *simNode) read() clock.Reading {
	at := func(rate float64) time.Duration { return time.Hour + time.Duration(float64(n.s.now)*rate) }
	return clock.Reading{Boot: at(n.bootRate), Mono: at(n.mono), Raw: at(n.raw)}
}

func (n *simNode) awake() bool { return n.up && n.s.now >= n.pausedUntil }

// onMain runs something in the main process of now: later if it is stopped, never if it dies first.
func (n *simNode) onMain(do func()) {
	if !n.up {
		return
	}
	if n.awake() {
		do()
		return
	}
	n.deferred = append(n.deferred, do)
}

// resume does what came while main was stopped, in the order in which it came.
func (n *simNode) resume() {
	for n.awake() && len(n.deferred) > 0 {
		do := n.deferred[0]
		n.deferred = n.deferred[1:]
		do()
	}
}

// boot starts main after a while: it sweeps first, then it begins.
func (n *simNode) boot(wait time.Duration) {
	n.booting = true
	n.s.after(wait, n.sweep)
}

func (n *simNode) sweep() {
	if !n.s.broken.noSweep && !n.s.broken.bootFree {
		busy := false
		for _, w := range n.wards {
			busy = w.sweep() || busy
		}
		if busy {
			n.s.after(5*time.Millisecond, n.sweep)
			return
		}
	}
	if n.counter == 0 || !n.s.broken.bootFree {
		n.counter++
	}
	n.up, n.booting, n.pausedUntil = true, false, 0
	n.life++
	n.bootID = n.counter<<32 | uint64(n.n)
	n.table, n.applied = lord.New(), 0
	n.heard, n.newest = map[string]Member{}, map[string]uint64{}
	n.proposing, n.guardian = false, nil
	n.holder = newHolder("blue", n.id, n.bootID, true)
	r := rules{quorum: 1, preempt: 2 * time.Second, announce: time.Second, lordError: 20 * time.Millisecond, numbers: simNumbers()}
	n.granter = newGranter(r)
	n.catchUp(n.s.log.leader)
	n.s.tracef("%s is up, boot %d", n.id, n.counter)
	n.tick(n.life)
}

func (n *simNode) tick(life int) {
	if n.life != life {
		return
	}
	n.onMain(n.turn)
	n.s.after(n.s.between(80*time.Millisecond, 100*time.Millisecond), func() { n.tick(life) })
	n.s.log.watch()
}

// catchUp applies what this node can know of.
func (n *simNode) catchUp(leader *simNode) {
	if !n.up || leader == nil || !n.s.open(leader, n) {
		return
	}
	for n.applied < len(n.s.log.entries) {
		e := n.s.log.entries[n.applied]
		n.applied++
		r := n.table.Apply(uint64(n.applied), 0, e.cmd)
		if n == leader && n == n.s.log.leader && e.done != nil {
			n.s.log.entries[n.applied-1].done = nil
			e.done(r)
		}
		n.s.granted(n.applied, e.cmd, r)
	}
	if n.awake() {
		n.turn()
	}
}

// members is this node's view.
func (n *simNode) members() []Member {
	var out []Member
	for _, m := range n.heard {
		m.Fresh = n.read().Longest(m.Heard) <= staleAfter*time.Second
		out = append(out, m)
	}
	self := n.self()
	self.Fresh = true
	out = append(out, self)
	sortMembers(out)
	return out
}

func (n *simNode) self() Member {
	return Member{ID: n.id, Boot: n.bootID, Valor: n.valor, Draining: n.draining, Vote: n.granter.best, Alive: true}
}

func (n *simNode) announce() {
	n.s.after(time.Second, n.announce)
	if !n.awake() {
		return
	}
	m := n.self()
	n.said++
	seq := n.said
	for _, o := range n.s.nodes {
		if o != n {
			n.s.after(n.s.between(time.Millisecond, 30*time.Millisecond), func() {
				if n.s.open(n, o) {
					o.onMain(func() {
						if seq > o.newest[n.id] {
							o.newest[n.id] = seq
							m.Heard = o.read()
							o.heard[n.id] = m
						}
					})
				}
			})
		}
	}
}

// turn is what Legion.turn does.
func (n *simNode) turn() {
	st := n.table.State("blue")
	now := n.read()
	n.granter.watch(now, st, n.members(), n.id)
	mine := st
	if n.s.broken.ownNumbers {
		mine.Numbers = n.numbers
	}
	n.act(n.holder.step(now, mine, wish{decline: n.draining}))
	if n.s.broken.lordOnSight && n.holder.phase == accepting && n.holder.confirmed == 0 {
		n.act(n.holder.answer(now, n.holder.epoch, n.holder.seq, op.OK))
	}
	if n.s.log.leader != n || n.s.log.boot != n.bootID || n.proposing {
		return
	}
	if n.s.broken.shortWait {
		st.Numbers.Lease /= 2
	}
	p, ok := n.granter.decide(now, st)
	if !ok {
		return
	}
	n.s.tracef("%s proposes %s %s: %s", n.id, p.what, p.node, p.why)
	n.proposing = true
	life := n.life
	end := func() {
		if n.life == life {
			n.proposing = false
		}
	}
	n.s.after(300*time.Millisecond, end)
	n.s.log.append(n, p.cmd, func(op.Result) { end() })
}

// act does what the holder wants done.
func (n *simNode) act(todo []action) {
	for _, a := range todo {
		switch a.do {
		case doRenew:
			n.renew(a)
		case doStart:
			n.s.tracef("%s rules, epoch %d", n.id, a.epoch)
			w := newSimWard(n, a.epoch, a.since)
			n.guardian = w
			n.wards = append(n.wards, w)
		case doExtend:
			n.guardian.tell(func(w *simWard) { w.extend(a.since) })
		case doStop:
			n.guardian.tell(func(w *simWard) { w.stop(w.numbers.StopGrace) })
		case doAbort:
			n.guardian.tell(func(w *simWard) { w.final = true; w.stop(w.numbers.Grace) })
		case doKill:
			if !n.s.broken.oneKiller {
				n.guardian.kill() // by pids: no guardian needed
			}
		case doRelease:
			n.s.log.send(n, "", lord.Release("blue", a.epoch, a.boot, a.reason), func(r op.Result) {
				if a.boot == n.bootID && (r.Code == op.OK || r.Code == op.Refused) {
					n.onMain(func() { n.holder.releasedNow(a.epoch) })
				}
			})
		case doLose:
			n.s.tracef("%s rules no more, epoch %d: %s", n.id, a.epoch, a.why)
		}
	}
}

func (n *simNode) renew(a action) {
	via := ""
	if a.try%2 == 1 {
		via = n.s.nodes[(n.n+1+a.try/2%(len(n.s.nodes)-1))%len(n.s.nodes)].id
	}
	life, h := n.life, n.holder
	cmd := lord.Renew(n.id, a.boot, lord.Renewal{Legion: "blue", Epoch: a.epoch, Seq: a.seq})
	n.s.log.send(n, via, cmd, func(r op.Result) {
		if n.life != life {
			return
		}
		n.onMain(func() {
			seq := a.seq
			if n.s.broken.newestCounts {
				seq = h.seq
			}
			n.act(h.answer(n.read(), a.epoch, seq, lord.Answers(r)[0]))
		})
	})
}

// faults

// shielded says whether a fault would take main and guardian away together, which the promise leaves out.
func (n *simNode) shielded() bool {
	return !n.s.broken.bothStop && n.guardian != nil && n.guardian.stalledUntil > n.s.now+lord.Defaults().Stall
}

func (n *simNode) pause(d time.Duration) {
	if n.up && !n.shielded() {
		n.s.tracef("%s is stopped for %v", n.id, d)
		n.pausedUntil = max(n.pausedUntil, n.s.now+d)
		n.s.after(n.pausedUntil-n.s.now, n.resume)
		if n.s.broken.bothStop && n.guardian != nil {
			n.guardian.stall(d)
		}
	}
}

func (n *simNode) stall(d time.Duration) {
	if w := n.guardian; w != nil && (n.awake() || n.s.broken.bothStop || w.stalledUntil+time.Second < n.s.now) {
		w.stall(d)
	}
}

func (n *simNode) stopGuardian(d time.Duration) {
	if n.guardian != nil && (n.awake() || n.s.broken.bothStop) {
		n.s.tracef("guardian of %s is stopped for %v", n.id, d)
		n.guardian.stall(d)
	}
}

func (n *simNode) kill(restart time.Duration) {
	if !n.up || n.shielded() {
		return
	}
	n.s.tracef("%s is killed", n.id)
	n.end()
	for _, w := range n.wards {
		w.orphaned()
	}
	n.boot(restart)
}

func (n *simNode) crash(restart time.Duration) {
	if !n.up {
		return
	}
	n.s.tracef("machine of %s is lost", n.id)
	n.end()
	for _, w := range n.wards {
		w.vanish()
	}
	n.boot(restart)
}

func (n *simNode) end() {
	n.up = false
	n.life++
	n.deferred = nil
	if n.s.log.leader == n && !n.s.log.voting {
		n.s.log.elect()
	}
}

// reinstall puts a snapshot in: the counting begins anew.
func (n *simNode) reinstall() {
	if !n.awake() {
		return
	}
	var b bytes.Buffer
	if n.table.Snapshot()(&b) != nil || n.table.Restore(&b) != nil {
		panic("snapshot")
	}
	n.granter = newGranter(n.granter.rules)
}
