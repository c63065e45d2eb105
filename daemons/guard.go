package daemons

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/cohortd/cohort/clock"
)

// IsGuardian says whether this process was started to be a guardian, or to become a program under one.
func IsGuardian(args []string) bool {
	return len(args) > 0 && (args[0] == guardianName || args[0] == stageName)
}

// GuardianMain is all that a guardian does. Its result is the exit code.
func GuardianMain() int {
	runtime.LockOSThread()
	if os.Args[0] == stageName {
		return stage(os.Args)
	}
	syscall.CloseOnExec(controlFD)
	if domain, err := unix.GetsockoptInt(controlFD, unix.SOL_SOCKET, unix.SO_DOMAIN); err != nil || domain != unix.AF_UNIX {
		fmt.Fprintln(os.Stderr, guardianName+" is started by a node and by nobody else")
		return 2
	}
	closeInherited()
	g, err := newGuard(controlFD)
	if err != nil {
		fmt.Fprintln(os.Stderr, guardianName+":", err)
		return 1
	}
	g.armour()
	for g.phase != phaseGone {
		g.turn()
	}
	return 0
}

// closeInherited closes what the node has got from whoever started it: it would be open until the last daemon is gone.
// Everything that Go itself opens is closed on exec.
func closeInherited() {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= controlFD {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.Close(fd)
		}
	}
}

// phase is how far a guardian has come. It only ever goes forward.
type phase uint8

const (
	phaseNew    phase = iota // not told yet what to run
	phaseHooks               // lord hooks, one after the other
	phaseServe               // daemons
	phaseEnding              // for good: signals sent, waiting for the last child
	phaseUndo                // unlord hooks
	phaseClear               // ends what those left behind
	phaseDown                // nothing is left; telling so
	phaseGone
)

// guard is the guardian. One goroutine on one thread does everything, so nothing here needs a lock and the order of things
// on waking is the order of lines in turn.
type guard struct {
	clock    clock.Clock
	self     int
	control  int // the channel to the node
	timer    int // a timerfd on CLOCK_BOOTTIME
	wake     int // an eventfd, written when a signal came
	null     int
	ending   atomic.Bool // SIGTERM came
	in       frames
	out      outbox
	eof      bool // the node is dead
	order    order
	env      []string
	leaf     leaf
	deadline deadline
	fuse     fuse

	phase     phase
	reason    reason
	begun     bool // something may have been started, so there is something to undo
	noTicket  bool // the deadline passed while the node was there, and may have a newer one
	killAt    time.Duration
	strays    bool // what daemons left behind has got its TERM
	childless bool
	outcome   Outcome

	keepers  []*keeper
	hooks    hookRun
	launches []*launch
	taps     []*tap
	fds      []unix.PollFd
	buf      [16 << 10]byte // of whatever is being read

	oom        int64
	oomChanged bool
	nice       int
}

func newGuard(control int) (*guard, error) {
	g := &guard{clock: clock.System{}, self: os.Getpid(), control: control, childless: true}
	var err error
	if g.timer, err = unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		return nil, os.NewSyscallError("timerfd", err)
	}
	if g.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	if g.null, err = unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
		return nil, os.NewSyscallError("open "+os.DevNull, err)
	}
	if err := unix.SetNonblock(control, true); err != nil {
		return nil, os.NewSyscallError("set nonblocking", err)
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, os.NewSyscallError("become subreaper", err)
	}
	signals := make(chan os.Signal, 16)
	// Handlers, not SIG_IGN: programs would inherit the latter.
	signal.Notify(signals, unix.SIGCHLD, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2, unix.SIGQUIT)
	go g.listen(signals) // ends with the process
	return g, nil
}

// listen turns signals into something that poll waits for.
func (g *guard) listen(signals <-chan os.Signal) {
	one := []byte{1, 0, 0, 0, 0, 0, 0, 0}
	for s := range signals {
		if s == unix.SIGTERM || s == unix.SIGINT {
			g.ending.Store(true)
		}
		unix.Write(g.wake, one) //nolint:errcheck // full means that it will wake anyway
	}
}

