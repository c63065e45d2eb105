package daemons

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cohortd/cohort/clock"
)

// hookMark marks what hooks start; daemons are marked by their place in the charge.
const hookMark = "/hook"

// lookEvery is how often a pidfile is read while its program is on its way into the background.
const lookEvery = 20 * time.Millisecond

// keeper keeps one daemon running inside the guardian.
type keeper struct {
	index int
	spec  Daemon
	state State

	launch  *launch // the last start, as long as its process lives
	pid     int     // the process that is the daemon; for smart ones the launcher until the pidfile names another
	pidfd   int     // of an adopted process; its end may be somebody else's to reap
	adopted process
	session int // that the last start opened

	began    time.Duration // boot time of the last start
	until    time.Duration // boot time: of the next start, or the end of the wait for a pidfile
	look     time.Duration // boot time of the next look at the pidfile
	killAt   time.Duration // boot time of SIGKILL when stopping
	failures int
	starts   int
	lastExit string
	changed  bool
}

func newKeeper(index int, d Daemon) *keeper {
	d.StopSignal = cmp.Or(d.StopSignal, unix.SIGTERM)
	d.StopGrace = cmp.Or(d.StopGrace, defaultStopGrace)
	d.Freq = cmp.Or(d.Freq, defaultFreq)
	return &keeper{index: index, spec: d, pidfd: -1, changed: true}
}

func (k *keeper) mark() string { return "/" + strconv.Itoa(k.index) }

func (k *keeper) smart() bool { return k.spec.Pidfile != "" }

func (k *keeper) to(s State) {
	k.state, k.changed = s, true
}

func (k *keeper) report() report {
	return report{state: k.state, pid: k.pid, restarts: max(k.starts-1, 0), lastExit: k.lastExit}
}

// step does what is due while the guardian serves.
func (k *keeper) step(g *guard, now clock.Reading) {
	switch k.state {
	case Waiting, Backoff:
		if now.Boot >= k.until && g.deadline.mayStart(now) {
			k.start(g, now)
		}
	case Starting:
		k.stepStarting(g, now)
	case Running:
		if k.pidfd >= 0 && ready(k.pidfd) {
			k.gone(g, now, "")
		}
	}
}

// start starts the program, unless the last one or something of it still lives: that is ended first.
func (k *keeper) start(g *guard, now clock.Reading) {
	if k.starts > 0 && g.killMarked(k.mark()) > 0 {
		k.until = now.Boot + killRound
		return
	}
	if k.smart() && !k.clearPidfile(g) {
		k.fail(g, now, "pidfile cannot be used")
		return
	}
	l, err := g.launch(k.spec.Command, k.mark(), k.spec.Name, false)
	if err != nil {
		k.fail(g, now, err.Error())
		return
	}
	k.starts++
	k.launch, k.pid, k.session = l, l.pid, l.pid
	k.began, k.look = now.Boot, now.Boot+lookEvery
	k.until = now.Boot + time.Duration(k.spec.Freq)*time.Second
	k.to(Starting)
}

// stepStarting waits for the program to be there: executed, and for a smart one named by its pidfile.
func (k *keeper) stepStarting(g *guard, now clock.Reading) {
	switch {
	case !k.smart():
		if k.launch != nil && k.launch.over() && k.launch.failed == "" {
			k.to(Running)
		}
	case now.Boot < k.look:
	case k.adopt(g):
		k.to(Running)
	case now.Boot >= k.until:
		g.note(k.spec.Name, "wrote no pidfile with a pid of its own", true)
		k.fail(g, now, "no pidfile")
	default:
		k.look = now.Boot + lookEvery
	}
}

// adopt takes the process that the pidfile names if it is below this guardian: nobody else's process can be.
func (k *keeper) adopt(g *guard) bool {
	pid, err := readPidfile(k.spec.Pidfile)
	if err != nil || k.launch != nil && k.launch.pid == pid && !k.launch.over() {
		return false
	}
	p, err := look(pid)
	if err != nil || p.dead() || !isDescendant(p, g.self) {
		return false
	}
	fd, err := p.hold()
	if err != nil {
		return false
	}
	k.letGo()
	k.pid, k.pidfd, k.adopted = pid, fd, p
	k.changed = true
	return true
}

// clearPidfile takes a pidfile away that an earlier copy has left. A process that it names and that is not below this
// guardian is a stranger and is never touched.
func (k *keeper) clearPidfile(g *guard) bool {
	pid, err := readPidfile(k.spec.Pidfile)
	if errors.Is(err, os.ErrNotExist) {
		return true
	}
	if err != nil && !errors.Is(err, errNotPidfile) {
		g.note(k.spec.Name, "pidfile: "+err.Error(), true)
		return false
	}
	if p, err := look(pid); pid > 0 && err == nil && !p.dead() {
		if isDescendant(p, g.self) {
			p.signal(unix.SIGKILL) //nolint:errcheck // gone already
			return false           // a copy that nothing marks any more; there must not be two
		}
		g.note(k.spec.Name, "stale pidfile names process "+strconv.Itoa(pid)+", which is not ours and is left alone", true)
	}
	if err := removePidfile(k.spec.Pidfile, pid); err != nil {
		g.note(k.spec.Name, err.Error(), true)
		return false
	}
	return true
}

