package legion

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// hookJob is some hook commands, with what they get to know.
type hookJob struct {
	kind     string
	commands []string
	env      []string
}

// hooks runs the node's own hook commands one after the other, away from the protocol. Hooks of a lord are not run here:
// they could outlive this process.
type hooks struct {
	limit time.Duration // for each command
	run   func(ctx context.Context, command string, env []string) error
	fail  func(kind, command string, err error)

	mu    sync.Mutex
	queue []hookJob
	more  chan struct{}
	ended bool
}

func newHooks(limit time.Duration, run func(context.Context, string, []string) error, fail func(kind, command string, err error)) *hooks {
	if run == nil {
		run = runShell
	}
	return &hooks{limit: limit, run: run, fail: fail, more: make(chan struct{}, 1)}
}

func (h *hooks) add(job hookJob) {
	if len(job.commands) == 0 {
		return
	}
	h.mu.Lock()
	if !h.ended {
		h.queue = append(h.queue, job)
	}
	h.mu.Unlock()
	h.poke()
}

func (h *hooks) poke() {
	select {
	case h.more <- struct{}{}:
	default:
	}
}

// finish lets serve return once all that was added has run.
func (h *hooks) finish() {
	h.mu.Lock()
	h.ended = true
	h.mu.Unlock()
	h.poke()
}

// serve runs the jobs in order until finish.
func (h *hooks) serve(ctx context.Context) {
	for {
		h.mu.Lock()
		jobs, ended := h.queue, h.ended
		h.queue = nil
		h.mu.Unlock()
		for _, job := range jobs {
			for _, command := range job.commands {
				h.one(ctx, job, command)
			}
		}
		if len(jobs) > 0 {
			continue
		}
		if ended {
			return
		}
		<-h.more
	}
}

func (h *hooks) one(ctx context.Context, job hookJob, command string) {
	ctx, cancel := context.WithTimeout(ctx, h.limit)
	defer cancel()
	if err := h.run(ctx, command, job.env); err != nil {
		h.fail(job.kind, command, err)
	}
}

// runShell runs one command in a process group of its own, all of which dies at the end of ctx.
func runShell(ctx context.Context, command string, env []string) error {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		return fmt.Errorf("hook took too long: %w", errors.Join(ctx.Err(), err))
	}
	if err != nil {
		return fmt.Errorf("hook failed: %w", err)
	}
	return nil
}
