package daemons

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cohortd/cohort/clock"
)

func TestStopToPlan(t *testing.T) {
	withAndWithoutLeaf(t, func(t *testing.T, opt options) {
		f := newField(t)
		c := f.charge("sleep 1000", "trap '' TERM; while :; do sleep 0.05; done",
			"trap 'echo $COHORT_LEGION:$COHORT_EPOCH:$COHORT_NODE:$COHORT_TOKEN >> "+f.path("stopped")+"; exit' INT; echo up >> "+f.path("up")+"; while :; do sleep 0.05; done")
		c.Timing.Grace = long
		c.Daemons[1].StopGrace = 100 * time.Millisecond
		c.Daemons[2].StopSignal = unix.SIGINT
		c.Legion, c.Epoch = "blue", 7
		c.Env = append(c.Env, "COHORT_TOKEN=secret")
		c.LordHooks = []string{"echo one >> " + f.path("hooks"), "sleep 0.1; echo two >> " + f.path("hooks")}
		c.UnlordHooks = []string{"echo three >> " + f.path("hooks"), "echo four >> " + f.path("hooks")}
		g := f.begin(c, opt, testLog(t))
		await(t, "the last daemon up", long, func() bool { return len(f.lines("up")) == 1 })
		if got := strings.Join(f.lines("hooks"), " "); got != "one two" {
			t.Errorf("before the daemons ran the hooks %q, want one two", got)
		}
		await(t, "all running", long, func() bool {
			for _, s := range g.Status() {
				if s.State != Running || s.PID == 0 {
					return false
				}
			}
			return true
		})
		g.Stop(5 * time.Second)
		g.Abort() // hurries; nothing runs twice
		g.Stop(0)
		awaitClosed(t, "ended", g.Ended(), long)
		awaitClosed(t, "down", g.Down(), long)
		if left := f.living(); len(left) != 0 {
			t.Errorf("%d programs live", len(left))
		}
		if got := strings.Join(f.lines("hooks"), " "); got != "one two three four" {
			t.Errorf("hooks %q, want each once", got)
		}
		if got := strings.Join(f.lines("stopped"), " "); got != "blue:7:n1:" {
			t.Errorf("the daemon with a signal of its own wrote %q, want legion, epoch and node, and no token", got)
		}
		if got := g.Outcome(); got != (Outcome{Undone: true}) {
			t.Errorf("Outcome = %+v", got)
		}
		for _, s := range g.Status() {
			if s.State != Stopped || s.PID != 0 {
				t.Errorf("%s is %v with pid %d", s.Name, s.State, s.PID)
			}
		}
	})
}

// A planned stop may take longer than a lease, as long as the node goes on renewing.
func TestSlowStopKeepsTheLease(t *testing.T) {
	t.Parallel()
	f := newField(t)
	n := f.node(f.slow(), false, 50*time.Millisecond)
	await(t, "up", long, func() bool { return len(f.lines("up")) == 1 })
	n.tell("stop")
	n.await("ended stop")
	n.await("down {HookFailed:false Undone:true}")
	if got := f.lines("clean"); len(got) != 1 {
		t.Errorf("the daemon came to its own end %d times, want once", len(got))
	}
}

// slow is a daemon that needs more than a lease to stop.
func (f *field) slow() Charge {
	c := f.lease(fmt.Sprintf("trap 'sleep 3.5; echo clean >> %s; exit' TERM; echo up >> %s; while :; do sleep 0.05; done", f.path("clean"), f.path("up")))
	c.Timing.StopGrace = long
	c.Daemons[0].StopGrace = long
	return c
}

// The same without renewals is killed before the lease ends.
func TestSlowStopWithoutRenewals(t *testing.T) {
	t.Parallel()
	f := newField(t)
	c := f.slow()
	g := f.begin(c, options{}, testLog(t))
	await(t, "up", long, func() bool { return len(f.lines("up")) == 1 })
	g.Stop(0)
	awaitClosed(t, "down", g.Down(), long)
	if now := (clock.System{}).Now(); now.Longest(c.Since) >= quick.Lease || len(f.lines("clean")) > 0 || len(f.living()) > 0 {
		t.Errorf("down %v after the renewal, %d live", now.Longest(c.Since), len(f.living()))
	}
}

