//go:build processes

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cohortd/cohort/api"
)

// binary is cohort as it is shipped, built once for all tests.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "cohort-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "cohort")
		build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "../cmd/cohort")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// proc is one node as a real process.
type proc struct {
	name, data, gossip, http string
	args                     []string // options after the file
	crew                     *crew
	cmd                      *exec.Cmd
	done                     chan struct{} // closed when the process is gone
	log                      *logBuffer
}

// crew is a few nodes that form one cluster, with the mark by which all processes they ever started are
// found again.
type crew struct {
	t     *testing.T
	dir   string
	file  string
	mark  string
	nodes []*proc
}

// newCrew writes the ini and prepares n nodes; nothing runs yet. extra gives further options for node i.
func newCrew(t *testing.T, n int, ini string, extra func(i int) []string) *crew {
	t.Helper()
	c := &crew{t: t, dir: t.TempDir()}
	c.mark = "E2E_CREW=" + filepath.Base(filepath.Dir(c.dir)) + "-" + strconv.Itoa(os.Getpid())
	c.file = filepath.Join(c.dir, "node.ini")
	write(t, c.file, ini)
	write(t, filepath.Join(c.dir, "secret"), strings.Repeat("0123456789abcdef", 4))
	for i := range n {
		p := &proc{name: fmt.Sprintf("n%d", i+1), crew: c}
		p.data = filepath.Join(c.dir, p.name)
		p.gossip, p.http = freeAddr(t), freeAddr(t)
		if extra != nil {
			p.args = extra(i)
		}
		c.nodes = append(c.nodes, p)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, p := range c.nodes {
				if p.log != nil {
					t.Logf("log of %s:\n%s", p.name, p.log.tail(12000))
				}
			}
		}
		c.killMarked()
	})
	return c
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (c *crew) startAll() {
	c.t.Helper()
	for _, p := range c.nodes {
		p.start()
	}
}

// start runs the node; its addresses are as its fields say at this moment.
func (p *proc) start() {
	p.crew.t.Helper()
	var join []string
	for _, o := range p.crew.nodes {
		join = append(join, o.gossip)
	}
	args := append([]string{
		"run", p.crew.file, "--node", p.name, "--data", p.data, "--cluster", p.gossip, "--cluster-join", strings.Join(join, ","),
		"--cluster-expect", strconv.Itoa(len(p.crew.nodes)), "--cluster-secret-file", filepath.Join(p.crew.dir, "secret"), "--http-socket", p.http,
	}, p.args...)
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), p.crew.mark)
	cmd.Dir = p.crew.dir
	if p.log == nil {
		p.log = &logBuffer{}
	}
	cmd.Stdout, cmd.Stderr = p.log, p.log
	cmd.WaitDelay = time.Second // a daemon that outlived the node would hold the pipe
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		p.crew.t.Fatal(err)
	}
	done := make(chan struct{})
	p.cmd, p.done = cmd, done
	go func() {
		defer close(done)
		_ = cmd.Wait() // how it ended is checked where it matters
	}()
}

func (p *proc) signal(sig syscall.Signal) {
	p.crew.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.crew.t.Fatalf("signal %s: %v", p.name, err)
	}
}

// kill is kill -9 of the node's process alone: its guardians and daemons are left to see for themselves.
func (p *proc) kill() {
	p.crew.t.Helper()
	p.signal(syscall.SIGKILL)
	<-p.done
}

// stop is a clean stop, which must end within 30 s.
func (p *proc) stop() {
	p.crew.t.Helper()
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		p.crew.t.Fatalf("%s did not stop within 30 s of SIGTERM", p.name)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		p.crew.t.Errorf("%s ended with %d after SIGTERM, want 0", p.name, code)
	}
}

