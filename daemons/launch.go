package daemons

import (
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// launch is a program on its way: forked, and perhaps not yet executed.
type launch struct {
	pid     int
	barrier int    // the guardian's end; -1 once the program runs or never will
	failed  string // what the stage told instead of becoming the program
}

// over is true once the stage is a program or has given up.
func (l *launch) over() bool { return l.barrier < 0 }

// launch starts a command behind the barrier; see the stage for the order of things. An unlord hook may be started while
// the guardian is ending, until the kill time.
func (g *guard) launch(command, mark, tag string, undo bool) (*launch, error) {
	out, err := g.tap(tag, "stdout")
	if err != nil {
		return nil, err
	}
	defer unix.Close(out)
	errs, err := g.tap(tag, "stderr")
	if err != nil {
		return nil, err
	}
	defer unix.Close(errs)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	env := append(append([]string(nil), g.env...), envMark+"="+g.order.token+mark)
	// PDEATHSIG: the kernel takes direct children along with a guardian that is killed. It belongs to the thread that
	// forks, and this one ends with the process only. Programs that fork or change credentials lose it.
	pid, err := syscall.ForkExec("/proc/self/exe", []string{stageName, command}, &syscall.ProcAttr{
		Env:   env,
		Files: []uintptr{uintptr(g.null), uintptr(out), uintptr(errs), uintptr(pair[1])},
		Sys:   &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
	})
	unix.Close(pair[1])
	if err != nil {
		unix.Close(pair[0])
		return nil, os.NewSyscallError("fork", err)
	}
	g.childless = false
	l := &launch{pid: pid, barrier: pair[0]}
	unix.SetNonblock(l.barrier, true) //nolint:errcheck // cannot fail on a socket
	if err := g.leaf.add(pid); err != nil {
		g.note(tag, "cgroup cannot be used, killing by tree: "+err.Error(), true)
		g.leaf = ""
	}
	g.drain() // a stop or an end of the channel that came meanwhile counts
	now := g.clock.Now()
	p := pass{since: g.deadline.since, limit: -1, oom: g.oom, nice: int64(g.nice), keepOOM: !g.oomChanged}
	switch t := g.deadline.timing; {
	case g.deadline.forever:
	case undo:
		p.limit = t.Lease - t.Kill
	default:
		p.limit = t.Lease - t.Soft - startMargin
	}
	if !undo && (g.eof || g.phase >= phaseEnding) || p.over(now) {
		g.drop(l) // the stage sees the end of the file and goes away
		l.failed = late
		return l, nil
	}
	unix.Write(l.barrier, p.encode()) //nolint:errcheck // a dead stage is noticed when it is reaped
	g.launches = append(g.launches, l)
	return l, nil
}

// drop closes the barrier: a stage that still waits there gives up.
func (g *guard) drop(l *launch) {
	if l != nil && l.barrier >= 0 {
		unix.Close(l.barrier)
		l.barrier = -1
	}
}

// watchBarriers reads what stages tell: nothing and the end when they have become their program.
func (g *guard) watchBarriers() {
	kept := g.launches[:0]
	for _, l := range g.launches {
		if l.barrier < 0 {
			continue
		}
		var b [256]byte
		n, err := unix.Read(l.barrier, b[:])
		switch {
		case err == unix.EAGAIN || err == unix.EINTR:
			kept = append(kept, l)
			continue
		case n > 0:
			l.failed += string(b[:n])
			kept = append(kept, l) // the end comes next
			continue
		}
		g.drop(l)
	}
	clear(g.launches[len(kept):])
	g.launches = kept
}

// signalGroup signals the process group that a child of ours leads. The child is not reaped yet, so the number is its own.
func signalGroup(pid int, sig unix.Signal) {
	unix.Kill(-pid, sig) //nolint:errcheck // gone already
}

// exitText says how a process ended, in the words of os.ProcessState.
func exitText(ws unix.WaitStatus) string {
	if ws.Signaled() {
		return "signal: " + ws.Signal().String()
	}
	return "exit status " + strconv.Itoa(ws.ExitStatus())
}