// Who stops the guardian by hand, or systemd with KillMode=control-group, gets an orderly end.
func TestGuardianTerminated(t *testing.T) {
	t.Parallel()
	f := newField(t)
	c := f.charge("sleep 1000")
	c.UnlordHooks = []string{"echo undone >> " + f.path("undone")}
	g := f.begin(c, options{}, testLog(t))
	f.awaitRunning("sleep 1000", 1)
	g.process.Signal(unix.SIGHUP) // means nothing
	g.process.Signal(unix.SIGTERM)
	awaitClosed(t, "down", g.Down(), long)
	if got := g.Outcome(); got != (Outcome{Undone: true}) || g.Reason() != "stop" || len(f.lines("undone")) != 1 {
		t.Errorf("Outcome = %+v, reason %q, undone %d times", got, g.Reason(), len(f.lines("undone")))
	}
}

// What the guardian does to itself must not reach its programs.
func TestProgramsAreAsTheNodeWouldStartThem(t *testing.T) {
	t.Parallel()
	f := newField(t)
	const show = "cat /proc/self/oom_score_adj; nice; ulimit -n; ulimit -c; ulimit -l; grep -E '^(SigIgn|SigBlk|THP_enabled)' /proc/self/status; pwd"
	want, err := exec.Command("sh", "-c", show+"").Output()
	if err != nil {
		t.Fatal(err)
	}
	g := f.begin(f.charge(show+"; sleep 1000", "echo $(ls /proc/self/fd); readlink /proc/self/fd/0; sleep 1000"), options{}, testLog(t))
	await(t, "its descriptors", long, func() bool { return len(g.Lines("d1", 10)) == 2 })
	if got := strings.Join(g.Lines("d1", 10), ", "); got != "0 1 2 3, /dev/null" { // 3 is of ls
		t.Errorf("a daemon has the descriptors %s", got)
	}
	n := strings.Count(string(want), "\n")
	await(t, "all lines", long, func() bool { return len(g.Lines("d0", 100)) == n })
	if got := strings.Join(g.Lines("d0", 100), "\n") + "\n"; got != string(want) {
		t.Errorf("a daemon sees\n%swant\n%s", got, want)
	}
}

func TestGuardianKilled(t *testing.T) {
	withAndWithoutLeaf(t, func(t *testing.T, opt options) {
		f := newField(t)
		c := f.charge("(setsid sleep 1000 &); exec sleep 999", "trap '' TERM; while :; do sleep 0.05; done", "sleep 998; true")
		c.UnlordHooks = []string{"echo undone >> " + f.path("undone")}
		g := f.begin(c, opt, testLog(t))
		f.awaitRunning("sleep 1000", 1)
		f.awaitRunning("sleep 998", 2) // the shell and its child
		before := map[int]bool{}
		for _, p := range f.living() {
			before[p.pid] = true
		}
		g.process.Signal(unix.SIGKILL)
		awaitClosed(t, "ended", g.Ended(), long)
		awaitClosed(t, "down", g.Down(), long)
		if left := f.living(); len(left) != 0 {
			t.Errorf("%d programs live although the guardian is down", len(left))
		}
		if got, undone := g.Outcome(), f.lines("undone"); !got.Undone || len(undone) != 1 {
			t.Errorf("Outcome = %+v, undone %d times; want undone once", got, len(undone))
		}
		if g.Reason() != "guardian lost" || g.Status()[0].State != Failed {
			t.Errorf("reason %q, state %v", g.Reason(), g.Status()[0].State)
		}
		for _, p := range descendants(os.Getpid()) {
			if before[p.pid] {
				t.Errorf("process %d of it is still to be reaped", p.pid)
			}
		}
	})
}

