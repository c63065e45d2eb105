package cachefsm

import (
	"context"
	"time"

	"github.com/hashicorp/raft"
)

// view is who leads, as this node knows. It never changes; a newer one replaces it and closes changed.
type view struct {
	leader  string
	term    uint64
	leading bool          // it is this node, and everything of earlier terms is applied here
	stamp   time.Duration // leading: the table's time when it took over
	boot    time.Duration // leading: the boot clock then
	changed chan struct{}
}

// watch keeps the view. It is poked by raft's observations and looks by itself now and then.
func (g *Group) watch(ctx context.Context) {
	timer := time.NewTicker(g.o.Timeout / 2)
	defer timer.Stop()
	for {
		g.look(ctx)
		select {
		case <-g.poked:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
	}
}

func (g *Group) look(ctx context.Context) {
	old := g.view.Load()
	_, id := g.raft.LeaderWithID()
	now := view{leader: string(id), term: g.raft.CurrentTerm()}
	isLeader := g.raft.State() == raft.Leader
	if isLeader && old.leading && old.term == now.term {
		return
	}
	if !isLeader && now.leader == g.o.ID {
		now.leader = "" // it has just stepped down
	}
	if now.leader != old.leader || now.term != old.term || old.leading {
		g.publish(now)
	}
	if isLeader && now.leader == g.o.ID {
		g.takeOver(ctx, now)
	}
}

func (g *Group) publish(v view) {
	v.changed = make(chan struct{})
	old := g.view.Swap(&v)
	close(old.changed)
	switch {
	case old.leader == v.leader:
	case v.leader == "":
		g.log.Info("raft has no leader", "term", v.term)
	default:
		g.log.Info("raft leader changed", "leader", g.o.Called(v.leader), "term", v.term)
	}
}

// takeOver makes a new leader ready: its table must have everything that earlier leaders acknowledged
// before it stamps an entry or answers a read. One barrier a term sees to that.
func (g *Group) takeOver(ctx context.Context, v view) {
	if err := g.raft.Barrier(g.o.Timeout).Error(); err != nil {
		g.log.Debug("barrier", "err", err)
		return
	}
	if ctx.Err() != nil || g.raft.State() != raft.Leader || g.raft.CurrentTerm() != v.term {
		return
	}
	v.leading, v.boot = true, g.o.Clock.Now().Boot
	if v.stamp = g.machine.time(); v.stamp == 0 {
		// The cluster starts for the first time. No wall clock is asked ever again.
		v.stamp = time.Duration(max(g.o.WallStart().UnixNano(), 1))
	}
	g.publish(v)
}

// stamp is the time of an entry that is appended now. The machine makes sure that it never goes back.
func (g *Group) stamp(v *view) time.Duration {
	return v.stamp + max(g.o.Clock.Now().Boot-v.boot, 0)
}

// Leader is the node that leads, or "" if none is known.
func (g *Group) Leader() string { return g.view.Load().leader }

// Leading says whether this node leads and has applied everything that earlier leaders acknowledged.
func (g *Group) Leading() (term uint64, ok bool) {
	v := g.view.Load()
	return v.term, v.leading && g.raft.State() == raft.Leader
}