// armour makes the guardian hard to stop, as far as it is allowed to. None of it is needed for the promise.
func (g *guard) armour() {
	name := [16]byte{}
	copy(name[:15], guardianName)
	unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&name)), 0, 0, 0) //nolint:errcheck // cosmetic
	if b, err := os.ReadFile("/proc/self/oom_score_adj"); err == nil {
		g.oom, _ = strconv.ParseInt(strings.TrimSpace(string(b)), 10, 32)
		g.oomChanged = g.oom > -900 && os.WriteFile("/proc/self/oom_score_adj", []byte("-900"), 0) == nil
	}
	if raw, err := unix.Getpriority(unix.PRIO_PROCESS, 0); err == nil {
		g.nice = 20 - raw // the system call answers 1 to 40
	}
	if tasks, err := os.ReadDir("/proc/self/task"); err == nil && g.nice > -10 {
		for _, task := range tasks {
			if tid, err := strconv.Atoi(task.Name()); err == nil {
				unix.Setpriority(unix.PRIO_PROCESS, tid, -10) //nolint:errcheck // only when allowed
			}
		}
	}
	// ONFAULT locks what is in use; without it the whole reserved heap would be filled.
	unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT) //nolint:errcheck // only when allowed
	unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)                         //nolint:errcheck // last: /proc/self is root's from here on
}

// turn waits for something to happen and deals with it. The channel is drained before the clock is asked: a renewal that
// came while we slept counts.
func (g *guard) turn() {
	g.sleep()
	g.drain()
	g.reap()
	g.watchBarriers()
	g.step(g.clock.Now())
	g.readTaps()
	g.flush()
}

// sleep waits for the channel, a signal, output, or the timer.
func (g *guard) sleep() {
	g.arm(g.clock.Now())
	fds := append(g.fds[:0], unix.PollFd{Fd: int32(g.timer), Events: unix.POLLIN}, unix.PollFd{Fd: int32(g.wake), Events: unix.POLLIN})
	if !g.eof {
		p := unix.PollFd{Fd: int32(g.control), Events: unix.POLLIN}
		if g.out.pending() {
			p.Events |= unix.POLLOUT
		}
		fds = append(fds, p)
	}
	for _, l := range g.launches {
		fds = append(fds, unix.PollFd{Fd: int32(l.barrier), Events: unix.POLLIN})
	}
	for _, k := range g.keepers {
		if k.pidfd >= 0 {
			fds = append(fds, unix.PollFd{Fd: int32(k.pidfd), Events: unix.POLLIN})
		}
	}
	for _, t := range g.taps {
		fds = append(fds, unix.PollFd{Fd: int32(t.fd), Events: unix.POLLIN})
	}
	g.fds = fds
	unix.Poll(fds, -1) //nolint:errcheck // EINTR: something happened
	var b [8]byte
	unix.Read(g.wake, b[:])  //nolint:errcheck // empties it
	unix.Read(g.timer, b[:]) //nolint:errcheck // empties it
}

// arm sets the timer to the next thing that is due.
func (g *guard) arm(now clock.Reading) {
	next := g.due(now)
	if g.phase > phaseNew && g.phase < phaseDown && !g.deadline.forever {
		last := g.deadline.over(now) || g.phase >= phaseEnding
		left := g.deadline.toKill(now)
		if g.phase < phaseEnding {
			left = g.deadline.left(now) - g.deadline.timing.Soft
		}
		if left <= 0 {
			left = killRound
		}
		next = min(next, nap(left, last))
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(max(next, time.Millisecond)))}
	unix.TimerfdSettime(g.timer, 0, &spec, nil) //nolint:errcheck // cannot fail with these values
}

// reap takes in all that has ended. There is one place that waits, so nobody takes another's child away.
func (g *guard) reap() {
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		g.childless = err == unix.ECHILD
		if err != nil || pid == 0 {
			return
		}
		g.hooks.exited(pid, ws)
		for _, k := range g.keepers {
			k.exited(g, pid, ws)
		}
	}
}