// A guardian that is stopped alone is harmless: the handle kills by itself at the kill time.
func TestGuardianStopped(t *testing.T) {
	withAndWithoutLeaf(t, func(t *testing.T, opt options) {
		f := newField(t)
		p := newPulse(t)
		c := f.lease(p.command(), "(setsid sleep 1000 &); exec sleep 999")
		c.UnlordHooks = []string{"echo undone >> " + f.path("undone")}
		g := f.begin(c, opt, testLog(t))
		f.awaitRunning("sleep 1000", 1)
		await(t, "beats", long, func() bool { return p.last(t) > 0 })
		g.Extend(clock.System{}.Now())
		g.process.Signal(unix.SIGSTOP)
		last := clock.System{}.Now()
		awaitClosed(t, "down", g.Down(), long)
		if now := (clock.System{}).Now(); now.Boot-last.Boot >= quick.Lease {
			t.Errorf("down %v after the last renewal, lease is %v", now.Boot-last.Boot, quick.Lease)
		}
		if left := f.living(); len(left) != 0 || p.last(t) >= last.Boot+quick.Lease {
			t.Errorf("%d programs live, last beat %v before the end of the lease", len(left), last.Boot+quick.Lease-p.last(t))
		}
		// When the kernel's timer was first there is time left for the undo.
		if undone := len(f.lines("undone")); undone > 1 || g.Outcome().Undone != (undone == 1) {
			t.Errorf("Outcome = %+v, undone %d times", g.Outcome(), undone)
		}
	})
}

func TestKillNow(t *testing.T) {
	withAndWithoutLeaf(t, func(t *testing.T, opt options) {
		f := newField(t)
		g := f.begin(f.charge("i=0; while [ $i -lt 200 ]; do sleep 1000 & i=$((i+1)); done; (setsid sleep 999 &); wait"), opt, testLog(t))
		await(t, "200 children", long, func() bool { return f.count("sleep 1000") >= 200 && f.count("sleep 999") >= 1 })
		g.Kill()
		awaitClosed(t, "down", g.Down(), long)
		if left := f.living(); len(left) != 0 {
			t.Errorf("%d programs live", len(left))
		}
	})
}

func TestForkBomb(t *testing.T) {
	withAndWithoutLeaf(t, func(t *testing.T, opt options) {
		f := newField(t)
		g := f.begin(f.charge("trap '' TERM; i=0; while [ $i -lt 200 ]; do (trap '' TERM; setsid sleep 1000) & i=$((i+1)); done; wait"), opt, testLog(t))
		await(t, "some children", long, func() bool { return f.count("sleep 1000") >= 20 })
		g.Stop(10 * time.Millisecond) // while it forks
		awaitClosed(t, "down", g.Down(), long)
		if left := f.living(); len(left) != 0 {
			t.Errorf("%d programs live", len(left))
		}
	})
}

func TestLordHookFails(t *testing.T) {
	for name, hook := range map[string]string{
		"exit code": "exit 3",
		"no such":   "/no/such/hook",
		"too long":  "trap '' TERM; while :; do sleep 0.05; done",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newField(t)
			c := f.charge("sleep 1000")
			c.LordHooks = []string{"true", hook, "echo third >> " + f.path("hooks")}
			c.UnlordHooks = []string{"echo undone >> " + f.path("hooks")}
			c.HookTimeout = 3 * time.Second
			g := f.begin(c, options{}, testLog(t))
			awaitClosed(t, "ended", g.Ended(), long)
			awaitClosed(t, "down", g.Down(), long)
			if got := g.Outcome(); got != (Outcome{HookFailed: true, Undone: true}) {
				t.Errorf("Outcome = %+v, want a failed hook, undone", got)
			}
			if got := strings.Join(f.lines("hooks"), " "); got != "undone" {
				t.Errorf("hooks ran: %q, want only the undo", got)
			}
			if s := g.Status()[0]; s.PID != 0 || s.Restarts != 0 || s.State != Stopped {
				t.Errorf("the daemon is %+v, want never started", s)
			}
		})
	}
}