func (p *proc) running() bool {
	if p.done == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

func (p *proc) status() (api.Status, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return api.NewClient(p.data).Status(ctx)
}

func (p *proc) cache(r api.CacheRequest) (api.CacheAnswer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return api.NewClient(p.data).Cache(ctx, r)
}

// cohort runs the binary as a user would and gives what it printed and its exit code.
func (c *crew) cohort(args ...string) (string, int) {
	c.t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Dir = c.dir
	out, err := cmd.CombinedOutput()
	if _, isExit := err.(*exec.ExitError); err != nil && !isExit {
		c.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// until polls what until it is true, and fails the test when that takes longer than most.
func until(t *testing.T, most time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > most {
			t.Fatalf("not within %s: %s", most, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(began)
}

// ready waits until every running node knows every running node, each group has a leader and every cache
// is defined.
func (c *crew) ready() {
	c.t.Helper()
	until(c.t, 30*time.Second, "all nodes ready", func() bool {
		for _, p := range c.nodes {
			if !p.running() {
				continue
			}
			s, err := p.status()
			if err != nil || len(s.Members) < len(c.nodes) || len(s.Groups) != 2 {
				return false
			}
			for _, g := range s.Groups {
				if g.Leader == "" {
					return false
				}
			}
			conn, err := net.DialTimeout("tcp", p.http, time.Second)
			if err != nil {
				return false
			}
			conn.Close()
		}
		return true
	})
}

// lord is the node that says it is lord of the first legion, or nil; two are an error whatever happens.
func (c *crew) lord() *proc {
	c.t.Helper()
	var lord *proc
	for _, p := range c.nodes {
		if !p.running() {
			continue
		}
		s, err := p.status()
		if err == nil && len(s.Legions) > 0 && s.Legions[0].IsLord {
			if lord != nil {
				// Two answers are not of one moment: the first may have handed over in between.
				if again, err := lord.status(); err == nil && again.Legions[0].IsLord {
					c.t.Errorf("two lords: %s and %s", lord.name, p.name)
				}
			}
			lord = p
		}
	}
	return lord
}

func (c *crew) waitLord(most time.Duration) *proc {
	c.t.Helper()
	var lord *proc
	until(c.t, most, "a lord", func() bool { lord = c.lord(); return lord != nil })
	return lord
}

// leader is the node that leads a raft group, as the others see it.
func (c *crew) leader(group string) *proc {
	for _, p := range c.nodes {
		if !p.running() {
			continue
		}
		s, err := p.status()
		if err != nil {
			continue
		}
		for _, g := range s.Groups {
			if g.Name != group {
				continue
			}
			for _, o := range c.nodes {
				if o.name == g.Leader && o.running() {
					return o
				}
			}
		}
	}
	return nil
}

// marked lists the live processes this crew started, directly or not, by their environment.
func (c *crew) marked() []marked {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		c.t.Fatal(err)
	}
	var out []marked
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		env, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if err != nil || !bytes.Contains(env, []byte(c.mark+"\x00")) {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			continue
		}
		line, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil || len(line) == 0 {
			continue
		}
		m := marked{pid: pid, command: strings.ReplaceAll(strings.TrimRight(string(line), "\x00"), "\x00", " ")}
		for _, kv := range strings.Split(string(env), "\x00") {
			if v, ok := strings.CutPrefix(kv, "COHORT_EPOCH="); ok {
				m.epoch = v
			}
			if v, ok := strings.CutPrefix(kv, "COHORT_NODE="); ok {
				m.node = v
			}
		}
		out = append(out, m)
	}
	return out
}

// marked is one process of a crew; epoch and node are set for what a legion runs.
type marked struct {
	pid                  int
	command, epoch, node string
}

// daemons are the marked processes that a legion runs, without the guardians.
func (c *crew) daemons() []marked {
	var out []marked
	for _, m := range c.marked() {
		if m.epoch != "" && !strings.HasPrefix(m.command, binary) && !strings.Contains(m.command, "guardian") {
			out = append(out, m)
		}
	}
	return out
}

func (c *crew) killMarked() {
	for range 200 {
		all := c.marked()
		if len(all) == 0 {
			return
		}
		for _, m := range all {
			_ = syscall.Kill(m.pid, syscall.SIGKILL) // may be gone by itself
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.t.Errorf("processes that cannot be killed: %v", c.marked())
}

// watchSpans looks at the live daemons again and again until the returned function is called, which fails
// the test if daemons of two epochs were ever alive at once.
func (c *crew) watchSpans() (stop func()) {
	c.t.Helper()
	quit, gone := make(chan struct{}), make(chan struct{})
	var both []string
	go func() {
		defer close(gone)
		for {
			epochs := map[string]string{}
			for _, m := range c.daemons() {
				epochs[m.epoch] = fmt.Sprintf("%s of %s (pid %d)", m.command, m.node, m.pid)
			}
			if len(epochs) > 1 {
				both = append(both, fmt.Sprint(epochs))
			}
			select {
			case <-quit:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	return sync.OnceFunc(func() {
		c.t.Helper()
		close(quit)
		<-gone
		if len(both) > 0 {
			c.t.Errorf("daemons of two epochs alive at once, %d times; first: %s", len(both), both[0])
		}
	})
}

// need finds a program, and fails in CI or skips elsewhere when it is not installed.
func need(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is not installed; make tools installs it", program)
		}
		t.Skipf("%s is not installed; make tools installs it", program)
	}
	return path
}

// logBuffer keeps what a node wrote.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (b *logBuffer) tail(n int) string {
	s := b.String()
	return s[max(0, len(s)-n):]
}
