package daemons

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cohortd/cohort/clock"
)

// options are for tests and for Sweep.
type options struct {
	self      string // the binary
	noLeaf    bool   // as on a machine without a writable cgroup v2
	undo      bool   // the unlord hooks only
	stateFile string // instead of one named after the token
}

// Start starts a guardian with its charge. self is the binary to start, empty for this one. Output of the programs goes to
// log, a record a line: message "daemon output" with daemon, stream and line.
func Start(c Charge, self string, log *slog.Logger) (*Guardian, error) {
	return start(c, options{self: self}, log)
}

func start(c Charge, opt options, log *slog.Logger) (*Guardian, error) {
	if err := c.prepare(); err != nil {
		return nil, fmt.Errorf("start guardian: %w", err)
	}
	g := newGuardian(c, opt, log)
	conn, err := g.fork(cmp.Or(opt.self, "/proc/self/exe"))
	if err == nil {
		err = g.noteDown()
	}
	var first []byte
	if err == nil {
		first, err = appendFrame(nil, &message{kind: kindCharge, order: order{
			charge: c, token: g.token, leaf: string(g.leaf), stateFile: g.stateFile, undo: opt.undo,
		}})
	}
	if err != nil {
		if conn != nil {
			conn.Close() // it was not told anything yet and just goes
			g.process.Wait()
		}
		err = errors.Join(err, g.forget())
		return nil, fmt.Errorf("start guardian: %w", err)
	}
	go g.run(conn, first) // closes down when all that it started has ended
	return g, nil
}

// prepare fills in what was left out and checks what the guardian relies on.
func (c *Charge) prepare() error {
	c.Timing.Grace = cmp.Or(c.Timing.Grace, defaultGrace)
	c.Timing.StopGrace = cmp.Or(c.Timing.StopGrace, defaultStopGrace)
	c.HookTimeout = cmp.Or(c.HookTimeout, defaultHookTimeout)
	if c.Env == nil {
		c.Env = os.Environ()
	}
	c.Env = inherit(c.Env)
	c.Daemons = slices.Clone(c.Daemons)
	for i := range c.Daemons {
		d := &c.Daemons[i]
		d.StopGrace = cmp.Or(d.StopGrace, defaultStopGrace)
		d.StopSignal = cmp.Or(d.StopSignal, syscall.SIGTERM)
		d.Name = cmp.Or(d.Name, d.Command)
	}
	t := c.Timing
	switch {
	case len(c.Daemons) > maxDaemons:
		return fmt.Errorf("%d daemons are more than one guardian takes", len(c.Daemons))
	case len(c.Ticket) > 1<<16-1:
		return errors.New("ticket is too long")
	case !c.Forever && (t.Kill <= 0 || t.Soft <= t.Kill || t.Lease <= t.Soft+startMargin):
		return fmt.Errorf("lease %v, soft deadline %v and kill time %v before its end do not fit", t.Lease, t.Soft, t.Kill)
	}
	for _, text := range append(append(slices.Clone(c.LordHooks), c.UnlordHooks...), c.commands()...) {
		if strings.TrimSpace(text) == "" || strings.Contains(text, "\x00") {
			return fmt.Errorf("cannot run the command %q", text)
		}
	}
	return nil
}

func (c *Charge) commands() []string {
	var out []string
	for _, d := range c.Daemons {
		out = append(out, d.Command)
	}
	return out
}

func newGuardian(c Charge, opt options, log *slog.Logger) *Guardian {
	g := &Guardian{
		charge: c, opt: opt, log: log, clock: clock.System{},
		token:    newToken(),
		deadline: deadline{timing: c.Timing, since: c.Since, forever: c.Forever},
		rings:    map[string]*ring{},
		changed:  make(chan struct{}),
		more:     make(chan struct{}, 1),
		rearm:    make(chan struct{}, 1),
		ended:    make(chan struct{}),
		down:     make(chan struct{}),
		lines:    make(chan message, 1024),
	}
	for _, d := range c.Daemons {
		g.status = append(g.status, Status{Name: d.Name, Command: d.Command, Legion: c.Legion, Epoch: c.Epoch, Since: time.Now()})
	}
	if !opt.noLeaf {
		var err error
		if g.leaf, err = newLeaf(g.token[:16]); err != nil {
			log.Debug("no cgroup for daemons, they are found by tree", "err", err)
		}
	}
	g.stateFile = opt.stateFile
	if c.StateDir != "" && g.stateFile == "" {
		g.stateFile = filepath.Join(c.StateDir, g.token[:16]+noteSuffix)
	}
	return g
}

func newToken() string {
	var b [16]byte
	rand.Read(b[:]) //nolint:errcheck // never fails
	return hex.EncodeToString(b[:])
}

// fork starts the process. It is told nothing yet, so it runs nothing.
func (g *Guardian) fork(self string) (*net.UnixConn, error) {
	// Orphans of a guardian that is killed come to us.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, os.NewSyscallError("become subreaper", err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "control"), os.NewFile(uintptr(pair[1]), "control")
	defer ours.Close()
	defer theirs.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, err
	}
	g.process, err = os.StartProcess(self, []string{guardianName, g.charge.Legion, fmt.Sprint(g.charge.Epoch)}, &os.ProcAttr{
		Env:   guardianEnv(os.Environ()),
		Files: []*os.File{null, null, os.Stderr, theirs},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		conn.Close()
		return nil, err
	}
	p, err := look(g.process.Pid) // not waited for yet, so the pid is its own
	g.remains = remains{pid: g.process.Pid, start: p.start, leaf: g.leaf, token: g.token}
	return conn.(*net.UnixConn), err
}

// guardianEnv keeps a guardian small; what its programs get travels with the charge.
func guardianEnv(env []string) []string {
	out := []string{"GOMAXPROCS=2", "GOGC=20"}
	if dir := lookup(env, "GOCOVERDIR"); dir != "" {
		out = append(out, "GOCOVERDIR="+dir)
	}
	return out
}

// noteDown writes the state file.
func (g *Guardian) noteDown() error {
	if g.stateFile == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(g.stateFile), 0o700); err != nil {
		return err
	}
	path, err := filepath.Abs(g.stateFile) // the guardian removes it, whatever becomes of our directory
	if err != nil {
		return err
	}
	g.stateFile = path
	c := &g.charge
	n := note{
		Token: g.token, PID: g.remains.pid, Start: g.remains.start, Kernel: kernelBoot(),
		Legion: c.Legion, Epoch: c.Epoch, Node: c.Node, Boot: c.Boot, Leaf: g.leaf,
		UnlordHooks: c.UnlordHooks, HookTimeout: c.HookTimeout,
		EndsIn: c.Timing.Grace + time.Duration(len(c.UnlordHooks))*c.HookTimeout,
	}
	if !c.Forever {
		n.EndsIn = min(n.EndsIn, c.Timing.Lease)
	}
	return n.write(g.stateFile)
}

// forget removes the leaf and the state file.
func (g *Guardian) forget() error {
	err := g.leaf.remove()
	if g.stateFile != "" {
		if e := os.Remove(g.stateFile); !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}
