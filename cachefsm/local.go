package cachefsm

import (
	"context"
	"sync"
	"time"

	"github.com/cohortd/cohort/cachefsm/op"
	"github.com/cohortd/cohort/clock"
)

// Local is a table of this node alone: the same ops, no cluster, nothing kept over a restart.
type Local struct {
	clock clock.Clock
	mu    sync.Mutex
	table Table
}

// NewLocal makes a table local. The clock may be nil for the machine's.
func NewLocal(t Table, c clock.Clock) *Local {
	if c == nil {
		c = clock.System{}
	}
	return &Local{clock: c, table: t}
}

// Do runs an op.
func (l *Local) Do(_ context.Context, o []byte) (op.Result, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.advance()
	return l.table.Apply(0, at, o), nil
}

// Read runs an op that changes nothing. It is always fresh.
func (l *Local) Read(_ context.Context, o []byte, _ bool) (op.Result, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.advance()
	return l.table.Read(o), nil
}

func (l *Local) advance() time.Duration {
	at := l.clock.Now().Boot
	l.table.Advance(at)
	return at
}
