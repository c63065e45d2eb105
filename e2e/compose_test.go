//go:build compose

package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cohortd/cohort/api"
)

// takeover bounds how long a legion may be without a lord when a machine dies: the granter's wait, an
// election, and a second.
const takeover = 5100*time.Millisecond + 1500*time.Millisecond + time.Second

// TestCompose runs the shipped docker-compose.yml as a user would and takes it apart.
func TestCompose(t *testing.T) {
	c := &containers{t: t, project: fmt.Sprintf("cohorttest%d", os.Getpid()), http: map[string]string{}}
	for _, n := range allNodes {
		c.http[n] = freePort(t)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.compose("logs", "--tail", "60"))
		}
		c.compose("down", "-v", "--timeout", "5")
	})
	c.must("up", "-d", "--build")
	c.wait(90*time.Second, "three nodes, one lord, its memcached", func() bool { return c.lord() != "" && c.healthy() == 3 })
	first := c.lord()
	c.oneDaemon(first)

	t.Run("one limit over three nodes", func(t *testing.T) {
		if passed, blocked := c.flood(10); passed != 10 || blocked != 20 {
			t.Errorf("30 requests over three nodes: %d passed and %d were blocked, want 10 and 20", passed, blocked)
		}
	})
	c.cache(first, "inc", "visits")
	epoch := c.status(first).Legions[0].Epoch

	t.Run("the lord's container is killed", func(t *testing.T) {
		c.must("kill", first)
		others := without(first)
		took := c.wait(takeover, "another lord with its memcached", func() bool { return c.lord(others...) != "" && c.daemon(c.lord(others...)) })
		t.Logf("machine death: lord and daemon elsewhere after %s", took.Round(10*time.Millisecond))
		c.oneDaemon(c.lord(others...), others...)
		if _, blocked := c.floodOn(others, 4); blocked == 0 {
			t.Error("after the lord's death no request was blocked, want the limit to hold on")
		}
		if got := c.cache(others[0], "inc", "visits"); got != "2" {
			t.Errorf("visits = %s, want 2", got)
		}
		c.must("start", first)
		c.wait(60*time.Second, "the killed node back", func() bool { return c.healthy() == 3 && c.lord() != "" })
	})

	t.Run("the lord is disconnected from the network", func(t *testing.T) {
		// The strongest node takes over again once it has been eligible for the preempt delay.
		c.wait(60*time.Second, "the strongest node lord again", func() bool { return c.lord() == first })
		others := without(first)
		name := c.id(first)
		c.docker("network", "disconnect", c.project+"_default", name)
		took := c.wait(takeover, "another lord with its memcached", func() bool { return c.lord(others...) != "" && c.daemon(c.lord(others...)) })
		t.Logf("cut off: lord and daemon elsewhere after %s", took.Round(10*time.Millisecond))
		c.oneDaemon(c.lord(others...))
		out, code := c.exec(first, "cohort", "cache", "inc", "visits", "--data", "/data")
		if code != 4 {
			t.Errorf("a write on the cut-off node ended with %d (%s), want 4", code, out)
		}
		c.docker("network", "connect", "--alias", first, c.project+"_default", name)
		c.wait(60*time.Second, "the cut-off node back", func() bool { return c.knows(3) && c.healthy() == 3 })
		if got := c.cache(first, "get", "visits"); got != "2" {
			t.Errorf("visits = %s after the refused write, want 2", got)
		}
	})

	t.Run("all are stopped and started", func(t *testing.T) {
		c.must("stop", "--timeout", "30")
		c.must("start")
		c.wait(90*time.Second, "all back", func() bool { return c.healthy() == 3 && c.lord() != "" && c.daemon(c.lord()) })
		c.oneDaemon(c.lord())
		if got := c.cache("n3", "inc", "visits"); got != "3" {
			t.Errorf("visits = %s, want 3", got)
		}
		if now := c.status("n1").Legions[0].Epoch; now <= epoch {
			t.Errorf("epoch %d, want more than %d", now, epoch)
		}
		// The window of the flood may have ended by now: what holds is that never more than ten pass in one.
		if passed, _ := c.flood(10); passed > 10 {
			t.Errorf("%d of 30 requests passed, want at most 10", passed)
		}
	})
}

var allNodes = []string{"n1", "n2", "n3"}

func without(name string) []string {
	return slices.DeleteFunc(slices.Clone(allNodes), func(n string) bool { return n == name })
}

