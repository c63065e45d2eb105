package cachefsm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// TransferTo hands leadership to a voter; "" is the one that is furthest. New entries wait meanwhile, for
// two election timeouts at most. raft's own transfer is not used: if leadership is lost in the middle of it,
// it may refuse entries for ever after (hashicorp/raft issue 696).
func (g *Group) TransferTo(ctx context.Context, id string) error {
	if err := g.transfer(ctx, id); err != nil {
		return fmt.Errorf("hand leadership of group %s to %q: %w", g.o.Name, id, err)
	}
	return nil
}

func (g *Group) transfer(ctx context.Context, id string) error {
	v := g.view.Load()
	if !v.leading {
		return errors.New("this node does not lead")
	}
	if id == g.o.ID {
		return nil
	}
	if !g.writes.held.CompareAndSwap(false, true) {
		return errors.New("it is handed over already")
	}
	defer g.writes.held.Store(false)
	defer g.writes.q.poke()
	ctx, cancel := context.WithTimeout(ctx, 2*g.o.Timeout)
	defer cancel()
	id, err := g.catchUp(ctx, id)
	if err != nil {
		return err
	}
	asked := make(chan error, 1)
	g.calls.Go(func() { asked <- g.timeoutNow(id) })
	for {
		select {
		case err := <-asked:
			if err != nil {
				return err
			}
			asked = nil // it stands; now it must win
		case <-v.changed:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// catchUp waits until a voter has the whole log and returns its id.
func (g *Group) catchUp(ctx context.Context, id string) (string, error) {
	voters, _ := g.Members()
	candidates := slices.DeleteFunc(voters, func(v string) bool { return v == g.o.ID || id != "" && v != id })
	if len(candidates) == 0 {
		return "", errors.New("no such voter")
	}
	for {
		ready := make(chan string, len(candidates))
		for _, c := range candidates {
			g.calls.Go(func() {
				if a, err := g.askTerm(ctx, c); err == nil && a.last >= g.raft.LastIndex() {
					ready <- c
				}
			})
		}
		select {
		case c := <-ready:
			return c, nil
		case <-time.After(minPause):
		case <-ctx.Done():
			return "", fmt.Errorf("nobody has the whole log: %w", ctx.Err())
		}
	}
}

// Campaign makes a voter stand for election at once, without waiting for the leader to be missed. A vote is
// as safe as ever; a leader that is alive loses its place if this node's log is not behind.
func (g *Group) Campaign() error {
	if g.layer == nil || g.raft.State() == raft.Leader {
		return nil
	}
	if voters, _ := g.Members(); !slices.Contains(voters, g.o.ID) {
		return fmt.Errorf("campaign in group %s: this node is no voter", g.o.Name)
	}
	if err := g.timeoutNow(g.o.ID); err != nil {
		return fmt.Errorf("campaign in group %s: %w", g.o.Name, err)
	}
	return nil
}

// timeoutNow tells a voter, which may be this one, to stand for election.
func (g *Group) timeoutNow(id string) error {
	args := &raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{
		ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(g.o.ID), Addr: []byte(g.o.ID),
	}}
	return g.trans.TimeoutNow(raft.ServerID(id), raft.ServerAddress(id), args, &raft.TimeoutNowResponse{})
}