func TestUnlordHookFails(t *testing.T) {
	t.Parallel()
	f := newField(t)
	c := f.lease("sleep 1000")
	c.UnlordHooks = []string{"exit 1", "(setsid sleep 1000 &); echo second >> " + f.path("hooks")}
	g := f.begin(c, options{}, testLog(t))
	f.awaitRunning("sleep 1000", 1)
	g.Abort()
	awaitClosed(t, "down", g.Down(), long)
	if g.Outcome().Undone || len(f.lines("hooks")) != 1 {
		t.Errorf("Outcome = %+v, second hook ran %d times; want not undone, once", g.Outcome(), len(f.lines("hooks")))
	}
	if left := f.living(); len(left) != 0 {
		t.Errorf("%d programs of a hook live", len(left))
	}
}

// The soft deadline is final: renewals that come back later do not keep a daemon alive that ignores TERM.
func TestSoftDeadlineIsFinal(t *testing.T) {
	withAndWithoutLeaf(t, func(t *testing.T, opt options) {
		f := newField(t)
		p := newPulse(t)
		c := f.lease("trap '' TERM; while :; do "+p.command()+"; done", "sleep 1000")
		c.UnlordHooks = []string{"echo undone >> " + f.path("undone")}
		g := f.begin(c, opt, testLog(t))
		await(t, "beats", long, func() bool { return p.last(t) > 0 })
		awaitClosed(t, "ended", g.Ended(), long)
		end := c.Since.Boot + quick.Lease
		if now := (clock.System{}).Now(); now.Longest(c.Since) < quick.Lease-quick.Soft {
			t.Errorf("ended %v after the renewal, before the soft deadline", now.Longest(c.Since))
		}
		stop := make(chan struct{})
		renewed := make(chan struct{})
		go func() {
			defer close(renewed)
			for {
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond):
					g.Extend(clock.System{}.Now())
				}
			}
		}()
		awaitClosed(t, "down", g.Down(), long)
		close(stop)
		<-renewed
		if p.last(t) >= end || len(f.living()) > 0 {
			t.Errorf("last beat %v before the end of the lease, %d live", end-p.last(t), len(f.living()))
		}
		if g.Reason() != "deadline" {
			t.Errorf("reason %q", g.Reason())
		}
		if g.Outcome().Undone != (len(f.lines("undone")) == 1) {
			t.Errorf("Outcome = %+v, undone %d times", g.Outcome(), len(f.lines("undone")))
		}
	})
}

// A guardian that did not get to run past its soft deadline reads the renewals that came meanwhile, and goes on.
func TestChannelBeforeClock(t *testing.T) {
	t.Parallel()
	f := newField(t)
	p := newPulse(t)
	n := f.node(f.lease(p.command()), false, 20*time.Millisecond)
	await(t, "beats", long, func() bool { return p.last(t) > 0 })
	n.guardian.signal(unix.SIGSTOP)
	stopped := clock.System{}.Now().Boot
	past := stopped + quick.Lease - quick.Soft + 200*time.Millisecond
	await(t, "soft deadline past", long, func() bool { return clock.System{}.Now().Boot > past })
	n.guardian.signal(unix.SIGCONT)
	await(t, "beats after the old lease", long, func() bool { return p.last(t) > stopped+quick.Lease })
	select {
	case s := <-n.words:
		t.Errorf("node told %q, want the epoch to go on", s)
	default:
	}
}

// A lease that is too short at the start starts nothing, and there is nothing to undo.
func TestTooLateToStart(t *testing.T) {
	t.Parallel()
	f := newField(t)
	c := f.lease("echo ran >> " + f.path("ran"))
	c.LordHooks = []string{"echo hook >> " + f.path("ran")}
	c.UnlordHooks = c.LordHooks
	back := quick.Lease - quick.Soft - startMargin/2
	c.Since = clock.Reading{Boot: c.Since.Boot - back, Mono: c.Since.Mono - back, Raw: c.Since.Raw - back}
	g := f.begin(c, options{}, testLog(t))
	awaitClosed(t, "down", g.Down(), long)
	if got := f.lines("ran"); len(got) != 0 || !g.Outcome().Undone || g.Outcome().HookFailed {
		t.Errorf("ran %q, Outcome %+v; want nothing, and nothing to undo", got, g.Outcome())
	}
}

