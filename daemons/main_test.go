package daemons

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cohortd/cohort/clock"
)

// TestMain makes the test binary a guardian, a daemon that writes beats, or a node that can be killed.
func TestMain(m *testing.M) {
	switch {
	case IsGuardian(os.Args):
		os.Exit(GuardianMain())
	case len(os.Args) == 3 && os.Args[1] == "beat":
		beat(os.Args[2])
	case len(os.Args) == 2 && os.Args[1] == "node":
		nodeMain()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// beat writes CLOCK_BOOTTIME into a shared mapping every millisecond: the mapping tells when it last lived, whoever
// killed it and however.
func beat(path string) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		panic(err)
	}
	b, err := unix.Mmap(int(f.Fd()), 0, 8, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	for {
		binary.NativeEndian.PutUint64(b, uint64(clock.System{}.Now().Boot))
		time.Sleep(time.Millisecond)
	}
}

// pulse is a file for beats and the command that writes them.
type pulse struct{ path string }

func newPulse(t *testing.T) pulse {
	p := pulse{filepath.Join(t.TempDir(), "beat")}
	if err := os.WriteFile(p.path, make([]byte, 8), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p pulse) command() string { return os.Args[0] + " beat " + p.path }

func (p pulse) last(t *testing.T) time.Duration {
	b, err := os.ReadFile(p.path)
	if err != nil || len(b) < 8 {
		t.Fatalf("beats: %v, %d bytes", err, len(b))
	}
	return time.Duration(binary.NativeEndian.Uint64(b))
}

// quick is a lease that tests can wait for.
var quick = Timing{
	Lease: 3 * time.Second, Soft: 1500 * time.Millisecond, Kill: time.Second,
	Grace: 300 * time.Millisecond, StopGrace: 2 * time.Second, Wait: 3100 * time.Millisecond,
}

// field is one test's programs: they carry a variable by which they are found, wherever they have got to.
type field struct {
	t    *testing.T
	mark string
	dir  string
}

func newField(t *testing.T) *field {
	f := &field{t: t, mark: "COHORT_FIELD=" + newToken(), dir: t.TempDir()}
	t.Cleanup(func() {
		for _, p := range f.living() {
			p.signal(unix.SIGKILL)
		}
	})
	return f
}

// charge is for ever; lease makes it end.
func (f *field) charge(commands ...string) Charge {
	c := Charge{Node: "n1", Forever: true, StateDir: filepath.Join(f.dir, "state"), Env: append(os.Environ(), f.mark), Timing: quick}
	for i, command := range commands {
		c.Daemons = append(c.Daemons, Daemon{Name: fmt.Sprintf("d%d", i), Command: command})
	}
	return c
}

func (f *field) lease(commands ...string) Charge {
	c := f.charge(commands...)
	c.Legion, c.Epoch, c.Boot, c.Forever, c.Since = "blue", 7, 42, false, clock.System{}.Now()
	return c
}

func (f *field) path(name string) string { return filepath.Join(f.dir, name) }

// living is the programs that still run.
func (f *field) living() []process {
	var out []process
	for _, p := range everyone() {
		if p.dead() {
			continue
		}
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.pid))
		if err == nil && strings.Contains(string(b), f.mark) && !isStage(p.pid) {
			out = append(out, p)
		}
	}
	return out
}

func isStage(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && strings.HasPrefix(string(b), stageName)
}

// count is how many programs run with this in their command line.
func (f *field) count(text string) int {
	n := 0
	for _, p := range f.living() {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.pid))
		if strings.Contains(strings.ReplaceAll(string(b), "\x00", " "), text) {
			n++
		}
	}
	return n
}

// copies is how many programs run as exactly this.
func (f *field) copies(command string) int {
	n := 0
	for _, p := range f.living() {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.pid))
		if strings.TrimSuffix(strings.ReplaceAll(string(b), "\x00", " "), " ") == command {
			n++
		}
	}
	return n
}

// lines is the content of a file that programs append to.
func (f *field) lines(name string) []string {
	b, err := os.ReadFile(f.path(name))
	if err != nil {
		return nil
	}
	return strings.Fields(string(b))
}

// await polls for something that real processes must bring about.
func await(t *testing.T, what string, limit time.Duration, cond func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !cond() {
		if time.Since(began) > limit {
			t.Fatalf("after %v still not: %s", limit, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
	return time.Since(began)
}

// long is for what comes at once on an idle machine.
const long = 20 * time.Second

func (f *field) awaitRunning(what string, n int) {
	f.t.Helper()
	await(f.t, fmt.Sprintf("%d processes with %q", n, what), long, func() bool { return f.count(what) == n })
}

func (f *field) awaitNone(limit time.Duration) time.Duration {
	f.t.Helper()
	return await(f.t, "all programs gone", limit, func() bool { return len(f.living()) == 0 })
}

func awaitClosed(t *testing.T, what string, c <-chan struct{}, limit time.Duration) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(limit):
		t.Fatalf("after %v still not: %s", limit, what)
	}
}

// begin starts a guardian in this process.
func (f *field) begin(c Charge, opt options, log *slog.Logger) *Guardian {
	f.t.Helper()
	g, err := start(c, opt, log)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		g.Kill()
		awaitClosed(f.t, "down at the end of the test", g.Down(), long)
	})
	return g
}

func testLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{t}, nil))
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSuffix(string(b), "\n"))
	return len(b), nil
}

// withAndWithoutLeaf runs a test as on machines with and without a cgroup that can be written.
func withAndWithoutLeaf(t *testing.T, test func(t *testing.T, opt options)) {
	t.Run("leaf", func(t *testing.T) {
		l, err := newLeaf("try-" + newToken()[:8])
		if err != nil {
			missing(t, "a writable cgroup v2", err)
		}
		l.remove()
		t.Parallel()
		test(t, options{})
	})
	t.Run("tree", func(t *testing.T) {
		t.Parallel()
		test(t, options{noLeaf: true})
	})
}

// missing skips a test whose tool is not there. Tools must be there in CI; a cgroup is up to the machine.
func missing(t *testing.T, what string, err error) {
	t.Helper()
	if os.Getenv("CI") != "" && !strings.Contains(what, "cgroup") {
		t.Fatalf("%s: %v", what, err)
	}
	t.Skipf("%s: %v", what, err)
}

func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, name, err)
	}
	return path
}

// nodeOrder is what a test tells its node.
type nodeOrder struct {
	Charge Charge
	NoLeaf bool
	Renew  time.Duration // extends the lease that often; 0: never
}

// nodeMain is a node that only has one guardian. It obeys words on stdin and tells what happens on stdout.
func nodeMain() {
	in := bufio.NewReader(os.Stdin)
	first, err := in.ReadBytes('\n')
	var o nodeOrder
	if err == nil {
		err = json.Unmarshal(first, &o)
	}
	if err != nil {
		panic(err)
	}
	o.Charge.Since = clock.System{}.Now()
	g, err := start(o.Charge, options{noLeaf: o.NoLeaf}, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		panic(err)
	}
	fmt.Println("guardian", g.PID())
	var wg sync.WaitGroup
	wg.Go(func() {
		for o.Renew > 0 {
			select {
			case <-g.Down():
				return
			case <-time.After(o.Renew):
				g.Extend(clock.System{}.Now())
			}
		}
	})
	wg.Go(func() {
		<-g.Ended()
		fmt.Println("ended", g.Reason())
	})
	go func() {
		for {
			word, err := in.ReadString('\n')
			if err != nil {
				return
			}
			switch strings.TrimSpace(word) {
			case "stop":
				g.Stop(0)
			case "abort":
				g.Abort()
			}
		}
	}()
	<-g.Down()
	wg.Wait()
	fmt.Printf("down %+v\n", g.Outcome())
}

// node is a test's handle on nodeMain.
type node struct {
	t        *testing.T
	cmd      *exec.Cmd
	in       io.WriteCloser
	guardian process
	words    chan string
}

func (f *field) node(c Charge, noLeaf bool, renew time.Duration) *node {
	f.t.Helper()
	cmd := exec.Command(os.Args[0], "node")
	cmd.Stderr = os.Stderr
	if !testing.Verbose() {
		cmd.Stderr = nil
	}
	cmd.WaitDelay = time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	n := &node{t: f.t, cmd: cmd, in: in, words: make(chan string, 100)}
	go func() {
		defer close(n.words)
		for s := bufio.NewScanner(out); s.Scan(); {
			n.words <- s.Text()
		}
	}()
	f.t.Cleanup(func() {
		n.signal(unix.SIGKILL)
		n.guardian.signal(unix.SIGCONT)
		for range n.words { //nolint:revive // until it is gone
		}
		cmd.Wait()
		await(f.t, "guardian gone", long, func() bool { return !isAlive(n.guardian.pid, n.guardian.start) })
	})
	b, err := json.Marshal(nodeOrder{c, noLeaf, renew})
	if err != nil {
		f.t.Fatal(err)
	}
	fmt.Fprintf(in, "%s\n", b)
	var pid int
	fmt.Sscanf(n.await("guardian"), "guardian %d", &pid)
	if n.guardian, err = look(pid); err != nil {
		f.t.Fatal(err)
	}
	return n
}

// await is the next thing the node tells, which must begin with word.
func (n *node) await(word string) string {
	n.t.Helper()
	select {
	case s, ok := <-n.words:
		if !ok || !strings.HasPrefix(s, word) {
			n.t.Fatalf("node told %q, want %s", s, word)
		}
		return s
	case <-time.After(long):
		n.t.Fatalf("node did not tell %s", word)
	}
	return ""
}

func (n *node) signal(sig syscall.Signal) { n.cmd.Process.Signal(sig) }

func (n *node) tell(word string) { fmt.Fprintln(n.in, word) }

// stateOf is one daemon's state, with the pid.
func stateOf(g *Guardian, name string) (State, int) {
	all := g.Status()
	i := slices.IndexFunc(all, func(s Status) bool { return s.Name == name })
	return all[i].State, all[i].PID
}
