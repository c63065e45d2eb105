package legion

import (
	"time"

	"github.com/cohortd/cohort/cachefsm/lord"
	"github.com/cohortd/cohort/cachefsm/op"
)

// simLog is the control group: one list, a leader, elections, replicas that apply late.
type simLog struct {
	s       *sim
	entries []simEntry // committed
	waiting []simEntry // in the leader's log, not committed yet
	leader  *simNode
	boot    uint64
	term    int
	voting  bool
}

type simEntry struct {
	cmd  []byte
	done func(op.Result) // on the leader, when applied there
}

// send has a node's command agreed: by way of another voter if via is one. Nothing is told of a failure.
func (l *simLog) send(from *simNode, via string, cmd []byte, done func(op.Result)) {
	s := l.s
	leader := l.leader
	if leader == nil {
		return
	}
	answer := func(r op.Result) {
		s.deliver(leader, from, func() { done(r) })
	}
	arrive := func() { l.append(leader, cmd, answer) }
	for _, n := range s.nodes {
		if n.id == via && n != from && n != leader {
			s.deliver(from, n, func() { n.onMain(func() { s.deliver(n, leader, arrive) }) })
			answer = func(r op.Result) {
				s.deliver(leader, n, func() { s.deliver(n, from, func() { done(r) }) })
			}
			return
		}
	}
	s.deliver(from, leader, arrive)
}

func (l *simLog) append(leader *simNode, cmd []byte, answer func(op.Result)) {
	term := l.term
	leader.onMain(func() {
		if l.leader != leader || l.term != term {
			return
		}
		l.waiting = append(l.waiting, simEntry{cmd, answer})
		l.s.after(l.s.between(time.Millisecond, 15*time.Millisecond), func() { l.commit(term) })
	})
}

// commit moves everything that waits into the log, when a majority is there.
func (l *simLog) commit(term int) {
	if l.term != term || l.leader == nil || len(l.waiting) == 0 {
		return
	}
	if !l.majority(l.leader) {
		l.s.after(50*time.Millisecond, func() { l.commit(term) })
		return
	}
	batch := l.waiting
	l.waiting = nil // what is applied may bring more
	for _, e := range batch {
		l.add(e)
	}
}

func (l *simLog) add(e simEntry) {
	if l.s.broken.expireAnything {
		e.cmd = l.s.looseExpire(e.cmd)
	}
	l.entries = append(l.entries, e)
	for _, n := range l.s.nodes {
		if n != l.leader {
			lag := l.s.between(time.Millisecond, 40*time.Millisecond)
			if l.s.r.IntN(100) == 0 || l.s.broken.expireAnything && l.s.r.IntN(4) == 0 {
				lag = l.s.between(time.Second, 7*time.Second)
			}
			l.s.after(lag, func() { n.onMain(func() { n.catchUp(l.leader) }) })
		}
	}
	if l.leader != nil {
		l.leader.catchUp(l.leader)
	}
}

func (l *simLog) majority(leader *simNode) bool {
	n := 0
	for _, m := range l.s.nodes {
		if m == leader || m.awake() && l.s.open(leader, m) && l.s.open(m, leader) {
			n++
		}
	}
	return leader.awake() && 2*n > len(l.s.nodes)
}

// watch starts an election when the leader is out of reach of a majority.
func (l *simLog) watch() {
	if l.voting {
		return
	}
	if l.leader == nil || l.leader.bootID != l.boot || !l.majority(l.leader) {
		l.elect()
	}
}

func (l *simLog) elect() {
	l.voting = true
	l.s.after(l.s.between(300*time.Millisecond, simElect), func() {
		var able []*simNode
		for _, n := range l.s.nodes {
			if l.majority(n) {
				able = append(able, n)
			}
		}
		l.voting = false
		if len(able) > 0 {
			l.take(able[l.s.r.IntN(len(able))])
		}
	})
}

// take makes n the leader. Of what the old leader had not committed, a part may have reached the new one.
func (l *simLog) take(n *simNode) {
	keep := l.waiting
	if l.leader != n {
		keep = keep[:l.s.r.IntN(len(keep)+1)]
	}
	l.waiting = nil
	l.term++
	l.leader, l.boot = n, n.bootID
	l.s.tracef("%s leads", n.id[:1])
	n.catchUp(n)
	for _, e := range keep {
		e.done = func(op.Result) {}
		l.add(e)
	}
}

// lose makes the leader step down.
func (l *simLog) lose() {
	if !l.voting {
		l.elect()
	}
}

// looseExpire makes an Expire fit whatever renewal there is.
func (s *sim) looseExpire(cmd []byte) []byte {
	const expireKind = 6
	if cmd[1] != expireKind || s.log.leader == nil {
		return cmd
	}
	st := s.log.leader.table.State("blue")
	return lord.Expire("blue", st.Epoch, st.RenewIndex)
}
