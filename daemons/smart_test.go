package daemons

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestSmartMemcached(t *testing.T) {
	tool(t, "memcached")
	withAndWithoutLeaf(t, func(t *testing.T, opt options) {
		f := newField(t)
		port := freePort(t)
		command := fmt.Sprintf("memcached -d -l 127.0.0.1 -p %d -P %s", port, f.path("pid"))
		if os.Getuid() == 0 {
			command += " -u root"
		}
		c := f.charge()
		c.Daemons = []Daemon{{Name: "memcached", Command: command, Pidfile: f.path("pid")}}
		g := f.begin(c, opt, testLog(t))
		running := func() (pid int) {
			await(t, "running", long, func() bool {
				var s State
				s, pid = stateOf(g, "memcached")
				return s == Running
			})
			return pid
		}
		first := running()
		if b, _ := readPidfile(f.path("pid")); b != first {
			t.Errorf("running as %d, pidfile says %d", first, b)
		}
		unix.Kill(first, unix.SIGKILL)
		took := await(t, "death noticed", long, func() bool {
			s, pid := stateOf(g, "memcached")
			return s != Running || pid != first
		})
		t.Logf("death of a self-daemonised program noticed after %v", took.Round(time.Millisecond))
		second := running()
		if second == first || len(f.living()) != 1 {
			t.Errorf("pid %d again, %d live; want another, alone", second, len(f.living()))
		}
		if s := g.Status()[0]; s.Restarts != 1 {
			t.Errorf("Status = %+v, want one restart", s)
		}
		g.Stop(0)
		awaitClosed(t, "down", g.Down(), long)
		if n := len(f.living()); n != 0 {
			t.Errorf("%d live", n)
		}
	})
}

// background is a command that puts a program into the background and writes a pidfile.
func (f *field) background(program string) string {
	return fmt.Sprintf("setsid sh -c 'echo $$ > %s; %s' >/dev/null 2>&1 &", f.path("pid"), program)
}

func TestStalePidfile(t *testing.T) {
	withAndWithoutLeaf(t, func(t *testing.T, opt options) {
		f := newField(t)
		stranger := exec.Command("sleep", "1000")
		if err := stranger.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { stranger.Process.Kill(); stranger.Wait() })
		who, err := look(stranger.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		os.WriteFile(f.path("pid"), fmt.Append(nil, who.pid, "\n"), 0o600)
		c := f.charge()
		// Like many programs, it does not start when its pidfile names a living process.
		c.Daemons = []Daemon{{Name: "smart", Command: "test ! -e " + f.path("pid") + " || exit 1; " + f.background("exec sleep 999"), Pidfile: f.path("pid")}}
		g := f.begin(c, opt, testLog(t))
		await(t, "running", long, func() bool { s, pid := stateOf(g, "smart"); return s == Running && pid != who.pid })
		os.WriteFile(f.path("pid"), fmt.Append(nil, who.pid, "\n"), 0o600) // again, while it runs
		_, pid := stateOf(g, "smart")
		unix.Kill(pid, unix.SIGKILL)
		await(t, "running again", long, func() bool {
			s, now := stateOf(g, "smart")
			return s == Running && now != pid
		})
		if _, now := stateOf(g, "smart"); now == who.pid {
			t.Error("the stranger was adopted")
		}
		os.WriteFile(f.path("pid"), fmt.Append(nil, who.pid, "\n"), 0o600)
		g.Stop(0)
		awaitClosed(t, "down", g.Down(), long)
		if !isAlive(who.pid, who.start) {
			t.Error("the stranger was killed")
		}
		if n := len(f.living()); n != 0 {
			t.Errorf("%d live", n)
		}
	})
}

func TestSmartHandsOver(t *testing.T) {
	t.Parallel()
	f := newField(t)
	c := f.charge()
	// On USR2 it starts a successor, which writes the pidfile, and ends.
	program := f.path("program")
	os.WriteFile(program, []byte("#!/bin/sh\necho $$ > "+f.path("pid")+"\ntrap 'setsid "+program+" & sleep 0.3; exit 0' USR2\nwhile :; do sleep 0.02; done\n"), 0o755)
	c.Daemons = []Daemon{{Name: "smart", Command: "setsid " + program + " >/dev/null 2>&1 &", Pidfile: f.path("pid")}}
	g := f.begin(c, options{}, testLog(t))
	var first int
	await(t, "running", long, func() bool {
		var s State
		s, first = stateOf(g, "smart")
		return s == Running
	})
	unix.Kill(first, unix.SIGUSR2)
	await(t, "the successor adopted", long, func() bool { s, pid := stateOf(g, "smart"); return s == Running && pid != first })
	if s := g.Status()[0]; s.Restarts != 0 || !alivePid(s.PID) {
		t.Errorf("Status = %+v, want the successor alive and no restart", s)
	}
}

