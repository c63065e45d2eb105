package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/cohortd/cohort/api"
	"github.com/cohortd/cohort/cachefsm"
	"github.com/cohortd/cohort/cachefsm/cache"
	"github.com/cohortd/cohort/cachefsm/lord"
	"github.com/cohortd/cohort/daemons"
	"github.com/cohortd/cohort/legion"
)

// admin is a node in the words of the API.
type admin struct{ n *Node }

func (a admin) Cache(ctx context.Context, r api.CacheRequest) (api.CacheAnswer, error) {
	return a.n.caches.Do(ctx, r)
}

// Drain hands over every legion this node holds, then the leadership of both groups. It returns once the
// others have them, or ctx ends.
func (a admin) Drain(ctx context.Context, on bool) error {
	n := a.n
	n.setDraining(on)
	for _, l := range n.legions {
		l.Drain(on)
	}
	if !on {
		return nil
	}
	for _, l := range n.legions {
		if err := notLord(ctx, l); err != nil {
			return &api.Error{Kind: api.Failed, Text: fmt.Sprintf("the drain goes on; legion %s was not handed over in time: %v", l.Name(), err)}
		}
	}
	n.leadNothing(ctx)
	return nil
}

func notLord(ctx context.Context, l *legion.Legion) error {
	for {
		changed := l.Changed()
		if l.View().Lord != l.View().Self {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// leadNothing gives the leadership of both groups to any other voter. Where that fails the next election does it.
func (n *Node) leadNothing(ctx context.Context) {
	for _, g := range []*cachefsm.Group{n.control, n.cache} {
		if _, leads := g.Leading(); !leads {
			continue
		}
		voters, _ := g.Members()
		alive := n.alive()
		for _, id := range voters {
			if m, ok := alive[id]; ok && id != n.id.ID && !m.Meta.Draining && g.TransferTo(ctx, id) == nil {
				break
			}
		}
	}
}

func (a admin) StepDown(ctx context.Context, name string) error {
	l := a.n.legion(name)
	if l == nil {
		return &api.Error{Kind: api.NotFound, Text: fmt.Sprintf("no legion %q on this node", name)}
	}
	err := l.StepDown(ctx)
	switch {
	case errors.Is(err, legion.ErrNotLord):
		return &api.Error{Kind: api.Conflict, Text: fmt.Sprintf("this node is not lord of %s; ask the one that is", name)}
	case errors.Is(err, legion.ErrNoHeir):
		return &api.Error{Kind: api.Conflict, Text: fmt.Sprintf("nobody else may rule %s now: cohort legion shows who is there", name)}
	}
	return err
}

func (a admin) Status() api.Status {
	n := a.n
	s := api.Status{
		Node: n.cfg.Node, ID: n.id.ID, Version: n.deps.Version, Boot: n.id.Counter, PID: os.Getpid(), Uptime: time.Since(n.began),
		Cluster: n.control.ClusterID(), Address: n.addrOf(), HTTP: n.HTTP(), Draining: n.draining.Load(),
		Members: n.members(), Groups: []api.Group{n.group(n.control, "control"), n.group(n.cache, "cache")},
		Legions: []api.Legion{}, Daemons: []api.Daemon{}, Caches: n.cacheStatus(), Counters: n.counters(),
	}
	for _, l := range n.legions {
		s.Legions = append(s.Legions, n.legionStatus(l))
	}
	for _, g := range n.guards.all() {
		s.Daemons = append(s.Daemons, daemonStatus(g.Status())...)
	}
	if n.own != nil {
		s.Daemons = append(s.Daemons, daemonStatus(n.own.Status())...)
	}
	return s
}

func (n *Node) members() []api.Member {
	voters, _ := n.control.Members()
	out := []api.Member{}
	add := func(id, name, addr string, alive, client bool, boot uint64) {
		role := "joining"
		switch {
		case slices.Contains(voters, id):
			role = "voter"
		case client:
			role = "client"
		}
		out = append(out, api.Member{Name: name, ID: id, Address: addr, Alive: alive, Self: id == n.id.ID, Role: role, Boot: uint32(boot >> 32)})
	}
	if n.cluster == nil {
		add(n.id.ID, n.cfg.Node, "", true, false, n.id.Boot())
		return out
	}
	for _, m := range n.cluster.Members() {
		add(m.ID, m.Name, m.Addr, m.Alive, m.Meta.Client, m.Boot)
	}
	slices.SortFunc(out, func(a, b api.Member) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return out
}

func (n *Node) group(g *cachefsm.Group, name string) api.Group {
	st := g.Stats()
	voters, others := g.Members()
	out := api.Group{Name: name, Term: st.Term, Applied: st.Applied, Ops: st.Ops, Batches: st.Batches, Voters: n.names(voters), Others: n.names(others)}
	if leader := g.Leader(); leader != "" {
		out.Leader = n.name(leader)
	}
	return out
}

func (n *Node) names(ids []string) []string {
	out := []string{}
	for _, id := range ids {
		out = append(out, n.name(id))
	}
	slices.Sort(out)
	return out
}

func (n *Node) legionStatus(l *legion.Legion) api.Legion {
	v := l.View()
	out := api.Legion{
		Name: l.Name(), Epoch: v.Epoch, Phase: v.Phase.String(), IsLord: l.IsLord(), ValidFor: v.ValidFor(n.deps.Clock.Now()),
		Votes: v.Votes, Quorum: v.Quorum, Members: []api.LegionMember{},
	}
	if v.Lord != "" {
		out.Lord = n.name(v.Lord)
	}
	if out.IsLord { // the view may be a moment behind
		out.Lord = n.cfg.Node
	}
	if out.Lord == "" {
		out.Reason = n.whyNobody(v)
	}
	for _, m := range v.Members {
		vote := ""
		if m.Vote != "" {
			vote = n.name(m.Vote)
		}
		out.Members = append(out.Members, api.LegionMember{
			Node: n.name(m.ID), Valor: m.Valor, Arbiter: m.Arbiter(), Draining: m.Draining, Vote: vote, Scroll: m.Scroll,
		})
	}
	return out
}

// whyNobody says what stands between a legion and its lord.
func (n *Node) whyNobody(v *legion.View) string {
	switch {
	case n.control.Leader() == "":
		return "the control group has no leader: more than half of the voters must run and reach each other"
	case v.Best == "":
		return "no member may rule: all are arbiters, drained, suspended, or not heard of"
	case !v.Quorate():
		return fmt.Sprintf("%d votes for %s, and the quorum is %d", v.Votes, n.name(v.Best), v.Quorum)
	case v.Phase == lord.Vacant:
		return "a lord is being named"
	default:
		return "the last lord's lease has not ended yet"
	}
}

func daemonStatus(all []daemons.Status) []api.Daemon {
	var out []api.Daemon
	for _, d := range all {
		out = append(out, api.Daemon{
			Name: d.Name, Legion: d.Legion, Epoch: d.Epoch, Command: d.Command, State: d.State.String(), PID: d.PID,
			Since: d.Since, Restarts: d.Restarts, Lines: d.LastLines,
		})
	}
	return out
}

// cacheStatus is what this node's own tables hold: a moment behind, and never waiting for anybody.
func (n *Node) cacheStatus() []api.Cache {
	out := []api.Cache{}
	for scope, table := range map[string]store{"cluster": n.cache, "node": n.caches.local} {
		r, err := table.Read(context.Background(), cache.List(), false)
		infos, ok := cache.ParseList(r.Bytes)
		if err != nil || !ok {
			continue
		}
		for _, i := range infos {
			out = append(out, api.Cache{Name: i.Spec.Name, Scope: scope, Items: i.Items, Limit: i.Spec.Items})
		}
	}
	slices.SortFunc(out, func(a, b api.Cache) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
