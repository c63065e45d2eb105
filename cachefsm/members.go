package cachefsm

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// Peer is a node that is or could be a member.
type Peer struct {
	ID, Name string
	Alive    bool
	Client   bool // follows without a vote
}

// Peers says which nodes there are. Changed is closed at the next change.
type Peers interface {
	Peers() []Peer
	Changed() <-chan struct{}
}

// maxVoters is how many nodes vote: more cost speed and save nothing that five do not.
const maxVoters = 5

// Server is a member as the leader sees it.
type Server struct {
	ID       string
	Name     string // last known
	Voter    bool
	Alive    bool
	Client   bool
	CaughtUp bool          // its table is about as far as the leader's
	Away     time.Duration // not alive: since when, as far as this leader knows
}

// ChangeKind is what is done to one member.
type ChangeKind int

// Changes of one member.
const (
	AddNonvoter ChangeKind = iota
	Promote
	Demote
	Remove
)

func (k ChangeKind) String() string {
	return [...]string{"add", "promote", "demote", "remove"}[k]
}

// Change is one change of the members and why.
type Change struct {
	Kind ChangeKind
	ID   string
	Why  string
}

// NextChange is the next change the leader should make, one at a time:
//
//   - whoever is alive and no member is added, without a vote;
//   - a dead member whose name came back under a new id is removed: a voter once the new one caught up;
//   - whoever caught up gets a vote while there are fewer than five;
//   - a voter that became a client loses its vote;
//   - a dead voter keeps its seat for reap, and longer if fewer than three voters would be left.
//
// No change may leave the voters that are alive without a majority.
func NextChange(self string, servers []Server, peers []Peer, reap time.Duration) (Change, bool) {
	s := slices.Clone(servers)
	slices.SortFunc(s, func(a, b Server) int { return strings.Compare(a.ID, b.ID) })
	for _, rule := range []func() (Change, bool){
		func() (Change, bool) { return addNew(s, peers) },
		func() (Change, bool) { return replaceDead(s) },
		func() (Change, bool) { return promoteReady(s) },
		func() (Change, bool) { return demoteClient(self, s) },
		func() (Change, bool) { return reapDead(s, reap) },
	} {
		if c, ok := rule(); ok {
			return c, true
		}
	}
	return Change{}, false
}

func addNew(servers []Server, peers []Peer) (Change, bool) {
	var c Change
	for _, p := range peers {
		member := slices.ContainsFunc(servers, func(s Server) bool { return s.ID == p.ID })
		if p.Alive && !member && (c.ID == "" || p.ID < c.ID) {
			c = Change{AddNonvoter, p.ID, "new node " + p.Name}
		}
	}
	return c, c.ID != ""
}

func replaceDead(servers []Server) (Change, bool) {
	for _, old := range servers {
		if old.Alive || old.Name == "" {
			continue
		}
		for _, s := range servers {
			if s.Alive && s.Name == old.Name && (!old.Voter || s.CaughtUp && staysSafe(servers, -1, 0)) {
				return Change{Remove, old.ID, "node " + old.Name + " came back as " + s.ID}, true
			}
		}
	}
	return Change{}, false
}

func promoteReady(servers []Server) (Change, bool) {
	if voters, _ := count(servers); voters >= maxVoters {
		return Change{}, false
	}
	for _, s := range servers {
		if !s.Voter && !s.Client && s.Alive && s.CaughtUp && staysSafe(servers, 1, 1) {
			return Change{Promote, s.ID, "caught up"}, true
		}
	}
	return Change{}, false
}

func demoteClient(self string, servers []Server) (Change, bool) {
	for _, s := range servers {
		if s.Voter && s.Client && s.Alive && s.ID != self && staysSafe(servers, -1, -1) {
			return Change{Demote, s.ID, "is a client now"}, true
		}
	}
	return Change{}, false
}

func reapDead(servers []Server, reap time.Duration) (Change, bool) {
	voters, _ := count(servers)
	spare := slices.ContainsFunc(servers, func(s Server) bool { return !s.Voter && !s.Client && s.Alive && s.CaughtUp })
	for _, s := range servers {
		if s.Alive || s.Away < reap {
			continue
		}
		if !s.Voter || (voters > 3 || spare) && staysSafe(servers, -1, 0) {
			return Change{Remove, s.ID, fmt.Sprintf("dead for %v", s.Away.Round(time.Second))}, true
		}
	}
	return Change{}, false
}

