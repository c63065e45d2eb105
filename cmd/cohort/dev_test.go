package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cohortd/cohort/api"
)

// show is a real `cohort dev` of a test, in a process group of its own as in a terminal.
type show struct {
	t    *testing.T
	cmd  *exec.Cmd
	tmp  string // where it keeps everything
	mark string // in the environment of all it ever starts
	done chan struct{}

	mu    sync.Mutex
	lines []string
	more  chan struct{} // closed at the next line
}

func startDev(t *testing.T, path string, args ...string) *show {
	t.Helper()
	bin, err := exec.LookPath("cohort")
	if err != nil {
		t.Fatal(err)
	}
	s := &show{t: t, tmp: t.TempDir(), done: make(chan struct{}), more: make(chan struct{})}
	s.mark = "DEV_TEST=" + s.tmp
	s.cmd = exec.Command(bin, append([]string{"dev"}, args...)...)
	s.cmd.Env = append(os.Environ(), "TMPDIR="+s.tmp, "GORACE=atexit_sleep_ms=0", "PATH="+path, s.mark)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stderr = s.cmd.Stdout
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the process, which the test waits for
		defer close(s.done)
		for in := bufio.NewScanner(out); in.Scan(); {
			s.mu.Lock()
			s.lines = append(s.lines, in.Text())
			close(s.more)
			s.more = make(chan struct{})
			s.mu.Unlock()
		}
		_ = s.cmd.Wait() // how it ended is looked at where it matters
	}()
	t.Cleanup(func() {
		for _, pid := range marked(s.mark) {
			_ = syscall.Kill(pid, syscall.SIGKILL) // may be gone by now
		}
		<-s.done
		if t.Failed() {
			t.Logf("what it said:\n%s", strings.Join(s.lines, "\n"))
		}
	})
	return s
}

// until waits for a line that matches, and returns all lines up to now and the groups of the match.
func (s *show) until(expr string) (lines, groups []string) {
	s.t.Helper()
	re := regexp.MustCompile(expr)
	deadline := time.After(patience)
	for seen := 0; ; {
		s.mu.Lock()
		lines, more := s.lines, s.more
		s.mu.Unlock()
		for ; seen < len(lines); seen++ {
			if groups := re.FindStringSubmatch(lines[seen]); groups != nil {
				return lines, groups
			}
		}
		select {
		case <-more:
		case <-s.done:
			s.t.Fatalf("it ended and never said %q", expr)
		case <-deadline:
			s.t.Fatalf("it did not say %q within %s", expr, patience)
		}
	}
}

// endsClean waits for the end, and wants no file and no process left.
func (s *show) endsClean() {
	s.t.Helper()
	select {
	case <-s.done:
	case <-time.After(patience):
		s.t.Fatalf("it did not end within %s", patience)
	}
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		s.t.Errorf("it ended with %d, want 0", code)
	}
	if pids := marked(s.mark); len(pids) > 0 {
		s.t.Errorf("%d processes are left: %v", len(pids), describe(pids))
	}
	if left, err := os.ReadDir(s.tmp); err != nil || len(left) > 0 {
		s.t.Errorf("files are left: %v, %v", left, err)
	}
}

// marked are the live processes with this in their environment.
func marked(mark string) []int {
	var pids []int
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		env, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(append([]byte{0}, env...), []byte("\x00"+mark+"\x00")) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil && alive(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func describe(pids []int) (out []string) {
	for _, pid := range pids {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // it may be gone by now
		out = append(out, strings.ReplaceAll(string(line), "\x00", " "))
	}
	return out
}

// sh runs a command as a newcomer who pastes it.
func sh(t *testing.T, command string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}

// eventually asks again and again.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	if waitFor(t.Context(), patience, ok) != nil {
		t.Fatalf("not within %s: %s", patience, what)
	}
}