type containers struct {
	t       *testing.T
	project string
	http    map[string]string // port on this machine, by node
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func (c *containers) compose(args ...string) string {
	cmd := exec.Command("docker-compose", append([]string{"-p", c.project, "-f", "../docker-compose.yml"}, args...)...)
	cmd.Env = os.Environ()
	for n, port := range c.http {
		cmd.Env = append(cmd.Env, "HTTP_"+strings.ToUpper(n)+"="+port)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%s\nFAILED: %v", out, err)
	}
	return string(out)
}

func (c *containers) must(args ...string) {
	c.t.Helper()
	if out := c.compose(args...); strings.Contains(out, "\nFAILED: ") {
		c.t.Fatalf("docker-compose %q: %s", args, out)
	}
}

func (c *containers) docker(args ...string) string {
	c.t.Helper()
	out, err := exec.Command("docker", args...).CombinedOutput()
	if err != nil {
		c.t.Fatalf("docker %q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (c *containers) id(node string) string {
	c.t.Helper()
	return c.docker("ps", "-q", "--filter", "label=com.docker.compose.project="+c.project, "--filter", "label=com.docker.compose.service="+node)
}

func (c *containers) exec(node string, args ...string) (string, int) {
	id, err := exec.Command("docker", "ps", "-q", "--filter", "label=com.docker.compose.project="+c.project, "--filter", "label=com.docker.compose.service="+node).Output()
	if err != nil || len(id) == 0 {
		return "not running", -1
	}
	cmd := exec.Command("docker", append([]string{"exec", strings.TrimSpace(string(id))}, args...)...)
	out, _ := cmd.CombinedOutput() // its exit code is what we look at
	return strings.TrimSpace(string(out)), cmd.ProcessState.ExitCode()
}

func (c *containers) status(node string) api.Status {
	var s api.Status
	out, _ := c.exec(node, "cohort", "status", "--json", "--data", "/data")
	// Without a lord the text of the error follows the object.
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&s); err != nil {
		return api.Status{}
	}
	return s
}

// lord is the one of nodes (all of them, when none is named) that says it is lord; two are an error.
func (c *containers) lord(nodes ...string) string {
	if nodes == nil {
		nodes = allNodes
	}
	var lords []string
	for _, n := range nodes {
		if s := c.status(n); len(s.Legions) > 0 && s.Legions[0].IsLord {
			lords = append(lords, n)
		}
	}
	if len(lords) == 1 {
		return lords[0]
	}
	return ""
}

// knows says that every node sees n members alive.
func (c *containers) knows(n int) bool {
	for _, name := range allNodes {
		alive := 0
		for _, m := range c.status(name).Members {
			if m.Alive {
				alive++
			}
		}
		if alive != n {
			return false
		}
	}
	return true
}

func (c *containers) healthy() int {
	out := c.docker("ps", "--filter", "label=com.docker.compose.project="+c.project, "--filter", "health=healthy", "-q")
	return len(strings.Fields(out))
}

// daemon says whether memcached runs in a node's container, by the container's own process table.
func (c *containers) daemon(node string) bool {
	out, err := exec.Command("docker", "top", c.id(node), "-eo", "pid,args").CombinedOutput()
	return err == nil && strings.Contains(string(out), "memcached -p")
}

func (c *containers) oneDaemon(lord string, nodes ...string) {
	c.t.Helper()
	if nodes == nil {
		nodes = allNodes
	}
	for _, n := range nodes {
		if got, want := c.daemon(n), n == lord; got != want {
			c.t.Errorf("memcached runs on %s: %t, want %t (the lord is %s)", n, got, want, lord)
		}
	}
}

// cache does one cache operation on a node, through its own command line.
func (c *containers) cache(node string, args ...string) string {
	c.t.Helper()
	out, code := c.exec(node, append(append([]string{"cohort", "cache"}, args...), "--data", "/data")...)
	if code != 0 {
		c.t.Errorf("cohort cache %q on %s ended with %d: %s", args, node, code, out)
	}
	return out
}

func (c *containers) flood(each int) (passed, blocked int) { return c.floodOn(allNodes, each) }

// floodOn asks each of the nodes each times, in turn.
func (c *containers) floodOn(nodes []string, each int) (passed, blocked int) {
	c.t.Helper()
	for range each {
		for _, n := range nodes {
			resp, err := http.Get("http://127.0.0.1:" + c.http[n] + "/")
			if err != nil {
				c.t.Errorf("GET on %s: %v", n, err)
				continue
			}
			resp.Body.Close()
			switch resp.StatusCode {
			case http.StatusOK:
				passed++
			case http.StatusServiceUnavailable:
				blocked++
			default:
				c.t.Errorf("GET on %s answered %s", n, resp.Status)
			}
		}
	}
	return passed, blocked
}

func (c *containers) wait(most time.Duration, what string, ok func() bool) time.Duration {
	c.t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > most {
			c.t.Fatalf("not within %s: %s", most, what)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return time.Since(began)
}