func count(servers []Server) (voters, alive int) {
	for _, s := range servers {
		if s.Voter {
			voters++
			if s.Alive {
				alive++
			}
		}
	}
	return voters, alive
}

// staysSafe says that the living voters are a majority after the numbers changed.
func staysSafe(servers []Server, voters, alive int) bool {
	v, a := count(servers)
	v, a = v+voters, a+alive
	return v > 0 && a >= v/2+1
}

// reconcileEvery is how often a leader looks for something to change.
const reconcileEvery = time.Second

// reconcile makes the members what NextChange wants while this node leads.
func (g *Group) reconcile(ctx context.Context) {
	seen := map[string]time.Time{} // when a member was last known to be alive
	names := map[string]string{}
	timer := time.NewTicker(reconcileEvery)
	defer timer.Stop()
	for {
		changed, v := g.o.Peers.Changed(), g.view.Load()
		if v.leading {
			if err := g.reconcileOnce(ctx, seen, names); err != nil {
				g.log.Debug("members not changed", "err", err)
			}
		} else {
			clear(seen)
		}
		select {
		case <-timer.C:
		case <-changed:
		case <-v.changed:
		case <-ctx.Done():
			return
		}
	}
}

func (g *Group) reconcileOnce(ctx context.Context, seen map[string]time.Time, names map[string]string) error {
	peers := g.o.Peers.Peers()
	servers := g.servers(ctx, peers, seen, names)
	c, ok := NextChange(g.o.ID, servers, peers, g.o.Reap)
	if !ok {
		return nil
	}
	id, addr := raft.ServerID(c.ID), raft.ServerAddress(c.ID)
	var f raft.IndexFuture
	switch c.Kind {
	case AddNonvoter:
		f = g.raft.AddNonvoter(id, addr, 0, g.o.Timeout)
	case Promote:
		f = g.raft.AddVoter(id, addr, 0, g.o.Timeout)
	case Demote:
		f = g.raft.DemoteVoter(id, 0, g.o.Timeout)
	case Remove:
		f = g.raft.RemoveServer(id, 0, g.o.Timeout)
	}
	if err := f.Error(); err != nil {
		return fmt.Errorf("%v %s: %w", c.Kind, c.ID, err)
	}
	g.log.Info("members changed", "change", c.Kind.String(), "member", g.o.Called(c.ID), "why", c.Why)
	return nil
}

// Remove takes a member away for good. If it is alive it is added again.
func (g *Group) Remove(ctx context.Context, id string) error {
	done := make(chan error, 1)
	g.calls.Go(func() { done <- g.raft.RemoveServer(raft.ServerID(id), 0, g.o.Timeout).Error() })
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("remove %s from group %s: %w", id, g.o.Name, err)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// servers joins what raft knows of the members with what the peers are.
func (g *Group) servers(ctx context.Context, peers []Peer, seen map[string]time.Time, names map[string]string) []Server {
	known := map[string]Peer{g.o.ID: {Alive: true}}
	for _, p := range peers {
		known[p.ID] = p
		names[p.ID] = p.Name
	}
	now := time.Now()
	members := g.raft.GetConfiguration().Configuration().Servers
	servers := make([]Server, 0, len(members))
	present := map[string]bool{}
	for _, m := range members {
		id := string(m.ID)
		p := known[id]
		present[id] = true
		if _, ok := seen[id]; !ok || p.Alive {
			seen[id] = now
		}
		s := Server{ID: id, Name: names[id], Voter: m.Suffrage == raft.Voter, Alive: p.Alive, Client: p.Client, Away: now.Sub(seen[id])}
		// Who votes caught up before it got its vote.
		s.CaughtUp = s.Alive && (s.Voter || !s.Client && g.caughtUp(ctx, id))
		servers = append(servers, s)
	}
	maps.DeleteFunc(seen, func(id string, _ time.Time) bool { return !present[id] })
	maps.DeleteFunc(names, func(id, _ string) bool { _, ok := known[id]; return !ok && !present[id] })
	return servers
}

// mayLag is how many entries behind a member counts as caught up: what comes in while one asks.
const mayLag = 256

func (g *Group) caughtUp(ctx context.Context, id string) bool {
	ctx, cancel := context.WithTimeout(ctx, g.o.Timeout)
	defer cancel()
	here := g.raft.AppliedIndex()
	a, err := g.askTerm(ctx, id)
	return err == nil && a.applied > 0 && a.applied+mayLag >= here
}