// rules says whether the node is lord, and its daemon runs.
func rules(t *testing.T, data string) bool {
	s, err := api.NewClient(data).Status(t.Context())
	return err == nil && len(s.Legions) == 1 && s.Legions[0].IsLord && len(s.Daemons) == 1 && s.Daemons[0].State == "running"
}

// TestDev is the first hour of a newcomer: start, paste every command that it prints, Ctrl-C.
func TestDev(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	s := startDev(t, os.Getenv("PATH"), "--restart-after", "1s")
	s.until("^ready after")
	lines, _ := s.until("^The log goes on here")
	var commands []string
	for _, line := range lines {
		if command, ok := strings.CutPrefix(line, "      "); ok {
			commands = append(commands, command)
		}
	}
	if len(commands) != 6 {
		t.Fatalf("%d commands to try, want 6: %q", len(commands), commands)
	}
	flood, status, count, drain, drainOff, kill := commands[0], commands[1], commands[2], commands[3], commands[4], commands[5]
	dir := filepath.Dir(strings.Fields(status)[0])
	// n1 has the greatest valor, but on a slow machine another may be first.
	_, groups := s.until(`^  (n\d) +\d+ +127.0.0.1:\d+ +http://127.0.0.1:\d+ +\d+ +lord, runs \S+ \(pid \d+\)$`)
	lord := groups[1]
	data := func(name string) string { return filepath.Join(dir, name) }
	if !rules(t, data(lord)) {
		t.Errorf("%s is not lord with its daemon", lord)
	}
	for _, want := range []string{`  NODE +VALOR +CLUSTER +HTTP +PID$`, `  n3 +10 +127.0.0.1:\d+ +http://127.0.0.1:\d+ +\d+`} {
		s.until("^" + want)
	}

	if got := strings.Fields(sh(t, flood)); fmt.Sprint(got) != fmt.Sprint(strings.Fields(strings.Repeat("200 ", 10)+strings.Repeat("503 ", 5))) {
		t.Errorf("%s: %q, want ten times 200 and five times 503", flood, got)
	}
	s.until("the limit of 10 in 30 s is reached for 127.0.0.1")
	if got := sh(t, status); !strings.Contains(got, " lord, epoch") || strings.Count(got, "alive  voter") != 3 {
		t.Errorf("%s:\n%s\nwant a lord and three voters", status, got)
	}
	for i := range 3 {
		if got := strings.TrimSpace(sh(t, count)); got != fmt.Sprint(i+1) {
			t.Errorf("%s: %s, want %d", count, got, i+1)
		}
	}

	sh(t, kill)
	eventually(t, "another node is lord and runs the daemon", func() bool {
		return slices.ContainsFunc([]string{"n1", "n2", "n3"}, func(name string) bool { return name != lord && rules(t, data(name)) })
	})
	s.until("^" + lord + ` ended \(signal: killed\); it starts again in 1s`)
	s.until("^" + lord + ` starts again, pid \d+`)
	eventually(t, lord+" answers again", func() bool {
		st, err := api.NewClient(data(lord)).Status(t.Context())
		return err == nil && len(leaderless(st)) == 0
	})
	if got := sh(t, drain); !strings.Contains(got, "drained") {
		t.Errorf("%s: %s", drain, got)
	}
	sh(t, drainOff)
	if got := strings.TrimSpace(sh(t, count)); got != "4" {
		t.Errorf("%s: %s, want 4 as if nobody had been killed", count, got)
	}

	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	s.until("^stopping")
	s.endsClean()
}

