package legion

import (
	"time"

	"github.com/cohortd/cohort/cachefsm/lord"
	"github.com/cohortd/cohort/clock"
)

// rules is what whoever grants takes from its ini.
type rules struct {
	quorum    int
	preempt   time.Duration // a stronger member must be eligible this long before it takes over
	noPreempt bool
	announce  time.Duration
	lordError time.Duration // first suspension after a failed lord hook
	numbers   lord.Numbers  // of the next grant
}

const (
	missedBar    = 3 * time.Second // not offered again for this long after an offer that came to nothing (R26)
	revokeMargin = 2 * time.Second // past stop-grace, until a holder that was asked to stop is made to (R3b)
	maxDoublings = 6               // of a suspension
)

// granter decides what to propose for one legion. It proposes on the control leader only, but it watches on every node:
// a new leader has counted already and needs no extra wait. It asks no clock; each call brings the moment.
type granter struct {
	rules
	started, knows  bool
	begun           clock.Reading // first look
	renewal         renewalKey
	renewed         clock.Reading // t_a: when this node saw that renewal applied (R6)
	handed          uint64        // epoch that is releasing
	handedAt        clock.Reading
	vacancy         uint64
	era             uint64
	eraAt           clock.Reading
	missed          map[string]clock.Reading
	failures        map[string]failure
	eligibleSince   map[string]clock.Reading
	watched         clock.Reading // the last look
	choice          string        // best member with enough votes
	choiceSince     clock.Reading
	outvoted        bool // votes are below the quorum
	outvotedSince   clock.Reading
	best            string
	votes           int
	members         []Member
	barredThisRound bars
}

// renewalKey tells one renewal from all others; indexes alone may repeat after a restore.
type renewalKey struct{ era, epoch, index uint64 }

type failure struct {
	count uint64
	at    clock.Reading
}

func newGranter(r rules) *granter {
	return &granter{
		rules: r, missed: map[string]clock.Reading{}, failures: map[string]failure{},
		eligibleSince: map[string]clock.Reading{},
	}
}

// blind is how long a granter may have looked away and still know who was eligible all the time: a node that
// stood still must not count that as its own or others' time of good conduct.
const blind = time.Second

// watch takes in what is agreed and who is here. self's own vote in members is not looked at.
func (g *granter) watch(now clock.Reading, s lord.State, members []Member, self string) {
	switch {
	case !g.started:
		g.started, g.begun = true, now
	case now.Longest(g.watched) > blind:
		clear(g.eligibleSince)
	}
	g.watched = now
	g.follow(now, s)
	b := g.bars(now, s)
	g.barredThisRound, g.members = b, members
	g.best, g.votes = elect(members, self, b)
	g.count(now)
	for _, m := range members {
		if !b.eligible(m) {
			delete(g.eligibleSince, m.ID)
		} else if _, ok := g.eligibleSince[m.ID]; !ok {
			g.eligibleSince[m.ID] = now
		}
	}
	for id := range g.eligibleSince {
		if _, ok := find(members, id); !ok {
			delete(g.eligibleSince, id)
		}
	}
}

// follow notes when things in the table were seen to change. What was there at the first look counts from then: after
// a restart or an installed snapshot this only lengthens the wait (R6).
func (g *granter) follow(now clock.Reading, s lord.State) {
	if key := (renewalKey{s.Era, s.Epoch, s.RenewIndex}); !g.knows || key != g.renewal {
		g.renewal, g.renewed = key, now
	}
	if s.Phase == lord.Releasing && g.handed != s.Epoch {
		g.handed, g.handedAt = s.Epoch, now
	}
	if s.EraIndex != g.era || !g.knows {
		g.era, g.eraAt = s.EraIndex, now
	}
	if g.knows && s.VacIndex != g.vacancy && (s.Reason == lord.Missed || s.Reason == lord.Declined) {
		g.missed[s.Holder] = now
	}
	g.vacancy = s.VacIndex
	for id, at := range g.missed {
		if now.Shortest(at) >= missedBar {
			delete(g.missed, id)
		}
	}
	for id, count := range s.Suspended {
		if f, ok := g.failures[id]; !ok || f.count != count {
			g.failures[id] = failure{count, now}
		}
	}
	for id := range g.failures {
		if _, ok := s.Suspended[id]; !ok {
			delete(g.failures, id)
		}
	}
	g.knows = true
}

func (g *granter) bars(now clock.Reading, s lord.State) bars {
	b := bars{dead: s.Dead, suspended: map[string]bool{}, missed: map[string]bool{}}
	for id, f := range g.failures {
		// The holder was granted after its last suspension, so that one is over, whenever this node came.
		if s.Phase != lord.Vacant && s.Holder == id {
			continue
		}
		if now.Shortest(f.at) < g.suspension(f.count) {
			b.suspended[id] = true
		}
	}
	for id := range g.missed {
		b.missed[id] = true
	}
	return b
}

