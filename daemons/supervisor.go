package daemons

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// nodeGrace is what daemons of no legion get when the node dies: nobody waits for their lease.
const nodeGrace = 2 * time.Second

// Supervisor runs the daemons that belong to no legion, each under a guardian of its own.
type Supervisor struct {
	daemons  []Daemon
	node     string
	boot     uint64
	stateDir string
	self     string
	log      *slog.Logger

	mu        sync.Mutex
	guardians []*Guardian // by daemon; nil before its first start
}

// NewSupervisor prepares to run those of the daemons that have no legion. stateDir is where Sweep will look; self is the
// binary, empty for this one.
func NewSupervisor(daemons []Daemon, node string, boot uint64, stateDir, self string, log *slog.Logger) *Supervisor {
	s := &Supervisor{node: node, boot: boot, stateDir: stateDir, self: self, log: log}
	for _, d := range daemons {
		if d.Legion == "" {
			s.daemons = append(s.daemons, d)
		}
	}
	s.guardians = make([]*Guardian, len(s.daemons))
	return s
}

// Run keeps the daemons running until ctx ends, then stops them all at once and returns when they are gone.
func (s *Supervisor) Run(ctx context.Context, ready func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	for i := range s.daemons {
		g, err := s.start(i)
		if err != nil {
			cancel()
			wg.Wait()
			return fmt.Errorf("daemon %s: %w", s.daemons[i].Name, err)
		}
		wg.Go(func() { s.keep(ctx, i, g) })
	}
	ready()
	wg.Wait()
	return nil
}

// keep starts the guardian again when it was lost.
func (s *Supervisor) keep(ctx context.Context, i int, g *Guardian) {
	for failures := 0; ; failures++ {
		began := time.Now()
		select {
		case <-ctx.Done():
			s.stop(i)
		case <-g.Ended():
		}
		<-g.Down()
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) >= stableAfter {
			failures = 0
		}
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(backoff(failures, rand.Float64())):
			}
			next, err := s.start(i)
			if err == nil {
				g = next
				break
			}
			failures++
			s.log.Error("guardian cannot be started", "daemon", s.daemons[i].Name, "err", err)
		}
	}
}

func (s *Supervisor) start(i int) (*Guardian, error) {
	d := s.daemons[i]
	g, err := Start(Charge{
		Node: s.node, Boot: s.boot, Daemons: []Daemon{d}, Forever: true, StateDir: s.stateDir,
		Timing: Timing{Grace: nodeGrace, StopGrace: d.StopGrace},
	}, s.self, s.log)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.guardians[i] = g
	s.mu.Unlock()
	return g, nil
}

func (s *Supervisor) stop(i int) {
	s.mu.Lock()
	g := s.guardians[i]
	s.mu.Unlock()
	if g != nil {
		g.Stop(s.daemons[i].StopGrace)
	}
}

// Status is where each daemon stands.
func (s *Supervisor) Status() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Status
	for _, g := range s.guardians {
		if g != nil {
			out = append(out, g.Status()...)
		}
	}
	return out
}

// Guardians are the handles, in the order of the daemons, without those that could not be started yet.
func (s *Supervisor) Guardians() []*Guardian {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*Guardian
	for _, g := range s.guardians {
		if g != nil {
			out = append(out, g)
		}
	}
	return out
}
