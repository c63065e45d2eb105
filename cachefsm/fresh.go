package cachefsm

import (
	"context"
	"errors"
	"slices"

	"github.com/hashicorp/raft"

	"github.com/cohortd/cohort/cachefsm/op"
)

// errDeposed says that a majority did not say that this leader's term is the newest.
var errDeposed = errors.New("term not confirmed")

// answerReads answers own and frames from the table, after it made sure that no newer leader can have
// acknowledged anything before they were taken. Writes are acknowledged only after they were applied here,
// so no index needs to be waited for.
func (g *Group) answerReads(ctx context.Context, v *view, own []byte, frames []*frame) ([]op.Result, error) {
	if !g.confirm(ctx, v) {
		for _, f := range frames {
			f.answer <- answer{status: statusUnknown}
		}
		return nil, errDeposed
	}
	for _, f := range frames {
		f.answer <- answer{results: g.machine.readChunk(f.chunk, answerSize)}
	}
	if own == nil {
		return nil, nil
	}
	return g.machine.readChunk(own, 0), nil
}

// confirm asks the voters whether v's term is still theirs and returns true if a majority, this node
// included, says so. Whoever would be elected in a newer term needs one of them, after it answered.
func (g *Group) confirm(ctx context.Context, v *view) bool {
	g.rounds.Add(1)
	voters, _ := g.Members()
	missing := len(voters)/2 + 1
	if slices.Contains(voters, g.o.ID) {
		missing--
	}
	others := slices.DeleteFunc(voters, func(id string) bool { return id == g.o.ID })
	ctx, cancel := context.WithTimeout(ctx, g.o.Timeout)
	defer cancel()
	said := make(chan bool, len(others))
	if missing > 0 {
		for _, id := range others {
			g.calls.Go(func() {
				a, err := g.askTerm(ctx, id)
				said <- err == nil && a.term == v.term
			})
		}
	}
	for asked := len(others); missing > 0 && missing <= asked; asked-- {
		select {
		case yes := <-said:
			if yes {
				missing--
			}
		case <-v.changed:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return missing == 0 && g.raft.State() == raft.Leader && g.raft.CurrentTerm() == v.term
}

// alone says that this node is the only voter and leads: nobody else can have acknowledged anything.
func (g *Group) alone() bool {
	if g.o.Links == nil {
		v := g.view.Load()
		return v.leading
	}
	return false
}

// A term question is the version; its answer is the version, the answering node's term, the last index it
// applied and the last of its log.
type termAnswer struct{ term, applied, last uint64 }

func (g *Group) askTerm(ctx context.Context, id string) (termAnswer, error) {
	b, err := g.o.Links.Call(ctx, id, g.o.Kinds.Term, []byte{op.Version})
	if err != nil {
		return termAnswer{}, err
	}
	return parseTerm(b)
}

func parseTerm(b []byte) (termAnswer, error) {
	r := op.Read(b)
	v := r.Byte()
	a := termAnswer{r.Uvarint(), r.Uvarint(), r.Uvarint()}
	if v != op.Version || !r.Done() {
		return termAnswer{}, errors.New("answer cannot be read")
	}
	return a, nil
}

// HandleTerm answers frames of kind Kinds.Term: which term this node is in. It has told its disk before
// anyone can be elected in it.
func (g *Group) HandleTerm(_ context.Context, _ string, payload []byte) ([]byte, error) {
	if len(payload) != 1 || payload[0] != op.Version {
		return nil, errors.New("question cannot be read")
	}
	if g.disk.isFailed() {
		return nil, ErrClosed
	}
	b := op.Uvarint([]byte{op.Version}, g.raft.CurrentTerm())
	return op.Uvarint(op.Uvarint(b, g.raft.AppliedIndex()), g.raft.LastIndex()), nil
}