// suspension doubles with each failed lord hook in a row.
func (g *granter) suspension(count uint64) time.Duration {
	return g.lordError << min(max(count, 1)-1, maxDoublings)
}

func (g *granter) count(now clock.Reading) {
	enough := g.best != "" && g.votes >= g.quorum
	switch {
	case !enough:
		g.choice = ""
	case g.choice != g.best:
		g.choice, g.choiceSince = g.best, now
	}
	switch {
	case enough:
		g.outvoted = false
	case !g.outvoted:
		g.outvoted, g.outvotedSince = true, now
	}
}

// proposal is a command and why it is proposed, for the log.
type proposal struct {
	cmd  []byte
	what string // grant, expire, handover, revoke
	node string
	why  string
}

// decide says what to propose now, if this node leads.
func (g *granter) decide(now clock.Reading, s lord.State) (proposal, bool) {
	waited := now.Shortest(g.renewed)
	expired := s.Holder != lord.External && waited > s.Numbers.Wait()
	switch s.Phase {
	case lord.Vacant:
		return g.grant(now, s)
	case lord.Offered:
		// No renewal was committed, so nobody rules: no need to wait for W (R27).
		if waited >= s.Numbers.Offer {
			return g.expire(s, "offer not taken"), true
		}
	case lord.Held:
		if expired {
			return g.expire(s, "lease ran out"), true
		}
		return g.move(now, s)
	case lord.Releasing:
		if expired {
			return g.expire(s, "lease ran out"), true
		}
		if now.Shortest(g.handedAt) > s.Numbers.StopGrace+revokeMargin {
			return proposal{lord.Revoke(s.Legion, s.Epoch), "revoke", s.Holder, "did not stop in time"}, true
		}
	case lord.Revoked:
		if expired {
			return g.expire(s, "lease ran out"), true
		}
	}
	return proposal{}, false
}

func (g *granter) expire(s lord.State, why string) proposal {
	return proposal{lord.Expire(s.Legion, s.Epoch, s.RenewIndex), "expire", s.Holder, why}
}

func (g *granter) grant(now clock.Reading, s lord.State) (proposal, bool) {
	if g.choice == "" || !g.settled(now, s) || g.afterEra(now, s) {
		return proposal{}, false
	}
	m, _ := find(g.members, g.choice)
	return proposal{lord.Grant(s.Legion, m.ID, m.Boot, s.VacIndex, g.numbers), "grant", m.ID, "best"}, true
}

// settled says whether the choice is more than a passing view: the same for one announce round. When the last epoch was
// ended by its holder or its guardian, waiting would only add to the failover; but never before this node has listened
// for a round.
func (g *granter) settled(now clock.Reading, s lord.State) bool {
	switch s.Reason {
	case lord.NoReason, lord.Expired:
		return now.Shortest(g.choiceSince) >= g.announce
	default:
		return now.Shortest(g.begun) >= g.announce
	}
}

// afterEra says whether a lord of the entries that were lost may still rule (R28). A grant of this era proves that the
// wait is over.
func (g *granter) afterEra(now clock.Reading, s lord.State) bool {
	if s.EraIndex == 0 || (s.Epoch != 0 && s.VacIndex > s.EraIndex && lord.EraOf(s.Epoch) == s.Era) {
		return false
	}
	wait := g.numbers.Wait()
	if s.Epoch != 0 {
		wait = max(wait, s.Numbers.Wait())
	}
	return now.Shortest(g.eraAt) <= wait
}

// move says whether the holder is asked to make place, and for whom.
func (g *granter) move(now clock.Reading, s lord.State) (proposal, bool) {
	handover := func(to, why string) (proposal, bool) {
		if to == s.Holder {
			to = ""
		}
		return proposal{lord.Handover(s.Legion, s.Epoch, to), "handover", to, why}, true
	}
	if g.outvoted && now.Shortest(g.outvotedSince) > s.Numbers.Lease {
		return handover("", "votes below quorum")
	}
	holder, ok := find(g.members, s.Holder)
	if !ok || holder.Boot != s.Boot {
		return proposal{}, false // silent, but it renews: only its lease tells
	}
	switch {
	case holder.Draining:
		return handover(g.choice, "draining")
	case holder.Valor <= 0:
		return handover(g.choice, "became an arbiter")
	case g.choice == "" || g.choice == s.Holder:
		return proposal{}, false
	case holder.Stepped:
		return handover(g.choice, "stepped down")
	case g.noPreempt:
		return proposal{}, false
	}
	best, _ := find(g.members, g.choice)
	since, ok := g.eligibleSince[g.choice]
	if best.Valor > holder.Valor && ok && now.Shortest(since) >= g.preempt {
		return handover(g.choice, "greater valor")
	}
	return proposal{}, false
}
