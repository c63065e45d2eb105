package cachefsm

import (
	"context"
	"fmt"
	"time"

	"github.com/cohortd/cohort/cachefsm/op"
)

// tickEvery is how far the table's time may be behind while something there waits for it.
const tickEvery = time.Second

// tickDue is when an entry must come for its time alone.
func (g *Group) tickDue() time.Duration {
	if !g.machine.timed.Load() {
		return 0
	}
	if left := tickEvery - time.Since(g.wrote); left > 0 {
		return left
	}
	return -1
}

// appendEntry makes one entry of own and frames and waits until it is applied here. An error leaves it open
// whether it will ever be. The entry's buffer is raft's from then on.
func (g *Group) appendEntry(_ context.Context, v *view, own []byte, frames []*frame) ([]op.Result, error) {
	size := 16 + len(own) + 4
	for _, f := range frames {
		size += len(f.chunk) + 4
	}
	e := op.EntryHead(make([]byte, 0, size), g.stamp(v))
	if own != nil {
		e = op.Bytes(e, own)
	}
	for _, f := range frames {
		e = op.Bytes(e, f.chunk)
	}
	future := g.raft.Apply(e, g.o.Timeout)
	err := future.Error()
	out, ok := future.Response().(*outcome)
	if err != nil || !ok {
		for _, f := range frames {
			f.answer <- answer{status: statusUnknown}
		}
		return nil, fmt.Errorf("append entry: %w", err)
	}
	g.wrote = time.Now()
	if own == nil && len(frames) == 0 {
		g.ticks.Add(1)
	}
	i := 0
	var results []op.Result
	if own != nil {
		results, i = out.chunk(0), 1
	}
	for _, f := range frames {
		f.answer <- answer{results: out.chunk(i)}
		i++
	}
	return results, nil
}
