package cluster

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Member is a node as this one knows it.
type Member struct {
	ID    string // stays with its data directory
	Name  string // what people call it
	Addr  string // IP:port of its one port
	Boot  uint64 // which start of it; grows
	Alive bool
	Left  bool // not alive because it said farewell
	Meta  Meta
}

const (
	// keepDead is how long a dead node stays among the members.
	keepDead = 48 * time.Hour
	// mostDead bounds how many: the ones that died first go first.
	mostDead = 256
)

// sighting is one boot of a node: memberlist knows each boot as a member of its own.
type sighting struct {
	Member
	died time.Time
}

// view is what this node knows of all others. memberlist's callbacks write it; everybody reads snapshots.
type view struct {
	self func() Member

	mu      sync.Mutex
	seen    map[string]*sighting // by bootName
	members []Member             // never changed, only replaced
	changed chan struct{}
	moved   chan struct{} // one slot: the links should look
}

func newView(self func() Member) *view {
	v := &view{self: self, seen: map[string]*sighting{}, changed: make(chan struct{}), moved: make(chan struct{}, 1)}
	v.members = []Member{self()}
	return v
}

// see notes that a boot lives and what it says of itself.
func (v *view) see(name, addr string, meta []byte) {
	id, boot, ok := parseBootName(name)
	if !ok {
		return
	}
	nodeName, m, err := parseMeta(meta)
	if err != nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.seen[name] = &sighting{Member: Member{ID: id, Name: nodeName, Addr: addr, Boot: boot, Alive: true, Meta: m}}
	v.refresh()
}

// lose notes that a boot is dead, has left, or went over to another cluster.
func (v *view) lose(name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.seen[name]
	if s == nil || !s.Alive {
		return
	}
	s.Alive, s.died = false, time.Now()
	v.refresh()
}

// update makes a new snapshot, after this node itself changed or time passed.
func (v *view) update() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.refresh()
}

// refresh replaces the snapshot if it differs. v.mu is held.
func (v *view) refresh() {
	self := v.self()
	forget(v.seen, time.Now())
	members := fold(self, v.seen)
	if slices.Equal(members, v.members) {
		return
	}
	v.members = members
	close(v.changed)
	v.changed = make(chan struct{})
	select {
	case v.moved <- struct{}{}:
	default:
	}
}

func (v *view) snapshot() []Member {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.members
}

func (v *view) next() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.changed
}

// clones are the living boots of this node's own id that are not this boot.
func (v *view) clones() []Member {
	v.mu.Lock()
	defer v.mu.Unlock()
	self := v.self()
	var out []Member
	for _, s := range v.seen {
		if s.ID == self.ID && s.Boot != self.Boot && s.Alive {
			out = append(out, s.Member)
		}
	}
	return out
}

// fold makes one member of all boots of an id, sorted by id: a living one if there is any, of these the
// latest. Nodes of other clusters are no members.
func fold(self Member, seen map[string]*sighting) []Member {
	best := map[string]Member{}
	for _, s := range seen {
		if s.ID == self.ID || areForeign(self.Meta.ClusterID, s.Meta.ClusterID) {
			continue
		}
		if b, ok := best[s.ID]; !ok || isBetter(s.Member, b) {
			best[s.ID] = s.Member
		}
	}
	best[self.ID] = self
	out := make([]Member, 0, len(best))
	for _, m := range best {
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b Member) int { return strings.Compare(a.ID, b.ID) })
	return out
}

func isBetter(a, b Member) bool {
	if a.Alive != b.Alive {
		return a.Alive
	}
	return a.Boot > b.Boot
}

// forget drops boots that died long ago or that a later boot made history, and the first dead if they are
// many.
func forget(seen map[string]*sighting, now time.Time) {
	latest := map[string]uint64{}
	for _, s := range seen {
		latest[s.ID] = max(latest[s.ID], s.Boot)
	}
	var dead []string
	for name, s := range seen {
		switch {
		case s.Alive:
		case s.Boot < latest[s.ID] || now.Sub(s.died) > keepDead:
			delete(seen, name)
		default:
			dead = append(dead, name)
		}
	}
	if len(dead) <= mostDead {
		return
	}
	slices.SortFunc(dead, func(a, b string) int { return seen[a].died.Compare(seen[b].died) })
	for _, name := range dead[:len(dead)-mostDead] {
		delete(seen, name)
	}
}
