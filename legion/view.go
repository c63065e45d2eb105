package legion

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/cohortd/cohort/cachefsm/lord"
	"github.com/cohortd/cohort/clock"
)

// View is how a legion stands as one node sees it. It never changes.
type View struct {
	Legion  string
	Self    string
	Members []Member // all that announced themselves, this node included, sorted by id
	Best    string   // greatest (valor, uuid) among the eligible
	Votes   int      // live members that name it too
	Quorum  int
	Phase   lord.Phase
	Lord    string // id of the holder of the lease; empty when it is vacant or only offered
	Epoch   uint64 // of the last grant
	Scroll  string // the lord's

	heir string // best but for this node
	held *lease
}

// Quorate says whether enough live members agree on the best.
func (v *View) Quorate() bool { return v.Best != "" && v.Votes >= v.Quorum }

// Member finds a member by its id.
func (v *View) Member(id string) (Member, bool) { return find(v.Members, id) }

// ValidFor is how long this node's own lordship, as it stood in this view, counts at a moment; zero if it is not lord. A
// later renewal is in a later view.
func (v *View) ValidFor(now clock.Reading) time.Duration { return max(v.held.valid(now), 0) }

func (v *View) same(o *View) bool {
	return v.Best == o.Best && v.Votes == o.Votes && v.Phase == o.Phase && v.Lord == o.Lord && v.Epoch == o.Epoch &&
		v.Scroll == o.Scroll && v.heir == o.heir && (v.held == nil) == (o.held == nil) &&
		slices.EqualFunc(v.Members, o.Members, func(a, b Member) bool {
			a.Heard, b.Heard = clock.Reading{}, clock.Reading{}
			return a == b
		})
}

// publish makes a new view and tells of what changed.
func (l *Legion) publish(now clock.Reading, s lord.State, members []Member) {
	g := l.run.granter
	v := &View{
		Legion: l.cfg.Name, Self: l.deps.ID, Members: members, Best: g.best, Votes: g.votes, Quorum: l.cfg.Quorum,
		Phase: s.Phase, Epoch: s.Epoch, held: l.held.Load(),
	}
	if s.Phase != lord.Vacant && s.Phase != lord.Offered {
		v.Lord = s.Holder
		if m, ok := find(members, s.Holder); ok {
			v.Scroll = m.Scroll
		}
	}
	others := slices.DeleteFunc(slices.Clone(members), func(m Member) bool { return m.ID == l.deps.ID })
	v.heir, _ = elect(others, "", g.barredThisRound)
	old := l.view.Swap(v)
	if old.Lord != v.Lord || v.Lord != "" && old.Epoch != v.Epoch {
		name := v.Lord
		if m, ok := find(members, v.Lord); ok && m.Name != "" {
			name = m.Name
		}
		l.stats.changes.Add(1)
		if name == "" {
			l.log.Info("no lord", "last_epoch", v.Epoch, "votes", v.Votes)
		} else {
			l.log.Info("lord changed", "lord", name, "epoch", v.Epoch, "votes", v.Votes)
		}
	}
	l.runNodeHooks(v)
	if !v.same(old) {
		l.mu.Lock()
		close(l.changed)
		l.changed = make(chan struct{})
		l.mu.Unlock()
	}
}

// runNodeHooks has the hooks run for members that came and went, and once for the first quorum.
func (l *Legion) runNodeHooks(v *View) {
	r := &l.run
	present := map[string]bool{}
	for _, m := range v.Members {
		if m.live() && m.ID != l.deps.ID {
			present[m.ID] = true
		}
	}
	if !r.joined && v.Quorate() {
		r.joined = true
		l.hook("join", l.cfg.Join)
	}
	for _, m := range v.Members {
		if present[m.ID] && !r.present[m.ID] {
			l.hook("node-joined", l.cfg.NodeJoined, "COHORT_MEMBER="+m.ID, "COHORT_MEMBER_NAME="+m.Name)
		}
	}
	for id := range r.present {
		if !present[id] {
			m, _ := find(v.Members, id)
			l.hook("node-left", l.cfg.NodeLeft, "COHORT_MEMBER="+id, "COHORT_MEMBER_NAME="+m.Name)
		}
	}
	r.present = present
}

func (l *Legion) hook(kind string, commands []string, env ...string) {
	l.hooks.add(hookJob{kind, commands, append(env, "COHORT_LEGION="+l.cfg.Name, "COHORT_NODE="+l.deps.Name, "COHORT_HOOK="+kind)})
}

func (l *Legion) hookFailed(kind, command string, err error) {
	l.stats.hooksFailed.Add(1)
	l.log.Warn("hook failed", "hook", kind, "command", command, "err", err)
}

type counters struct {
	said, heard, renewals, renewalsLost, gained, lost, changes, alarms, hooksFailed atomic.Uint64
	grants, expires, handovers, revokes                                             atomic.Uint64
}

// Stats are counters since the start.
type Stats struct {
	Announced, Heard             uint64 // announcements sent, and taken from others
	Refused                      Refused
	Renewals, RenewalsUnanswered uint64
	Gained, Lost                 uint64 // this node's lordships
	LordChanges                  uint64 // as seen by this node
	Alarms                       uint64 // lordships that did not end cleanly
	HooksFailed                  uint64 // of the node's own hooks
	Grants, Expires              uint64 // proposed by this node and agreed
	Handovers, Revokes           uint64
}

// Stats are the counters so far.
func (l *Legion) Stats() Stats {
	c := &l.stats
	l.mu.Lock()
	refused := l.roll.refused
	l.mu.Unlock()
	return Stats{
		Announced: c.said.Load(), Heard: c.heard.Load(), Refused: refused,
		Renewals: c.renewals.Load(), RenewalsUnanswered: c.renewalsLost.Load(),
		Gained: c.gained.Load(), Lost: c.lost.Load(), LordChanges: c.changes.Load(), Alarms: c.alarms.Load(),
		HooksFailed: c.hooksFailed.Load(), Grants: c.grants.Load(), Expires: c.expires.Load(),
		Handovers: c.handovers.Load(), Revokes: c.revokes.Load(),
	}
}
