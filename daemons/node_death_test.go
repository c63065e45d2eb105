package daemons

import (
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cohortd/cohort/clock"
)

// freePort is a port that was free a moment ago.
func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// The four forms of a command of which uWSGI leaves three behind when its master is killed: core/daemons.c sets
// PDEATHSIG on the shell only, and changed credentials clear it.
func TestNodeKilled(t *testing.T) {
	for name, command := range map[string]func(t *testing.T) (command, shows string){
		"exec in a shell": func(*testing.T) (string, string) { return "exec sleep 1000", "sleep 1000" },
		"one program":     func(*testing.T) (string, string) { return "sleep 1000", "sleep 1000" },
		"child of a shell": func(*testing.T) (string, string) {
			return "sleep 1000; true", "sleep 1000"
		},
		"other credentials": func(t *testing.T) (string, string) {
			tool(t, "memcached")
			if os.Getuid() != 0 {
				if os.Getenv("CI") != "" {
					t.Fatal("CI must run as root: only root can become somebody else")
				}
				t.Skip("only root can become somebody else")
			}
			port := fmt.Sprintf("-p %d", freePort(t))
			return "exec memcached -u nobody -l 127.0.0.1 " + port, port
		},
		"double fork, own session, pipe held": func(*testing.T) (string, string) {
			return "(setsid sh -c 'sleep 1000; true' &); exec sleep 999", "sleep 999"
		},
	} {
		t.Run(name, func(t *testing.T) {
			withAndWithoutLeaf(t, func(t *testing.T, opt options) {
				f := newField(t)
				line, shows := command(t)
				n := f.node(f.charge(line), opt.noLeaf, 0)
				await(t, "program runs", long, func() bool { return f.count(shows) >= 1 })
				n.signal(unix.SIGKILL)
				took := f.awaitNone(long)
				await(t, "guardian gone", long, func() bool { return !isAlive(n.guardian.pid, n.guardian.start) })
				t.Logf("all gone %v after SIGKILL of the node", took.Round(time.Millisecond))
				if left, _ := notes(f.charge().StateDir); len(left) != 0 {
					t.Errorf("state files %q stay although nothing is left", left)
				}
			})
		})
	}
}

// A frozen node renews no more. The guardian ends everything before the lease does, and the node hears of it when it
// thaws; lease, not node, decides.
func TestNodeStopped(t *testing.T) {
	withAndWithoutLeaf(t, func(t *testing.T, opt options) {
		f := newField(t)
		p := newPulse(t)
		n := f.node(f.lease(p.command(), "trap '' TERM; while :; do sleep 0.05; done"), opt.noLeaf, 50*time.Millisecond)
		f.awaitRunning("trap", 1)
		await(t, "beats", long, func() bool { return p.last(t) > 0 })
		// Longer than a lease: it is renewed.
		renewed := p.last(t) + quick.Lease
		await(t, "beats after a lease's time", long, func() bool { return p.last(t) > renewed })
		n.signal(unix.SIGSTOP)
		stopped := clock.System{}.Now().Boot
		f.awaitNone(long)
		if end := stopped + quick.Lease; p.last(t) >= end {
			t.Errorf("last beat %v after the end of the lease", p.last(t)-end)
		}
		if gone := (clock.System{}).Now().Boot - stopped; gone >= quick.Lease {
			t.Errorf("all gone only %v after the last renewal, lease is %v", gone, quick.Lease)
		}
		n.signal(unix.SIGCONT)
		n.await("ended deadline")
		n.await("down {HookFailed:false Undone:true}")
	})
}

// Node and guardian both stopped: the kernel's timer kills the guardian, and with it the programs that it forked.
func TestBothStopped(t *testing.T) {
	t.Parallel()
	f := newField(t)
	p := newPulse(t)
	n := f.node(f.lease(p.command(), "trap '' TERM; exec sleep 1000"), false, 50*time.Millisecond)
	f.awaitRunning("sleep 1000", 1)
	await(t, "beats", long, func() bool { return p.last(t) > 0 })
	n.signal(unix.SIGSTOP)
	n.guardian.signal(unix.SIGSTOP)
	stopped := clock.System{}.Now().Boot
	f.awaitNone(long)
	if end := stopped + quick.Lease; p.last(t) >= end {
		t.Errorf("last beat %v after the end of the lease", p.last(t)-end)
	}
	n.signal(unix.SIGCONT)
	n.await("ended guardian lost")
	n.await("down")
}

