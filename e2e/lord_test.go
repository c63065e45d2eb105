//go:build processes

package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cohortd/cohort/api"
)

// legionCrew runs the shipped legion example on three nodes of valor 30, 20 and 10. All three would start
// their memcacheds on the same ports and pidfile, so a second copy could not even come up unnoticed.
func legionCrew(t *testing.T) *crew {
	need(t, "memcached")
	dir := t.TempDir()
	ini := example(t, "legion.ini",
		"\nlegion = legion1 100 bf-cbc:abc", "",
		"/tmp/memcached.pid", dir+"/memcached.pid", "10001", port(freeAddr(t)), "10002", port(freeAddr(t)))
	c := newCrew(t, 3, ini, func(i int) []string {
		return []string{"--legion", fmt.Sprintf("legion1 %d bf-cbc:abc", 30-10*i), "--legion-preempt-delay", "legion1 0"}
	})
	c.startAll()
	c.ready()
	return c
}

func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

// settled waits until lord runs both daemons and nobody else runs any.
func (c *crew) settled(most time.Duration, lord *proc) {
	c.t.Helper()
	until(c.t, most, "two memcacheds on "+lord.name+" and none elsewhere", func() bool {
		ds := c.memcacheds()
		return len(ds) == 2 && ds[0].node == lord.name && ds[1].node == lord.name
	})
}

func (c *crew) memcacheds() []marked {
	return slices.DeleteFunc(c.daemons(), func(m marked) bool {
		return !strings.Contains(m.command, "memcached") || strings.Contains(m.command, "sh -c")
	})
}

// TestLegionExample: two memcacheds on the lord and none elsewhere; the lord is killed, stopped and
// drained, and each time they run on the next node, one copy each, with no orphan.
func TestLegionExample(t *testing.T) {
	c := legionCrew(t)
	stop := c.watchSpans()
	n1, n2, n3 := c.nodes[0], c.nodes[1], c.nodes[2]
	c.waitLord(15 * time.Second)
	until(t, 15*time.Second, "the strongest rules", func() bool { return c.lord() == n1 })
	c.settled(10*time.Second, n1)
	first := c.epoch(n1)

	n1.kill()
	c.settled(8*time.Second, n2)
	if now := c.epoch(n2); now <= first {
		t.Errorf("epoch %d after the lord's death, want more than %d", now, first)
	}

	n1.start()
	c.ready()
	until(t, 15*time.Second, "the strongest rules again", func() bool { return c.lord() == n1 })
	c.settled(10*time.Second, n1)

	n1.stop()
	if left := slices.DeleteFunc(c.marked(), func(m marked) bool { return m.node != n1.name }); len(left) > 0 {
		t.Errorf("%s stopped and left %v", n1.name, left)
	}
	c.settled(8*time.Second, n2)

	if out, code := c.cohort("drain", "--data", n2.data); code != 0 {
		t.Errorf("drain ended with %d: %s", code, out)
	}
	until(t, 8*time.Second, "the drained lord's successor", func() bool { return c.lord() == n3 })
	c.settled(8*time.Second, n3)

	if out, code := c.cohort("drain", "--off", "--data", n2.data); code != 0 {
		t.Errorf("drain --off ended with %d: %s", code, out)
	}
	until(t, 8*time.Second, "the stronger rules again", func() bool { return c.lord() == n2 })
	c.settled(8*time.Second, n2)
	if out, code := c.cohort("step-down", "legion1", "--data", n2.data); code != 0 {
		t.Errorf("step-down ended with %d: %s", code, out)
	}
	until(t, 8*time.Second, "the next best rules", func() bool { return c.lord() == n3 })
	stop()
	for _, p := range []*proc{n2, n3} {
		p.stop()
	}
	if left := c.marked(); len(left) > 0 {
		t.Errorf("all nodes stopped and left %v", left)
	}
}

func (c *crew) epoch(p *proc) uint64 {
	c.t.Helper()
	s, err := p.status()
	if err != nil || len(s.Legions) == 0 {
		c.t.Fatalf("status of %s: %v", p.name, err)
	}
	return s.Legions[0].Epoch
}