func alivePid(pid int) bool {
	p, err := look(pid)
	return err == nil && !p.dead()
}

func TestSmartWithoutPidfile(t *testing.T) {
	t.Parallel()
	f := newField(t)
	c := f.charge()
	c.Daemons = []Daemon{
		{Name: "silent", Command: "(setsid sleep 1000 &)", Pidfile: f.path("none"), Freq: 1},
		{Name: "failing", Command: "exit 4", Pidfile: f.path("none2"), Freq: 1},
	}
	g := f.begin(c, options{}, testLog(t))
	await(t, "both failed", long, func() bool {
		s := g.Status()
		return s[0].LastExit == "no pidfile" && s[1].LastExit == "exit status 4"
	})
	await(t, "started again", long, func() bool {
		if n := f.copies("sleep 1000"); n > 1 {
			t.Fatalf("%d copies", n)
		}
		return g.Status()[0].Restarts >= 1 && f.copies("sleep 1000") == 1
	})
}

// A smart program on its way into the background is stopped all the same.
func TestSmartStoppedWhileStarting(t *testing.T) {
	t.Parallel()
	f := newField(t)
	c := f.charge()
	c.Daemons = []Daemon{{Name: "slow", Command: "(setsid sh -c 'sleep 1000; true' &)", Pidfile: f.path("pid"), Freq: 100}}
	g := f.begin(c, options{}, testLog(t))
	f.awaitRunning("sleep 1000", 2)
	g.Stop(5 * time.Second)
	awaitClosed(t, "down", g.Down(), 3*time.Second) // by TERM, before the grace is over
	if n := len(f.living()); n != 0 {
		t.Errorf("%d live", n)
	}
}

func TestSupervisor(t *testing.T) {
	t.Parallel()
	f := newField(t)
	program := func(n int) string { return fmt.Sprintf("%s exec sleep %d", "true "+f.mark+";", n) }
	s := NewSupervisor([]Daemon{
		{Name: "a", Command: program(1000)},
		{Name: "legion's", Legion: "blue", Command: program(1001)},
		{Name: "b", Command: "trap '' TERM; while :; do sleep 0.05; done", StopGrace: 100 * time.Millisecond},
	}, "n1", 1, f.path("state"), "", testLog(t))
	ctx, cancel := context.WithCancel(t.Context())
	ready := make(chan struct{})
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, func() { close(ready) }) }()
	awaitClosed(t, "ready", ready, long)
	running := func() bool {
		all := s.Status()
		return len(all) == 2 && all[0].State == Running && all[1].State == Running
	}
	await(t, "both running", long, running)
	lost := s.Guardians()[0]
	lost.process.Signal(unix.SIGKILL)
	awaitClosed(t, "down", lost.Down(), long)
	await(t, "both running under another guardian", long, func() bool { return s.Guardians()[0] != lost && running() })
	var pids []int
	for _, st := range s.Status() {
		pids = append(pids, st.PID)
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(long):
		t.Fatal("Run does not return")
	}
	for _, pid := range pids {
		if alivePid(pid) {
			t.Errorf("daemon %d lives", pid)
		}
	}
	if left, err := notes(f.path("state")); err != nil || len(left) != 0 {
		t.Errorf("state files %q, %v", left, err)
	}
}

func TestSupervisorCannotStart(t *testing.T) {
	t.Parallel()
	f := newField(t)
	s := NewSupervisor([]Daemon{{Name: "a", Command: "sleep 1000"}, {Name: "b", Command: " "}}, "n1", 1, f.path("state"), "", testLog(t))
	if err := s.Run(t.Context(), func() { t.Error("ready") }); err == nil {
		t.Error("Run of a daemon that cannot be started: no error")
	}
	if st := s.Status(); len(st) != 1 || st[0].State != Stopped {
		t.Errorf("Status = %+v, want the first one stopped", st)
	}
}