func TestRestarts(t *testing.T) {
	withAndWithoutLeaf(t, func(t *testing.T, opt options) {
		f := newField(t)
		// Leaves a process behind each time: there must never be two.
		g := f.begin(f.charge("(setsid sleep 1000 &); sleep 0.05; echo run >> "+f.path("runs")+"; exit 5"), opt, testLog(t))
		await(t, "third start", long, func() bool {
			if n := f.copies("sleep 1000"); n > 1 {
				t.Fatalf("%d copies of what is left behind", n)
			}
			return len(f.lines("runs")) >= 3
		})
		await(t, "backoff", long, func() bool {
			s := g.Status()[0]
			return s.State == Backoff && s.Restarts >= 2 && s.LastExit == "exit status 5"
		})
	})
}

func TestNoSuchProgram(t *testing.T) {
	t.Parallel()
	f := newField(t)
	script := f.path("script")
	os.WriteFile(script, []byte("#!/no/such/interpreter\n"), 0o755)
	g := f.begin(f.charge("/no/such/program", script), options{}, testLog(t))
	await(t, "both in backoff", long, func() bool {
		s := g.Status()
		return s[0].LastExit == "exit status 127" && strings.Contains(s[1].LastExit, "no such file")
	})
}

func TestOutput(t *testing.T) {
	t.Parallel()
	f := newField(t)
	g := f.begin(f.charge("echo one; echo two >&2; sleep 1000"), options{}, testLog(t))
	await(t, "both lines", long, func() bool { return len(g.Lines("d0", 10)) == 2 })
	if got := g.Status()[0]; len(got.LastLines) != 2 || got.Name != "d0" {
		t.Errorf("Status = %+v", got)
	}
}

// blockedHandler is a log on a disk that hangs.
type blockedHandler struct {
	slog.Handler
	until chan struct{}
}

func (h blockedHandler) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "daemon output" {
		<-h.until
	}
	return nil
}

func (h blockedHandler) Enabled(context.Context, slog.Level) bool { return true }

func TestFloodWithBlockedLog(t *testing.T) {
	t.Parallel()
	f := newField(t)
	h := blockedHandler{until: make(chan struct{})}
	g := f.begin(f.charge("yes | head -c 10000000; echo done > "+f.path("done")+"; sleep 1000"), options{}, slog.New(h))
	await(t, "10 MB of output", long, func() bool { return len(f.lines("done")) == 1 })
	if g.Dropped() == 0 {
		t.Error("nothing dropped, and nothing could be logged")
	}
	g.Stop(0)
	awaitClosed(t, "ended", g.Ended(), long) // the news is not behind the lines
	close(h.until)
	awaitClosed(t, "down", g.Down(), long)
}

// stageProcess is a program at the barrier.
func stageProcess(t *testing.T, command string) (pid int, barrier int) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	pid, err = syscall.ForkExec("/proc/self/exe", []string{stageName, command}, &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{null.Fd(), null.Fd(), null.Fd(), uintptr(pair[1])},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	unix.Close(pair[1])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(pair[0]) })
	return pid, pair[0]
}

// A guardian that is stopped between its check and the start must start nothing after the deadline: the program itself,
// before it is one, looks at the clock.
func TestStageLooksAtTheClock(t *testing.T) {
	since := clock.System{}.Now()
	for name, tt := range map[string]struct {
		pass *pass
		stop time.Duration // stopped that long before it may look
		want int
	}{
		"in time":       {&pass{since: since, limit: time.Hour, keepOOM: true}, 0, 42},
		"no limit":      {&pass{since: since, limit: -1, keepOOM: true}, 0, 42},
		"too late":      {&pass{since: since, limit: 0, keepOOM: true}, 0, exitLate},
		"guardian died": {nil, 0, exitLate},
		"stopped past":  {&pass{since: since, limit: -2, keepOOM: true}, 50 * time.Millisecond, exitLate},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pid, barrier := stageProcess(t, "exit 42")
			if tt.stop > 0 {
				unix.Kill(pid, unix.SIGSTOP)
				now := clock.System{}.Now()
				tt.pass.since, tt.pass.limit = now, tt.stop
			}
			if tt.pass != nil {
				unix.Write(barrier, tt.pass.encode())
			} else {
				unix.Shutdown(barrier, unix.SHUT_RDWR)
			}
			if tt.stop > 0 {
				await(t, "limit past", long, func() bool { return clock.System{}.Now().Longest(tt.pass.since) > tt.stop })
				unix.Kill(pid, unix.SIGCONT)
			}
			var ws unix.WaitStatus
			if _, err := unix.Wait4(pid, &ws, 0, nil); err != nil || ws.ExitStatus() != tt.want {
				t.Errorf("ended with %d, %v; want %d", ws.ExitStatus(), err, tt.want)
			}
		})
	}
}