// kill -9 of the node while a lord hook runs: the hook ends, what it did is undone once, and only then the ticket goes out.
func TestNodeKilledInHook(t *testing.T) {
	withAndWithoutLeaf(t, func(t *testing.T, opt options) {
		f := newField(t)
		var early atomic.Value
		v := newVoter(t, func(n int64) string {
			if left := f.living(); len(left) > 0 {
				early.Store(fmt.Sprintf("%d programs live", len(left)))
			}
			if undone := f.lines("undone"); len(undone) != 1 {
				early.Store(fmt.Sprintf("undone %d times", len(undone)))
			}
			return []string{"", "later", "applied"}[min(n, 3)-1]
		})
		c := f.lease("sleep 1000")
		c.Timing.Lease, c.Timing.Wait = 10*time.Second, 10*time.Second
		c.LordHooks = []string{"trap '' TERM; echo begun >> " + f.path("begun") + "; (setsid sleep 998 &); while :; do sleep 0.05; done"}
		c.UnlordHooks = []string{"echo undone >> " + f.path("undone")}
		c.Ticket, c.Voters = []byte("sealed"), []string{v.addr, "127.0.0.1:1"}
		n := f.node(c, opt.noLeaf, 50*time.Millisecond)
		await(t, "hook runs", long, func() bool { return len(f.lines("begun")) == 1 && f.count("sleep 998") >= 2 })
		n.signal(unix.SIGKILL)
		for range 3 {
			select {
			case got := <-v.came:
				if string(got) != "sealed" {
					t.Errorf("ticket %q, want the one that was handed over", got)
				}
			case <-time.After(long):
				t.Fatal("no ticket")
			}
		}
		await(t, "guardian gone", long, func() bool { return !isAlive(n.guardian.pid, n.guardian.start) })
		if what := early.Load(); what != nil {
			t.Errorf("a ticket came when %v", what)
		}
		if n := v.asked.Load(); n != 3 {
			t.Errorf("%d tickets, want none after the one that was applied", n)
		}
		if f.count("sleep 1000") > 0 || len(f.lines("undone")) != 1 {
			t.Errorf("daemon started, or undone %d times", len(f.lines("undone")))
		}
	})
}

// Two daemons, one of which ignores SIGTERM: one ticket, after the death of the second.
func TestTicketAfterTheLastDaemon(t *testing.T) {
	withAndWithoutLeaf(t, func(t *testing.T, opt options) {
		f := newField(t)
		var early atomic.Bool
		v := newVoter(t, func(int64) string {
			early.Store(early.Load() || len(f.living()) > 0)
			return "applied"
		})
		c := f.lease("sleep 1000", "trap '' TERM; while :; do sleep 0.05; done")
		c.Timing.Lease = 10 * time.Second
		c.Ticket, c.Voters = []byte("sealed"), []string{v.addr}
		n := f.node(c, opt.noLeaf, 50*time.Millisecond)
		f.awaitRunning("trap", 1)
		f.awaitRunning("sleep 1000", 1)
		n.signal(unix.SIGKILL)
		select {
		case <-v.came:
		case <-time.After(long):
			t.Fatal("no ticket")
		}
		await(t, "guardian gone", long, func() bool { return !isAlive(n.guardian.pid, n.guardian.start) })
		if early.Load() || v.asked.Load() != 1 {
			t.Errorf("%d tickets, while a daemon lived: %v; want 1 and none", v.asked.Load(), early.Load())
		}
	})
}

// No ticket may go out while the node may be alive with a newer renewal, and none when the undo failed.
func TestNoTicket(t *testing.T) {
	for name, tt := range map[string]struct {
		unlord string
		end    func(n *node)
	}{
		"deadline": {"true", func(n *node) {
			n.signal(unix.SIGSTOP) // and dies only when the guardian has ended the epoch
			await(n.t, "programs gone", long, func() bool { return len(childrenOf(n.guardian.pid)) == 0 })
			n.signal(unix.SIGKILL)
		}},
		"undo failed":  {"exit 1", func(n *node) { n.signal(unix.SIGKILL) }},
		"stop to plan": {"true", func(n *node) { n.tell("stop"); n.await("ended stop"); n.await("down") }},
		"abort":        {"true", func(n *node) { n.tell("abort"); n.await("ended abort"); n.await("down") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newField(t)
			v := newVoter(t, func(int64) string { return "applied" })
			c := f.lease("sleep 1000")
			c.UnlordHooks = []string{tt.unlord}
			c.Ticket, c.Voters = []byte("sealed"), []string{v.addr}
			n := f.node(c, false, 50*time.Millisecond)
			f.awaitRunning("sleep 1000", 1)
			tt.end(n)
			await(t, "guardian gone", long, func() bool { return !isAlive(n.guardian.pid, n.guardian.start) })
			if v.asked.Load() > 0 {
				t.Error("a ticket was sent")
			}
			left, err := notes(c.StateDir)
			if want := name == "undo failed"; err != nil || (len(left) > 0) != want {
				t.Errorf("state files %q, %v; one stays exactly when there is something left to undo", left, err)
			}
		})
	}
}

// Output must never make a program wait, whoever does not read it.
func TestFloodWithStoppedNode(t *testing.T) {
	t.Parallel()
	f := newField(t)
	n := f.node(f.charge("echo begun > "+f.path("begun")+"; sleep 0.2; head -c 10000000 /dev/zero | tr '\\0' '\\n'; echo done > "+f.path("done")+"; sleep 1000"), false, 0)
	await(t, "begun", long, func() bool { return len(f.lines("begun")) == 1 })
	n.signal(unix.SIGSTOP)
	await(t, "10 MB of output", long, func() bool { return len(f.lines("done")) == 1 })
	n.signal(unix.SIGCONT)
	n.tell("stop")
	n.await("ended stop")
	n.await("down")
}

