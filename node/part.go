package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
)

// part is one thing a node runs. run calls ready once others may use it,
// and returns only when everything it started is gone.
type part struct {
	name string
	run  func(ctx context.Context, ready func()) error
}

// errEnded says that a part came to its end although nobody asked it to.
var errEnded = errors.New("ended by itself")

// runParts starts parts in order, each when the one before it is ready, and stops them in reverse when ctx
// ends or one of them fails. It returns when all are gone, with the failure that began it, if any; up is
// called once all are ready.
func runParts(ctx context.Context, log *slog.Logger, parts []part, up func()) error {
	ends := make(chan end, len(parts))
	var running []started
	var failed error

	for _, p := range parts {
		s, readied := start(ctx, p, ends)
		running = append(running, s)
		select {
		case <-readied:
			log.Debug("part ready", "name", p.name)
			continue
		case e := <-ends:
			failed = e.failure()
		case <-ctx.Done():
		}
		break
	}
	if failed == nil && ctx.Err() == nil {
		up()
		select {
		case e := <-ends:
			failed = e.failure()
		case <-ctx.Done():
		}
	}
	for i := len(running) - 1; i >= 0; i-- {
		running[i].stop()
		<-running[i].gone
		log.Debug("part stopped", "name", running[i].name)
	}
	for len(ends) > 0 { // what went wrong while stopping is told too, but is not why we stopped
		if e := <-ends; e.err != nil && failed == nil {
			failed = e.failure()
		}
	}
	return failed
}

type started struct {
	name string
	stop context.CancelFunc
	gone chan struct{}
}

type end struct {
	name string
	err  error
}

func (e end) failure() error {
	err := e.err
	if err == nil {
		err = errEnded
	}
	return fmt.Errorf("%s: %w", e.name, err)
}

// start runs p under a context of its own: it outlives ctx, because parts end in reverse order and not
// all at once.
func start(ctx context.Context, p part, ends chan<- end) (started, <-chan struct{}) {
	own, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := started{p.name, stop, make(chan struct{})}
	readied := make(chan struct{})
	go func() {
		defer close(s.gone)
		called := false
		err := p.run(own, func() {
			if !called {
				called = true
				close(readied)
			}
		})
		if err != nil || own.Err() == nil {
			ends <- end{p.name, err}
		}
	}()
	return s, readied
}