// Daemons that end at once are started all the time, so a stop of the guardian hits the middle of a start. Whatever
// happens, nothing beats after the lease.
func TestStartRacesWithDeadline(t *testing.T) {
	t.Parallel()
	f := newField(t)
	p := newPulse(t)
	var commands []string
	for range 8 {
		commands = append(commands, "timeout 0.05 "+p.command())
	}
	tool(t, "timeout")
	n := f.node(f.lease(commands...), true, 50*time.Millisecond)
	await(t, "beats", long, func() bool { return p.last(t) > 0 })
	n.signal(unix.SIGSTOP)
	stopped := clock.System{}.Now().Boot
	for alive := true; alive; {
		n.guardian.signal(unix.SIGSTOP)
		n.guardian.signal(unix.SIGCONT)
		alive = isAlive(n.guardian.pid, n.guardian.start)
		if now := (clock.System{}).Now(); now.Boot-stopped > quick.Lease {
			break
		}
	}
	n.guardian.signal(unix.SIGCONT)
	f.awaitNone(long)
	if end := stopped + quick.Lease; p.last(t) >= end {
		t.Errorf("last beat %v after the end of the lease", p.last(t)-end)
	}
}

func TestStartRefuses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(c *Charge){
		"empty command":    func(c *Charge) { c.Daemons[0].Command = " " },
		"NUL in a hook":    func(c *Charge) { c.LordHooks = []string{"a\x00b"} },
		"numbers":          func(c *Charge) { c.Timing.Soft = c.Timing.Lease },
		"long ticket":      func(c *Charge) { c.Ticket = make([]byte, 1<<16) },
		"too many daemons": func(c *Charge) { c.Daemons = make([]Daemon, maxDaemons+1) },
		"state directory":  func(c *Charge) { c.StateDir = "/dev/null/x" },
		"environment":      func(c *Charge) { c.Env = []string{strings.Repeat("x", maxFrame)} },
	} {
		t.Run(name, func(t *testing.T) {
			f := newField(t)
			c := f.lease("sleep 1000")
			change(&c)
			if g, err := Start(c, "", testLog(t)); err == nil {
				g.Kill()
				t.Error("Start took it")
			}
		})
	}
	f := newField(t)
	if _, err := Start(f.charge("true"), "/no/such/binary", testLog(t)); err == nil {
		t.Error("Start with a binary that is not there")
	}
}

func TestGuardianByHand(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{guardianName}
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "started by a node") {
		t.Errorf("a guardian started by hand: %v, %q", err, out)
	}
}

func TestMemory(t *testing.T) {
	tool(t, "go")
	bin := t.TempDir() + "/tiny"
	if out, err := exec.Command("go", "build", "-o", bin, "./testdata/tiny").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.Command(bin, "sleep 1000", "sleep 1001", "yes")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatal(err)
	}
	cpu := func() int { // ticks
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		words := strings.Fields(string(b))
		if len(words) < 15 {
			return 0
		}
		user, _ := strconv.Atoi(words[13])
		return user
	}
	await(t, "a good deal of output", long, func() bool { return len(childrenOf(pid)) == 3 && cpu() > 20 })
	kb := rssAnon(t, pid)
	t.Logf("RssAnon of a guardian with three daemons, one of them a flood: %d kB", kb)
	if kb == 0 || kb > 4096 {
		t.Errorf("RssAnon %d kB, want at most 4096", kb)
	}
}

func rssAnon(t *testing.T, pid int) (kb int) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		fmt.Sscanf(line, "RssAnon: %d kB", &kb)
	}
	return kb
}
