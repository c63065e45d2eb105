package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// killWithin is how long a node may take to stop before it is killed.
const killWithin = 20 * time.Second

// devNode is one of the three.
type devNode struct {
	name                string
	valor               int
	gossip, http, cache string // addresses
	data                string
	proc                atomic.Pointer[os.Process]
}

func (n *devNode) pid() int {
	if p := n.proc.Load(); p != nil {
		return p.Pid
	}
	return 0
}

// arguments are what the node is started with.
func (d *dev) arguments(n *devNode) []string {
	var all []string
	for _, o := range d.nodes {
		all = append(all, o.gossip)
	}
	args := []string{
		"run", filepath.Join(d.dir, "dev.ini"), "--log-json", "--node", n.name, "--data", n.data,
		"--cluster", n.gossip, "--cluster-join", strings.Join(all, ","), "--cluster-secret-file", filepath.Join(d.dir, "secret"),
		"--http-socket", n.http,
		"--legion", fmt.Sprintf("dev %d bf-cbc:dev-legion", n.valor), "--legion-attach-daemon", "dev " + d.daemon(n),
	}
	if d.debug {
		args = append(args, "--log-debug")
	}
	return args
}

// daemon is the command that runs where the lord is.
func (d *dev) daemon(n *devNode) string {
	if d.memcached == "" {
		return quoted(filepath.Join(d.dir, "cohort")) + " dev-daemon"
	}
	host, port, _ := net.SplitHostPort(n.cache) // our own, well formed
	command := fmt.Sprintf("%s -l %s -p %s -m 16", quoted(d.memcached), host, port)
	if os.Geteuid() == 0 {
		command += " -u nobody" // it refuses to run as root
	}
	return command
}

// keep runs one node, and starts it again when it was killed. A node that ends by itself before it is
// ready, or because of its configuration, would do so again: that is an error.
func (d *dev) keep(ctx context.Context, n *devNode) error {
	for {
		said, ready, err := d.once(ctx, n)
		if ctx.Err() != nil {
			return nil
		}
		var exit *exec.ExitError
		killed := errors.As(err, &exit) && !exit.Exited()
		failure := fmt.Errorf("node %s does not start: %s: %s", n.name, how(err), said)
		switch {
		case killed: // again
		case exit != nil && exit.ExitCode() == 2:
			return usageError{failure}
		case !ready:
			return failure
		}
		d.screen.say("%s ended (%v); it starts again in %s\n", d.screen.paint(n.name), how(err), d.restartAfter)
		select {
		case <-time.After(d.restartAfter):
		case <-ctx.Done():
			return nil
		}
	}
}

// how says how a process ended.
func how(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// once runs a node until it ends, and asks it to when ctx does. said is what it wrote that is no log,
// which is why it did not start; ready is whether it was.
func (d *dev) once(ctx context.Context, n *devNode) (said string, ready bool, err error) {
	// The kernel ends the node when the thread that started it is gone: then this process was killed.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	log := &follower{node: n.name, screen: d.screen}
	cmd := exec.CommandContext(ctx, d.self, d.arguments(n)...)
	cmd.Stderr = log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = killWithin
	// A Ctrl-C of the terminal goes to the whole group. The nodes are to hear it from us, once.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return "", false, err
	}
	if n.proc.Swap(cmd.Process) != nil {
		d.screen.say("%s starts again, pid %d\n", d.screen.paint(n.name), cmd.Process.Pid)
	}
	err = cmd.Wait()
	log.flush()
	return strings.Join(log.said, "; "), log.ready, err
}