// TestFailover measures kill -9 of the lord's process until its daemons run elsewhere, with the leader of
// the control group elsewhere and on the lord itself. Two seconds is the bound; the times are for
// docs/failover.md.
func TestFailover(t *testing.T) {
	c := legionCrew(t)
	stop := c.watchSpans()
	defer stop()
	rounds := 2
	if long {
		rounds = 10
	}
	for _, onLord := range []bool{false, true} {
		var times []time.Duration
		for range rounds {
			lord := c.nodes[0]
			c.ready()
			until(t, 20*time.Second, "the strongest rules", func() bool { return c.lord() == lord })
			c.settled(10*time.Second, lord)
			c.placeLeader(lord, onLord)
			lord.kill()
			began := time.Now()
			c.settled(8*time.Second, c.nodes[1])
			took := time.Since(began)
			times = append(times, took)
			if took > 2*time.Second {
				t.Errorf("leader on the lord %t: %s until the daemons ran elsewhere, want at most 2 s", onLord, took)
			}
			lord.start()
		}
		slices.Sort(times)
		t.Logf("leader on the lord %t: kill -9 of the lord's process until both daemons run elsewhere: median %s, maximum %s of %d",
			onLord, times[len(times)/2].Round(time.Millisecond), times[len(times)-1].Round(time.Millisecond), len(times))
	}
}

// placeLeader sees to it that the control group's leader is on the lord, or is not. A node moves that
// leadership off itself by and by when it is lord, so to have it there one kills whoever else has it.
func (c *crew) placeLeader(lord *proc, on bool) {
	c.t.Helper()
	until(c.t, 90*time.Second, fmt.Sprintf("the control leader on the lord: %t", on), func() bool {
		leader := c.leader("control")
		if leader == nil {
			return false
		}
		if on && leader != lord {
			leader.kill()
			leader.start()
			c.ready()
			leader = c.leader("control")
		}
		return leader != nil && (leader == lord) == on && c.lord() == lord
	})
}

// TestStoppedLord: a lord that stands still loses its daemons before another gets them, and its lordship
// for good.
func TestStoppedLord(t *testing.T) {
	c := legionCrew(t)
	stop := c.watchSpans()
	n1, n2 := c.nodes[0], c.nodes[1]
	until(t, 20*time.Second, "the strongest rules", func() bool { return c.lord() == n1 })
	c.settled(10*time.Second, n1)
	n1.signal(syscall.SIGSTOP)
	until(t, 10*time.Second, "the next rules", func() bool {
		s, err := n2.status()
		return err == nil && s.Legions[0].IsLord
	})
	c.settled(8*time.Second, n2)
	n1.signal(syscall.SIGCONT)
	until(t, 30*time.Second, "the strongest rules again", func() bool { return c.lord() == n1 })
	c.settled(10*time.Second, n1)
	stop()
}

// TestWrongLegionSecret: a node that has the cluster's secret but not the legion's never becomes lord, and
// its vote does not count.
func TestWrongLegionSecret(t *testing.T) {
	c := newCrew(t, 3, "[cohort]\n", func(i int) []string {
		secret := "right"
		if i == 0 {
			secret = "wrong"
		}
		return []string{"--legion", fmt.Sprintf("l %d bf-cbc:%s", 30-10*i, secret), "--legion-preempt-delay", "l 0"}
	})
	c.startAll()
	c.ready()
	until(t, 15*time.Second, "the strongest with the right secret rules", func() bool { return c.lord() == c.nodes[1] })
	s, err := c.nodes[1].status()
	if err != nil {
		t.Fatal(err)
	}
	if l := s.Legions[0]; l.Votes != 2 || len(l.Members) != 2 {
		t.Errorf("the lord counts %d votes of %d members, want 2 of 2: %+v", l.Votes, len(l.Members), l)
	}
	// With only one of the two right ones left the quorum of 2 is not met, whatever the third one says.
	c.nodes[1].kill()
	n3, n1 := c.nodes[2], c.nodes[0]
	began := time.Now()
	until(t, 20*time.Second, "ten seconds without a lord", func() bool {
		for _, p := range []*proc{n1, n3} {
			if s, err := p.status(); err == nil && len(s.Legions) > 0 && s.Legions[0].IsLord {
				t.Fatalf("%s is lord without a quorum of votes", p.name)
			}
		}
		return time.Since(began) > 10*time.Second
	})
}