// exited takes note of a child's end.
func (k *keeper) exited(g *guard, pid int, ws unix.WaitStatus) {
	launched := k.launch != nil && k.launch.pid == pid
	failed := ""
	if launched {
		g.watchBarriers() // what the stage told came before its end
		failed = k.launch.failed
		g.drop(k.launch)
		k.launch = nil
	}
	if pid != k.pid {
		return
	}
	now := g.clock.Now()
	switch {
	case g.phase >= phaseEnding:
		k.gone(g, now, cmp.Or(failed, exitText(ws)))
	case failed == late:
		k.lastExit = ""
		k.starts--
		k.wait(now, 0, Waiting) // the lease was too short; nobody's fault
	case failed != "":
		k.gone(g, now, failed)
	case launched && k.smart() && k.state == Starting && ws.Exited() && ws.ExitStatus() == 0:
		k.pid = 0 // it is in the background, and the pidfile will tell where
		k.look = now.Boot
	default:
		k.gone(g, now, exitText(ws))
	}
}

// gone deals with the end of the process that was the daemon. A smart one may have handed over to another process of its
// own, as programs do that replace their binary.
func (k *keeper) gone(g *guard, now clock.Reading, how string) {
	if k.pidfd >= 0 {
		how = cmp.Or(how, "ended")
	}
	k.letGo()
	k.pid = 0
	switch {
	case g.phase >= phaseEnding:
		k.lastExit = how
		k.to(Stopped)
	case k.smart() && k.state == Running && k.adopt(g):
		g.note(k.spec.Name, "goes on as process "+strconv.Itoa(k.pid), false)
	default:
		k.fail(g, now, how)
	}
}

// fail waits before the next start.
func (k *keeper) fail(g *guard, now clock.Reading, how string) {
	if k.starts > 0 && now.Boot-k.began >= stableAfter {
		k.failures = 0
	}
	g.killMarked(k.mark())
	k.lastExit = how
	k.wait(now, backoff(k.failures, rand.Float64()), Backoff)
	k.failures++
}

func (k *keeper) wait(now clock.Reading, pause time.Duration, s State) {
	k.letGo()
	k.pid = 0
	k.until = now.Boot + pause
	k.to(s)
}

func (k *keeper) letGo() {
	if k.pidfd >= 0 {
		unix.Close(k.pidfd)
		k.pidfd = -1
	}
}

// stop sends the stop signal. It reaches the group that a plain daemon leads, and of a smart one the process it named.
func (k *keeper) stop(g *guard, now clock.Reading) {
	k.killAt = now.Boot + k.spec.StopGrace
	if k.smart() && k.state == Starting {
		k.adopt(g) // the signal is for the program rather than for what launched it
	}
	switch {
	case k.pidfd >= 0:
		unix.PidfdSendSignal(k.pidfd, k.spec.StopSignal, nil, 0) //nolint:errcheck // gone already
		unix.PidfdSendSignal(k.pidfd, unix.SIGCONT, nil, 0)      //nolint:errcheck // gone already
	case k.pid != 0:
		g.drop(k.launch)
		signalGroup(k.pid, k.spec.StopSignal)
		signalGroup(k.pid, unix.SIGCONT)
	default:
		k.to(Stopped)
		return
	}
	k.to(Stopping)
}

// stepStopping kills what did not stop in its own time.
func (k *keeper) stepStopping(g *guard, now clock.Reading) {
	if k.pidfd >= 0 && ready(k.pidfd) {
		k.gone(g, now, "")
	}
	if k.pid == 0 || now.Boot < k.killAt {
		return
	}
	g.killMarked(k.mark())
	k.killAt = now.Boot + killRound
	if k.pidfd >= 0 {
		unix.PidfdSendSignal(k.pidfd, unix.SIGKILL, nil, 0) //nolint:errcheck // gone already
		return
	}
	signalGroup(k.pid, unix.SIGKILL)
}

// due is the time until step has something to do.
func (k *keeper) due(g *guard, now clock.Reading) time.Duration {
	switch k.state {
	case Backoff, Waiting:
		if !g.deadline.mayStart(now) {
			return time.Hour // a renewal wakes us
		}
		return k.until - now.Boot
	case Starting:
		if k.smart() {
			return min(k.look, k.until) - now.Boot
		}
	}
	return time.Hour
}

// killMarked kills what one daemon or hook has started and that still lives, and counts it: by mark, which is inherited,
// by session, and by descent from either.
func (g *guard) killMarked(mark string) int {
	session := -1
	for _, k := range g.keepers {
		if k.mark() == mark {
			session = k.session
		}
	}
	count := 0
	own := map[int]bool{}
	for _, p := range descendants(g.self) { // parents come first
		if !own[p.ppid] && p.session != session && !p.hasMark(g.order.token+mark+"\x00") {
			continue
		}
		own[p.pid] = true
		if !p.dead() {
			count++
			p.signal(unix.SIGKILL) //nolint:errcheck // gone already
		}
	}
	return count
}

// ready says whether a pidfd's process has ended.
func ready(pidfd int) bool {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0
}
