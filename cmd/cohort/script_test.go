package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/cohortd/cohort/daemons"
)

// TestMain makes the test binary cohort itself when it is called by that name, and a guardian where a node
// starts one. So the scripts run real processes, with the race detector in them.
func TestMain(m *testing.M) {
	if daemons.IsGuardian(os.Args) {
		os.Exit(daemons.GuardianMain())
	}
	testscript.Main(m, map[string]func(){"cohort": main})
}

// patience bounds every wait for a real process.
const patience = 45 * time.Second

// TestScripts runs testdata/*.txtar. Beside testscript's own commands there are:
//
//	exits CODE COMMAND...    the command ends with this code
//	until REGEXP COMMAND...  runs the command again and again until its output matches
//	get STATUS PATH URL      asks over the unix socket PATH and wants this status
//	gone FILE                the process whose pid the file holds is no more
//
// and $PORT1 to $PORT3, which are free.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("GORACE", "atexit_sleep_ms=0") // a second for each command otherwise
			e.Setenv("TMPDIR", e.WorkDir)
			for i := 1; i <= 3; i++ {
				e.Setenv(fmt.Sprintf("PORT%d", i), strconv.Itoa(freePort(t)))
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": scriptExits, "until": scriptUntil, "get": scriptGet, "gone": scriptGone,
		},
	})
}

// nextPort is below the ports that the kernel gives to clients, so nobody takes one between the test and
// its use.
var nextPort atomic.Int32

func freePort(t *testing.T) int {
	t.Helper()
	nextPort.CompareAndSwap(0, int32(12500+os.Getpid()%10000))
	for range 1000 {
		port := int(nextPort.Add(1))
		if isFree(net.JoinHostPort("127.0.0.1", strconv.Itoa(port))) {
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%s: %v", strings.Join(args[1:], " "), err)
		}
		got = exit.ExitCode()
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("%s ended with %d, want %s: %s%s", strings.Join(args[1:], " "), got, args[0], ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

func scriptUntil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until REGEXP COMMAND...")
	}
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	pause := 50 * time.Millisecond
	for began := time.Now(); ; time.Sleep(pause) {
		pause = min(2*pause, time.Second)
		_ = ts.Exec(args[1], args[2:]...) // what it prints decides
		if re.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Since(began) > patience {
			ts.Fatalf("%s never printed %q, but %s%s", strings.Join(args[1:], " "), args[0], ts.ReadFile("stdout"), ts.ReadFile("stderr"))
		}
	}
}

func scriptGet(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: get STATUS PATH URL")
	}
	path := ts.MkAbs(args[1])
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}
	resp, err := client.Get(args[2])
	ts.Check(err)
	resp.Body.Close()
	if fmt.Sprint(resp.StatusCode) != args[0] {
		ts.Fatalf("GET %s = %s, want %s", args[2], resp.Status, args[0])
	}
}

func scriptGone(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: gone FILE")
	}
	pid, err := strconv.Atoi(strings.TrimSpace(ts.ReadFile(args[0])))
	ts.Check(err)
	if alive(pid) {
		ts.Fatalf("process %d of %s still runs", pid, args[0])
	}
}

// alive says whether a process runs; one that nobody has reaped does not.
func alive(pid int) bool {
	if unix.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false
	}
	_, behind, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(behind, "Z")
}