// TestRestart stops all nodes and starts them on other ports: identities, counters and growing epochs are
// kept. Then one loses its data: it comes back as somebody new, and nothing acknowledged is lost.
func TestRestart(t *testing.T) {
	c := newCrew(t, 3, "[cohort]\ncache2 = name=c,items=100\n", func(i int) []string {
		return []string{"--legion", fmt.Sprintf("l %d bf-cbc:abc", 30-10*i)}
	})
	c.startAll()
	c.ready()
	lord := c.waitLord(15 * time.Second)
	epoch := c.epoch(lord)
	for i := range 30 {
		if _, err := c.nodes[i%3].cache(api.CacheRequest{Verb: "inc", Key: "visits"}); err != nil {
			t.Fatal(err)
		}
	}
	ids := map[string]string{}
	for _, p := range c.nodes {
		s, err := p.status()
		if err != nil {
			t.Fatal(err)
		}
		ids[p.name] = s.ID
	}
	for _, p := range c.nodes {
		p.stop()
	}
	for _, p := range c.nodes {
		p.gossip, p.http = freeAddr(t), freeAddr(t)
	}
	c.startAll()
	c.ready()
	for _, p := range c.nodes {
		if s, err := p.status(); err != nil || s.ID != ids[p.name] || s.Boot != 2 {
			t.Errorf("%s is %s in boot %d (%v), want %s in boot 2", p.name, s.ID, s.Boot, err, ids[p.name])
		}
	}
	c.wantVisits(30)
	if now := c.epoch(c.waitLord(15 * time.Second)); now <= epoch {
		t.Errorf("epoch %d after the restart, want more than %d", now, epoch)
	}

	lost := c.nodes[2]
	lost.kill()
	if err := os.RemoveAll(lost.data); err != nil {
		t.Fatal(err)
	}
	lost.start()
	c.ready()
	until(t, 30*time.Second, "the new identity votes and the old one is gone", func() bool {
		s, err := c.nodes[0].status()
		if err != nil {
			return false
		}
		for _, g := range s.Groups {
			if len(g.Voters) != 3 || len(g.Others) != 0 || !slices.Contains(g.Voters, lost.name) {
				return false
			}
		}
		return true
	})
	if s, err := lost.status(); err != nil || s.ID == ids[lost.name] {
		t.Errorf("%s came back as %s (%v), want a new identity", lost.name, s.ID, err)
	}
	c.wantVisits(30)
	// The new voter carries weight: with another one gone the two go on.
	c.nodes[0].kill()
	if _, err := lost.cache(api.CacheRequest{Verb: "inc", Key: "visits"}); err != nil {
		t.Errorf("a write with the new voter and one other: %v", err)
	}
}

func (c *crew) wantVisits(n int64) {
	c.t.Helper()
	for _, p := range c.nodes {
		a, err := p.cache(api.CacheRequest{Verb: "get", Key: "visits"})
		if err != nil || a.Number == nil || *a.Number != n {
			c.t.Errorf("visits on %s = %v (%v), want %d", p.name, a.Number, err, n)
		}
	}
}

// TestMinority: the side without a majority has no lord and takes no write, and says so within its
// deadline, with the exit code a script can act on.
func TestMinority(t *testing.T) {
	c := newCrew(t, 3, "[cohort]\ncache2 = name=c,items=100\nroute-run = cacheinc:key=n\nroute-run = return:200\n", func(i int) []string {
		return []string{"--legion", fmt.Sprintf("l %d bf-cbc:abc", 30-10*i)}
	})
	c.startAll()
	c.ready()
	c.waitLord(15 * time.Second)
	left := c.nodes[0]
	c.nodes[1].kill()
	c.nodes[2].kill()
	until(t, 10*time.Second, "the last node is no lord", func() bool {
		s, err := left.status()
		return err == nil && !s.Legions[0].IsLord && s.Legions[0].ValidFor == 0
	})
	began := time.Now()
	out, code := c.cohort("cache", "inc", "x", "--data", left.data)
	if code != 4 || !strings.Contains(out, "quorum") {
		t.Errorf("cohort cache inc without a quorum = %d, %q; want 4 and a reason", code, out)
	}
	if took := time.Since(began); took > 7*time.Second {
		t.Errorf("the answer took %s", took)
	}
	if _, code := c.cohort("status", "--data", left.data); code != 4 {
		t.Errorf("cohort status without a quorum = %d, want 4", code)
	}
	if got := get(left.http); got != 503 {
		t.Errorf("a request that counts answered %d without a quorum, want 503", got)
	}
}