// TestDevWithoutMemcached has nothing in its PATH, and ends as a terminal ends it: the signal goes to the
// whole group, and the user is impatient.
func TestDevWithoutMemcached(t *testing.T) {
	t.Parallel()
	s := startDev(t, t.TempDir())
	s.until("memcached is not installed: the lord runs a small daemon of cohort's own")
	s.until(`n\d +\d+ .* lord, runs cohort \(pid \d+\)`)
	s.until(`cohort \| "a stand-in for memcached: legion dev, node n\d, epoch \d+"`)
	for range 2 {
		if err := syscall.Kill(-s.cmd.Process.Pid, syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		s.until("stopping")
	}
	s.endsClean()
}

// TestDevStoppedEarly is stopped before there is a cluster.
func TestDevStoppedEarly(t *testing.T) {
	t.Parallel()
	for name, line := range map[string]string{"at once": "^three nodes start", "while they find each other": "founding the cluster"} {
		t.Run(name, func(t *testing.T) {
			s := startDev(t, os.Getenv("PATH"))
			s.until(line)
			if err := s.cmd.Process.Signal(unix.SIGHUP); err != nil { // the terminal was closed
				t.Fatal(err)
			}
			s.endsClean()
		})
	}
}

// TestDevStoppedRightAfterTheLordWasKilled ends while what a killed lord ran may still be there.
func TestDevStoppedRightAfterTheLordWasKilled(t *testing.T) {
	t.Parallel()
	s := startDev(t, os.Getenv("PATH"))
	_, groups := s.until(`^      kill -9 (\d+)`)
	pid, _ := strconv.Atoi(groups[1])
	if err := errors.Join(syscall.Kill(pid, syscall.SIGKILL), s.cmd.Process.Signal(os.Interrupt)); err != nil {
		t.Fatal(err)
	}
	s.endsClean()
}

// TestDevKilled shows that no node stays when there is nobody left to stop it.
func TestDevKilled(t *testing.T) {
	t.Parallel()
	s := startDev(t, os.Getenv("PATH"))
	s.until("founding the cluster")
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all processes are gone", func() bool { return len(marked(s.mark)) == 0 })
}

// TestNodesThatDoNotStart has programs of our own in the place of nodes.
func TestNodesThatDoNotStart(t *testing.T) {
	for name, tt := range map[string]struct {
		script string
		want   string // in the error
		code   int
	}{
		"wrong configuration": {`echo "dev.ini:3: no such option" >&2; exit 2`, `node n\d does not start: exit status 2: dev.ini:3: no such option`, 2},
		"ends before it is ready": {
			`echo '{"time":"2026-01-01T00:00:00Z","level":"INFO","msg":"listening"}' >&2; echo 'cohort: address in use' >&2; exit 1`,
			`node n\d does not start: exit status 1: cohort: address in use`, 1,
		},
		"ends as if all were well": {`exit 0`, `node n\d does not start: exit status 0`, 1},
		"wrong configuration later": {
			`test -e "$6.was" && { echo "disk moved" >&2; exit 2; }; : >"$6.was"; echo '{"msg":"node ready"}' >&2; exit 1`,
			`node n\d does not start: exit status 2: disk moved`, 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			self := filepath.Join(t.TempDir(), "node")
			if err := os.WriteFile(self, []byte("#!/bin/sh\n"+tt.script+"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			d := &dev{self: self, restartAfter: time.Millisecond, screen: newScreen(&out)}
			err := d.run(t.Context())
			if err == nil || !regexp.MustCompile(tt.want).MatchString(err.Error()) || exitCode(err) != tt.code {
				t.Errorf("run = %v with exit code %d, want %q with %d; the screen:\n%s", err, exitCode(err), tt.want, tt.code, &out)
			}
			if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "*")); len(left) > 0 {
				t.Errorf("files are left: %v", left)
			}
		})
	}
}

// TestTakePorts takes ports three times: beside another `cohort dev`, and beside another program that has
// one of them.
func TestTakePorts(t *testing.T) {
	var all []*devNode
	take := func() io.Closer {
		nodes := []*devNode{{}, {}, {}}
		block, err := takePorts(nodes)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, nodes...)
		return block
	}
	first := take()
	program, err := net.Listen("tcp", all[1].http)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	defer take().Close()
	first.Close()
	defer take().Close()
	seen := map[string]bool{}
	for _, n := range all {
		for _, addr := range []string{n.gossip, n.http, n.cache} {
			if seen[addr] {
				t.Errorf("%s was given twice", addr)
			}
			seen[addr] = true
		}
	}
}
