//go:build processes

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cohortd/cohort/api"
)

// example reads one of the shipped examples without its own listening line: each node here has an address
// of its own.
func example(t *testing.T, name string, replace ...string) string {
	t.Helper()
	b, err := os.ReadFile("../examples/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, line := range strings.Split(strings.NewReplacer(replace...).Replace(string(b)), "\n") {
		if !strings.HasPrefix(strings.TrimSpace(line), "http-socket") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

// get asks once, on a connection of its own, and gives the status; 0 when there was no answer.
func get(addr string) int {
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + addr + "/")
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// TestLimiterExample asks three nodes in turn: what passes and what is blocked is what one real uWSGI does
// with the same file, request by request; and the window ends although only blocked requests come.
func TestLimiterExample(t *testing.T) {
	const window = 4 * time.Second // the example has 30 s; the long test keeps them
	expires := "expires=4"
	if long {
		expires = "expires=30"
	}
	ini := example(t, "limiter.ini", "expires=30", expires)
	c := newCrew(t, 3, ini, nil)
	c.startAll()
	c.ready()
	peer := startUWSGI(t, ini)

	began := time.Now()
	for i := range 20 {
		p := c.nodes[i%3]
		want := get(peer)
		if got := get(p.http); pass(got) != pass(want) || pass(got) != (i < 11) {
			t.Errorf("request %d: %s answered %d and one uWSGI %d; want the first 11 to pass on both", i+1, p.name, got, want)
		}
	}
	if took := time.Since(began); took > window && !long {
		t.Fatalf("the 20 requests took %s, more than the window: this machine is too slow to tell anything", took)
	}
	i := 0
	until(t, 40*time.Second, "a request passes after the window", func() bool {
		i++
		return pass(get(c.nodes[i%3].http))
	})
	if waited := time.Since(began); !long && waited < window-time.Second {
		t.Errorf("a request passed %s after the first one, inside the window of %s", waited, window)
	}
}

func pass(status int) bool { return status == http.StatusOK }

// startUWSGI runs a real uWSGI with the routing lines of ini and gives its address.
func startUWSGI(t *testing.T, ini string) string {
	t.Helper()
	path := need(t, "uwsgi")
	addr := freeAddr(t)
	dir := t.TempDir()
	var lines []string
	for _, line := range strings.Split(ini, "\n") {
		if key, _, _ := strings.Cut(strings.TrimSpace(line), " "); strings.HasPrefix(key, "route") || strings.HasPrefix(key, "cache2") {
			lines = append(lines, line)
		}
	}
	text := "[uwsgi]\nplugins = router_cache,notfound\nmaster = true\nhttp-socket = " + addr + "\n" + strings.Join(lines, "\n") + "\n"
	write(t, dir+"/uwsgi.ini", text)
	cmd := exec.Command(path, "--ini", dir+"/uwsgi.ini")
	out := &logBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("uwsgi's log:\n%s", out.tail(4000))
		}
	})
	until(t, 10*time.Second, "uwsgi listens", func() bool { return strings.Contains(out.String(), "spawned uWSGI") })
	return addr
}

// oneStep counts and tests in one operation, so it is exact however many ask at once.
const oneStep = `[cohort]
cache2 = name=limiter,items=1000,blocksize=8
route = ^/(\w*) cacheinc:key=limit-$1,expires=60,var=N
route-if = >:${N};%d break:503
route-run = return:200
`

// TestOneStepLimit floods three nodes with 64 clients: exactly the limit passes. In every second run the
// leader of the cache group is killed in the middle: then a request may be lost with the node, and what
// passes may not exceed the limit.
func TestOneStepLimit(t *testing.T) {
	const limit, clients = 500, 64
	c := newCrew(t, 3, fmt.Sprintf(oneStep, limit), nil)
	c.startAll()
	c.ready()
	runs := 4
	if long {
		runs = 20
	}
	for run := range runs {
		killing := run%2 == 1
		leader := c.leader("cache")
		if leader == nil {
			t.Fatal("the cache group has no leader")
		}
		var passed, blocked, failed atomic.Int64
		var wg sync.WaitGroup
		for i := range clients {
			wg.Go(func() {
				client := http.Client{Timeout: 10 * time.Second}
				defer client.CloseIdleConnections()
				for j := range 20 {
					p := c.nodes[(i+j)%3]
					resp, err := client.Get(fmt.Sprintf("http://%s/run%d", p.http, run))
					if err != nil {
						failed.Add(1) // the killed node's; whether it counted is unknown
						continue
					}
					resp.Body.Close()
					switch resp.StatusCode {
					case http.StatusOK:
						passed.Add(1)
					case http.StatusServiceUnavailable:
						blocked.Add(1)
					default:
						t.Errorf("a request was answered %s", resp.Status)
					}
				}
			})
		}
		if killing {
			until(t, 10*time.Second, "the flood is under way", func() bool { return passed.Load() > limit/10 })
			leader.kill()
		}
		wg.Wait()
		t.Logf("run %d: leader killed %t, %d passed, %d blocked, %d failed", run, killing, passed.Load(), blocked.Load(), failed.Load())
		switch {
		case passed.Load() > limit:
			t.Errorf("run %d: %d requests passed, the limit is %d", run, passed.Load(), limit)
		case !killing && passed.Load() != limit:
			t.Errorf("run %d: %d requests passed, want exactly %d", run, passed.Load(), limit)
		case killing && passed.Load()+failed.Load() < limit:
			t.Errorf("run %d: %d passed and %d failed, fewer than the limit of %d", run, passed.Load(), failed.Load(), limit)
		}
		a, err := c.others(leader)[0].cache(api.CacheRequest{Verb: "get", Key: fmt.Sprintf("limit-run%d", run)})
		if err != nil || a.Number == nil || *a.Number < passed.Load() {
			t.Errorf("run %d: the counter is %v (%v), want at least the %d that passed", run, a.Number, err, passed.Load())
		}
		if killing {
			leader.start()
			c.ready()
		}
	}
}

func (c *crew) others(p *proc) []*proc {
	var out []*proc
	for _, o := range c.nodes {
		if o != p && o.running() {
			out = append(out, o)
		}
	}
	return out
}
