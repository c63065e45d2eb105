package legion

import (
	"slices"
	"strings"
	"time"

	"github.com/cohortd/cohort/clock"
)

// Member is one node of the legion as this node knows it.
type Member struct {
	ID, Name  string
	Boot      uint64
	Valor     int64
	Draining  bool // gives lordship up and takes none
	Suspended bool // its lord hook failed lately
	Stepped   bool // stepped down: rules only if nobody else can
	Lord      bool // says of itself that it rules
	Vote      string
	Epoch     uint64 // newest it knows
	ViewHash  uint64 // digest of the members it sees
	Scroll    string
	Alive     bool          // the cluster reaches it
	Fresh     bool          // its last announcement is at most three intervals old
	Heard     clock.Reading // when that came, on this node's clock
}

// Arbiter says whether the member votes and never rules.
func (m Member) Arbiter() bool { return m.Valor == 0 }

// live says whether the member's word counts now.
func (m Member) live() bool { return m.Alive && m.Fresh }

// staleAfter is how many announce intervals a member may be silent.
const staleAfter = 3

// newest is the last announcement of a node, sealed as it came.
type newest struct {
	announcement
	boot, seq uint64
	heard     clock.Reading
	sealed    []byte
}

// roll keeps the newest announcement of each node.
type roll struct {
	opener  *opener
	self    rawID
	news    map[rawID]*newest
	scrolls map[[16]byte]string // long ones that were fetched
	refused Refused
}

// Refused counts announcements that were not taken, by the reason.
type Refused struct {
	Foreign   uint64 // another legion's, or sealed with another secret
	Malformed uint64
	BadSeal   uint64
	OldBoot   uint64 // replayed from an earlier boot
	OldNews   uint64 // seen before; each one comes several times, so this grows in good health
}

func newRoll(self rawID, secrets ...legionKeys) *roll {
	return &roll{opener: newOpener(secrets...), self: self, news: map[rawID]*newest{}, scrolls: map[[16]byte]string{}}
}

// merge takes one message; news says whether it told something new.
func (r *roll) merge(msg []byte, now clock.Reading) (who rawID, news bool) {
	if len(msg) >= headerSize && rawID(msg[9:25]) == r.self {
		return r.self, false // our own, come back
	}
	o, why := r.opener.open(msg)
	switch why {
	case foreign:
		r.refused.Foreign++
	case malformed:
		r.refused.Malformed++
	case badSeal:
		r.refused.BadSeal++
	case oldBoot:
		r.refused.OldBoot++
	case oldNews:
		r.refused.OldNews++
	}
	if why != taken {
		return o.node, false
	}
	a, ok := decodeAnnouncement(o.clear)
	if !ok {
		r.refused.Malformed++
		return o.node, false
	}
	r.news[o.node] = &newest{announcement: a, boot: o.boot, seq: o.seq, heard: now, sealed: append([]byte(nil), msg...)}
	return o.node, true
}

// state is the newest message of each node that is not stale: an old one, handed on, would look new elsewhere.
func (r *roll) state(now clock.Reading, interval time.Duration) [][]byte {
	var out [][]byte
	for _, n := range r.news {
		if now.Longest(n.heard) <= staleAfter*interval {
			out = append(out, n.sealed)
		}
	}
	return out
}

// members are all nodes that announced themselves and that the cluster knows, sorted by id, without this node.
func (r *roll) members(now clock.Reading, interval time.Duration, peers []Peer) []Member {
	var out []Member
	for _, p := range peers {
		id, err := parseID(p.ID)
		if err != nil || id == r.self {
			continue
		}
		n := r.news[id]
		if n == nil || n.flags&flagLeaving != 0 {
			continue
		}
		m := n.member(p)
		m.Fresh = p.Boot == n.boot && now.Longest(n.heard) <= staleAfter*interval
		m.Heard = n.heard
		if n.scrollLen > inlineScroll {
			m.Scroll = r.scrolls[n.digest]
		}
		out = append(out, m)
	}
	sortMembers(out)
	return out
}

func (n *newest) member(p Peer) Member {
	m := n.announcement.member(p.ID, n.boot)
	m.Name, m.Alive = p.Name, p.Alive
	return m
}

func (a announcement) member(id string, boot uint64) Member {
	return Member{
		ID: id, Boot: boot, Valor: int64(a.valor),
		Draining: a.flags&flagDraining != 0, Suspended: a.flags&flagSuspended != 0,
		Stepped: a.flags&flagStepped != 0, Lord: a.flags&flagLord != 0,
		Vote: a.vote.String(), Epoch: a.epoch, ViewHash: be64(a.view), Scroll: string(a.scroll),
	}
}

func be64(b [8]byte) (v uint64) {
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return v
}

func sortMembers(list []Member) {
	slices.SortFunc(list, func(a, b Member) int { return strings.Compare(a.ID, b.ID) })
}

// missingScrolls are long scrolls that fresh members have and this node does not.
func (r *roll) missingScrolls(now clock.Reading, interval time.Duration) map[[16]byte]string {
	out := map[[16]byte]string{}
	used := map[[16]byte]bool{}
	for id, n := range r.news {
		if n.scrollLen <= inlineScroll {
			continue
		}
		used[n.digest] = true
		if _, ok := r.scrolls[n.digest]; !ok && now.Longest(n.heard) <= staleAfter*interval {
			out[n.digest] = id.String()
		}
	}
	for d := range r.scrolls {
		if !used[d] {
			delete(r.scrolls, d)
		}
	}
	return out
}
