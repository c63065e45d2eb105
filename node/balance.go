package node

import (
	"context"
	"time"
)

// The control leader is kept off lords: one dead machine then never costs an election and a lease at once.
const (
	balanceEvery = time.Second
	moveAtMost   = 30 * time.Second // between two moves, so that a flapping legion does not move raft along
	settleFirst  = 3 * time.Second  // how long we must have led, and been lord, before moving anything
)

// balance hands the control group's leadership to the healthy voter with the fewest lords while this node
// leads it and is lord itself, and keeps guardians told of where the voters are. Where the leader is never
// matters for safety.
func (n *Node) balance(ctx context.Context, ready func()) error {
	ready()
	tick := time.NewTicker(balanceEvery)
	defer tick.Stop()
	var moved, since time.Time
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		n.guards.tellVoters()
		if _, leads := n.control.Leading(); !leads || n.lordships(n.id.ID) == 0 {
			since = time.Time{}
			continue
		}
		if since.IsZero() {
			since = time.Now()
		}
		if time.Since(since) < settleFirst || time.Since(moved) < moveAtMost {
			continue
		}
		if to := n.calmestVoter(); to != "" {
			moved = time.Now()
			if err := n.control.TransferTo(ctx, to); err != nil {
				n.log.Debug("control leadership not moved", "to", n.name(to), "err", err)
			} else {
				n.log.Info("control leadership moved off the lord", "to", n.name(to))
			}
		}
	}
}

// lordships counts the legions that a node holds, as this node sees it.
func (n *Node) lordships(id string) int {
	count := 0
	for _, l := range n.legions {
		if l.View().Lord == id {
			count++
		}
	}
	return count
}

// calmestVoter is the live voter with fewer lords than this node, fewest first; "" if there is none.
func (n *Node) calmestVoter() string {
	best, fewest := "", n.lordships(n.id.ID)
	voters, _ := n.control.Members()
	alive := n.alive()
	for _, id := range voters {
		if m, ok := alive[id]; ok && id != n.id.ID && !m.Meta.Draining && n.lordships(id) < fewest {
			best, fewest = id, n.lordships(id)
		}
	}
	return best
}
