package daemons

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// sweepMargin is what a guardian gets beyond the time that it may take.
const sweepMargin = 500 * time.Millisecond

// Swept is an epoch of an earlier life of this node of which nothing is left now.
type Swept struct {
	Legion string
	Epoch  uint64
	Boot   uint64
	Undone bool // false: an unlord hook failed, and will be tried again at the next start
}

// Sweep ends whatever guardians of earlier boots of this node have left behind, and waits until it is gone; unlord hooks
// that did not run are run. It must be called with the data directory locked, and before anything is started: then each
// state file in stateDir is a dead node's. A guardian that is ending by itself is given the time that it may take.
func Sweep(ctx context.Context, stateDir, self string, log *slog.Logger) ([]Swept, error) {
	return sweep(ctx, stateDir, options{self: self}, log)
}

func sweep(ctx context.Context, stateDir string, opt options, log *slog.Logger) ([]Swept, error) {
	paths, err := notes(stateDir)
	if err != nil {
		return nil, fmt.Errorf("sweep: %w", err)
	}
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		out  []Swept
		errs []error
	)
	for _, path := range paths {
		wg.Go(func() {
			s, err := sweepOne(ctx, path, opt, log)
			if errors.Is(err, errNote) {
				log.Error("state file cannot be read, put aside", "err", err)
				if err = os.Rename(path, path+".broken"); err == nil {
					return
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, fmt.Errorf("sweep: %w", err))
				return
			}
			out = append(out, s)
		})
	}
	wg.Wait()
	return out, errors.Join(errs...)
}

func sweepOne(ctx context.Context, path string, opt options, log *slog.Logger) (Swept, error) {
	n, err := readNote(path)
	if err != nil {
		return Swept{}, err
	}
	s := Swept{Legion: n.Legion, Epoch: n.Epoch, Boot: n.Boot, Undone: true}
	log = log.With("legion", n.Legion, "epoch", n.Epoch)
	if n.Kernel == kernelBoot() {
		r := remains{pid: n.PID, start: n.Start, leaf: n.Leaf, token: n.Token}
		if err := r.outlast(ctx, path, n.EndsIn+sweepMargin, log); err != nil {
			return s, err
		}
		if err := r.clear(ctx, log); err != nil {
			return s, err
		}
		n.Leaf.remove() //nolint:errcheck // empty, and in nobody's way
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return s, nil // the guardian came to its end itself, and undid what there was
	}
	if len(n.UnlordHooks) > 0 {
		c := Charge{
			Legion: n.Legion, Epoch: n.Epoch, Node: n.Node, Boot: n.Boot,
			UnlordHooks: n.UnlordHooks, HookTimeout: n.HookTimeout, Forever: true,
		}
		opt.stateFile = path
		s.Undone = undo(c, c.Since, opt, log)
	}
	log.Info("swept what an earlier life left", "undone", s.Undone)
	if s.Undone {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return s, err
		}
	}
	return s, nil
}

// outlast waits for a guardian whose node is dead. One that is stopped or takes too long is killed with all it runs; one
// that has removed its state file is done, and may go on sending its ticket.
func (r *remains) outlast(ctx context.Context, path string, limit time.Duration, log *slog.Logger) error {
	guardian := process{pid: r.pid, start: r.start}
	fd, err := guardian.hold()
	if err != nil {
		return nil //nolint:nilerr // gone
	}
	defer unix.Close(fd)
	for end := time.Now().Add(limit); ; {
		_, gone := os.Stat(path)
		if !isAlive(r.pid, r.start) || errors.Is(gone, os.ErrNotExist) {
			return nil
		}
		p, err := look(r.pid)
		if err == nil && (p.state == 'T' || p.state == 't') || time.Now().After(end) {
			log.Warn("killing a guardian of an earlier life", "pid", r.pid)
			r.slay()
		}
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		unix.Poll(fds, 20) //nolint:errcheck // looks again
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}
