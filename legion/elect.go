package legion

// bars are why members who would like to rule may not, beyond what they say themselves. All of it follows from what is
// agreed in the table, so that all nodes vote alike.
type bars struct {
	dead      map[string]uint64 // a boot that is known dead may still be alive in gossip (R26)
	suspended map[string]bool   // lord hook failed
	missed    map[string]bool   // did not take an offer lately
}

// eligible says whether a member may be granted lordship.
func (b bars) eligible(m Member) bool {
	if !m.live() || m.Valor <= 0 || m.Draining || m.Suspended || b.suspended[m.ID] || b.missed[m.ID] {
		return false
	}
	boot, ok := b.dead[m.ID]
	return !ok || boot != m.Boot
}

// elect names the best: greatest (valor, uuid) among the eligible, and how many of the live members, arbiters included,
// name it too. self's own vote is this one. A member that stepped down is best only if nobody else can be. One that
// disagrees costs its vote and blocks nobody, unlike in uWSGI (core/legion.c), where all members must agree.
func elect(members []Member, self string, b bars) (best string, votes int) {
	var first *Member
	for i := range members {
		m := &members[i]
		if b.eligible(*m) && (first == nil || before(*m, *first)) {
			first = m
		}
	}
	if first == nil {
		return "", 0
	}
	for _, m := range members {
		if m.live() && (m.ID == self || m.Vote == first.ID) {
			votes++
		}
	}
	return first.ID, votes
}

// before says whether a is to rule rather than b.
func before(a, b Member) bool {
	if a.Stepped != b.Stepped {
		return b.Stepped
	}
	if a.Valor != b.Valor {
		return a.Valor > b.Valor
	}
	return a.ID > b.ID
}

func find(members []Member, id string) (Member, bool) {
	for _, m := range members {
		if m.ID == id {
			return m, true
		}
	}
	return Member{}, false
}