// Guardian stopped, node killed, guardian killed: only the next start of the node can end what is left.
func TestSweepAfterBothKilled(t *testing.T) {
	withAndWithoutLeaf(t, func(t *testing.T, opt options) {
		f := newField(t)
		c := f.lease("(setsid sleep 1000 &); exec sleep 999", "trap '' TERM; while :; do sleep 0.05; done")
		c.UnlordHooks = []string{"echo undone:$COHORT_LEGION:$COHORT_EPOCH >> " + f.path("undone")}
		n := f.node(c, opt.noLeaf, 50*time.Millisecond)
		f.awaitRunning("sleep 1000", 1)
		n.guardian.signal(unix.SIGSTOP)
		n.signal(unix.SIGKILL)
		n.guardian.signal(unix.SIGKILL)
		await(t, "guardian gone", long, func() bool { return !isAlive(n.guardian.pid, n.guardian.start) })
		got, err := sweep(t.Context(), c.StateDir, opt, testLog(t))
		if left := f.living(); len(left) != 0 {
			t.Errorf("%d programs live after the sweep", len(left))
		}
		want := Swept{Legion: "blue", Epoch: 7, Boot: 42, Undone: true}
		if err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("Sweep = %+v, %v; want %+v", got, err, want)
		}
		if undone := f.lines("undone"); len(undone) != 1 || !strings.Contains(undone[0], "blue:7") {
			t.Errorf("undone %q, want it once, with legion and epoch", undone)
		}
		if got, err := sweep(t.Context(), c.StateDir, opt, testLog(t)); err != nil || len(got) != 0 {
			t.Errorf("second Sweep = %+v, %v; want nothing", got, err)
		}
	})
}

// A restart right after kill -9: the guardian is still at it, and is left to finish.
func TestSweepLetsGuardianFinish(t *testing.T) {
	t.Parallel()
	f := newField(t)
	c := f.lease("trap '' TERM; while :; do sleep 0.05; done")
	c.UnlordHooks = []string{"echo undone >> " + f.path("undone")}
	n := f.node(c, false, 50*time.Millisecond)
	f.awaitRunning("trap", 1)
	n.signal(unix.SIGKILL)
	got, err := Sweep(t.Context(), c.StateDir, "", testLog(t))
	if err != nil || len(got) != 1 || !got[0].Undone {
		t.Errorf("Sweep = %+v, %v", got, err)
	}
	if left, undone := f.living(), f.lines("undone"); len(left) != 0 || len(undone) != 1 {
		t.Errorf("%d programs live, undone %d times; want none, once", len(left), len(undone))
	}
}

// A stopped guardian of a dead node is killed with all it runs.
func TestSweepKillsStoppedGuardian(t *testing.T) {
	withAndWithoutLeaf(t, func(t *testing.T, opt options) {
		f := newField(t)
		c := f.charge("(setsid sleep 1000 &); exec sleep 999")
		c.UnlordHooks = []string{"exit 1"}
		n := f.node(c, opt.noLeaf, 0)
		f.awaitRunning("sleep 1000", 1)
		n.guardian.signal(unix.SIGSTOP)
		n.signal(unix.SIGKILL)
		await(t, "node gone", long, func() bool { return !alivePid(n.cmd.Process.Pid) })
		for range 2 { // what cannot be undone is tried again each time
			got, err := sweep(t.Context(), c.StateDir, opt, testLog(t))
			if err != nil || len(got) != 1 || got[0].Undone {
				t.Errorf("Sweep = %+v, %v; want one that is not undone", got, err)
			}
		}
		if left := f.living(); len(left) != 0 {
			t.Errorf("%d programs live after the sweep", len(left))
		}
	})
}

func TestSweepOfNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if got, err := Sweep(t.Context(), dir+"/none", "", testLog(t)); err != nil || len(got) != 0 {
		t.Errorf("Sweep of no directory = %+v, %v", got, err)
	}
	os.WriteFile(dir+"/x"+noteSuffix, []byte("{"), 0o600)
	if got, err := Sweep(t.Context(), dir, "", testLog(t)); err != nil || len(got) != 0 {
		t.Errorf("Sweep of a broken file = %+v, %v; want it put aside", got, err)
	}
	if _, err := os.Stat(dir + "/x" + noteSuffix + ".broken"); err != nil {
		t.Error(err)
	}
	// After a reboot the pid is somebody else's: here, ours.
	self, err := look(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	n := note{Token: newToken(), PID: self.pid, Start: self.start, Kernel: "another", Legion: "blue", Epoch: 3}
	if err := n.write(dir + "/x" + noteSuffix); err != nil {
		t.Fatal(err)
	}
	if got, err := Sweep(t.Context(), dir, "", testLog(t)); err != nil || len(got) != 1 || !got[0].Undone {
		t.Errorf("Sweep after a reboot = %+v, %v", got, err)
	}
}
