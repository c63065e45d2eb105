package cachefsm

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cohortd/cohort/cachefsm/cache"
)

const day = 24 * time.Hour

func voter(id string) Server  { return Server{ID: id, Name: "host-" + id, Voter: true, Alive: true} }
func reader(id string) Server { return Server{ID: id, Name: "host-" + id, Alive: true} }

func (s Server) ready() Server               { s.CaughtUp = true; return s }
func (s Server) client() Server              { s.Client = true; return s }
func (s Server) named(n string) Server       { s.Name = n; return s }
func (s Server) dead(d time.Duration) Server { s.Alive, s.Away = false, d; return s }

func peersOf(servers []Server) (peers []Peer) {
	for _, s := range servers {
		peers = append(peers, Peer{s.ID, s.Name, s.Alive, s.Client})
	}
	return peers
}

func TestNextChange(t *testing.T) {
	three := []Server{voter("a"), voter("b"), voter("c")}
	five := append(slices.Clone(three), voter("d"), voter("e"))
	with := func(base []Server, more ...Server) []Server { return append(slices.Clone(base), more...) }
	for name, tt := range map[string]struct {
		servers []Server
		more    []Peer
		want    string
	}{
		"nothing to do":                         {three, nil, ""},
		"a new node follows first":              {three, []Peer{{ID: "x", Name: "new", Alive: true}}, "add x"},
		"the lowest of many":                    {three, []Peer{{ID: "y", Alive: true}, {ID: "x", Alive: true}}, "add x"},
		"a dead stranger is left alone":         {three, []Peer{{ID: "x", Name: "new"}}, ""},
		"a client follows":                      {three, []Peer{{ID: "x", Alive: true, Client: true}}, "add x"},
		"a client stays without a vote":         {with(three, reader("x").client().ready()), nil, ""},
		"who lags stays without a vote":         {with(three, reader("x")), nil, ""},
		"who caught up votes":                   {with(three, reader("x").ready()), nil, "promote x"},
		"five is enough":                        {with(five, reader("x").ready()), nil, ""},
		"a dead voter keeps its seat":           {with(five[:4], voter("e").dead(23*time.Hour)), nil, ""},
		"but not longer than a day":             {with(five[:4], voter("e").dead(day)), nil, "remove e"},
		"three are not made two":                {with(three[:2], voter("c").dead(9*day)), nil, ""},
		"unless a spare takes the seat":         {with(three[:2], voter("c").dead(9*day), reader("x").ready().client(), reader("y").ready()), nil, "promote y"},
		"with five a spare waits for the day":   {with(five[:4], voter("e").dead(time.Hour), reader("x").ready()), nil, ""},
		"and takes the seat then":               {with(five[:4], voter("e").dead(day), reader("x").ready()), nil, "remove e"},
		"a dead follower goes after a day":      {with(three, reader("x").dead(day)), nil, "remove x"},
		"same name, new id, still behind":       {with(three[:2], voter("c").dead(time.Second), reader("x").named("host-c")), nil, ""},
		"same name, new id, caught up":          {with(three[:2], voter("c").dead(time.Second), reader("x").named("host-c").ready()), nil, "remove c"},
		"then the new one votes":                {with(three[:2], reader("x").named("host-c").ready()), nil, "promote x"},
		"same name, but the old one is alive":   {with(three, reader("x").named("host-c")), nil, ""},
		"a follower's old id goes at once":      {with(three, reader("x").dead(0), reader("y").named("host-x")), nil, "remove x"},
		"a voter that became a client":          {with(three[:2], voter("c").client()), nil, "demote c"},
		"no demotion that costs the majority":   {[]Server{voter("a"), voter("b").client(), voter("c").dead(0)}, nil, ""},
		"the leader does not demote itself":     {[]Server{voter("a").client(), voter("b"), voter("c")}, nil, ""},
		"one node becomes two":                  {[]Server{voter("a"), reader("x").ready()}, nil, "promote x"},
		"two dead of five: one is taken first":  {with(five[:3], voter("d").dead(day), voter("e").dead(day)), nil, "remove d"},
		"new nodes come before everything else": {with(five[:4], voter("e").dead(day)), []Peer{{ID: "x", Alive: true}}, "add x"},
		"nobody is removed for an unknown name": {with(three[:2], voter("c").named("").dead(0), reader("x").named("").ready().client()), nil, ""},
	} {
		got := ""
		if c, ok := NextChange("a", tt.servers, append(peersOf(tt.servers), tt.more...), day); ok {
			got = c.Kind.String() + " " + c.ID
		}
		if got != tt.want {
			t.Errorf("%s: NextChange = %q, want %q", name, got, tt.want)
		}
	}
}

// Whatever happens to the nodes, changes made one by one never cost a majority that was there, never make
// more than five voters, and come to an end.
func TestNextChangeIsSafe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var servers []Server
		for i := range rapid.IntRange(1, 9).Draw(t, "servers") {
			servers = append(servers, Server{
				ID: fmt.Sprint(i), Name: fmt.Sprint(rapid.IntRange(0, 9).Draw(t, "name")),
				Voter: i == 0 || i < 5 && rapid.Bool().Draw(t, "voter"), Alive: i == 0 || rapid.Bool().Draw(t, "alive"),
				Client: rapid.Bool().Draw(t, "client"), CaughtUp: rapid.Bool().Draw(t, "ready"),
				Away: time.Duration(rapid.IntRange(0, 2).Draw(t, "away")) * day,
			})
		}
		peers := peersOf(servers)
		peers = append(peers, Peer{ID: "new", Name: "3", Alive: true})
		if !staysSafe(servers, 0, 0) {
			return // no leader to change anything
		}
		for n := 0; ; n++ {
			c, ok := NextChange("0", servers, peers, day)
			if !ok {
				break
			}
			if n > 20 {
				t.Fatalf("no end of changes: %+v", c)
			}
			servers = applied(servers, c)
			v, alive := count(servers)
			if alive < v/2+1 || v > maxVoters || v == 0 {
				t.Fatalf("after %v %s (%s): %d of %d voters alive", c.Kind, c.ID, c.Why, alive, v)
			}
		}
	})
}

func applied(servers []Server, c Change) []Server {
	i := slices.IndexFunc(servers, func(s Server) bool { return s.ID == c.ID })
	switch c.Kind {
	case AddNonvoter:
		return append(servers, Server{ID: c.ID, Alive: true})
	case Promote:
		servers[i].Voter = true
	case Demote:
		servers[i].Voter = false
	case Remove:
		return slices.Delete(servers, i, i+1)
	}
	return servers
}

func TestShouldBootstrap(t *testing.T) {
	sees := MemberSet([]string{"b", "a", "c"})
	fresh := func(id string) Candidate { return Candidate{ID: id, Expect: 3, Fresh: true, Sees: sees} }
	change := func(c Candidate, f func(*Candidate)) Candidate { f(&c); return c }
	a, b, c := fresh("a"), fresh("b"), fresh("c")
	client := Candidate{ID: "0", Fresh: true, Client: true}
	for name, tt := range map[string]struct {
		self   Candidate
		all    []Candidate
		expect int
		want   []string
	}{
		"three of three":                 {a, []Candidate{c, a, b}, 3, []string{"a", "b", "c"}},
		"not the lowest":                 {b, []Candidate{a, b, c}, 3, nil},
		"one is missing":                 {a, []Candidate{a, b}, 3, nil},
		"one expects another number":     {a, []Candidate{a, b, change(c, func(c *Candidate) { c.Expect = 4 })}, 3, nil},
		"one sees other nodes":           {a, []Candidate{a, b, change(c, func(c *Candidate) { c.Sees = MemberSet([]string{"c"}) })}, 3, nil},
		"one has state":                  {a, []Candidate{a, b, change(c, func(c *Candidate) { c.Fresh = false })}, 3, nil},
		"one belongs to a cluster":       {a, []Candidate{a, b, change(c, func(c *Candidate) { c.ClusterID = "x" })}, 3, nil},
		"a client of a cluster is there": {a, []Candidate{a, b, c, change(client, func(c *Candidate) { c.ClusterID = "x" })}, 3, nil},
		"clients do not count":           {a, []Candidate{client, a, b, c}, 3, []string{"a", "b", "c"}},
		"a client never starts one":      {client, []Candidate{client}, 1, nil},
		"more than expected":             {a, []Candidate{a, b, c, fresh("d")}, 3, []string{"a", "b", "c", "d"}},
		"alone":                          {change(a, func(c *Candidate) { c.Expect = 1 }), []Candidate{change(a, func(c *Candidate) { c.Expect = 1 })}, 1, []string{"a"}},
		"nothing is expected":            {a, []Candidate{a, b, c}, 0, nil},
		"the same one twice is one":      {a, []Candidate{a, a, b}, 3, nil},
		"at most five vote":              {a, []Candidate{a, b, c, fresh("d"), fresh("e"), fresh("f")}, 3, []string{"a", "b", "c", "d", "e"}},
	} {
		got, ok := ShouldBootstrap(tt.self, tt.all, tt.expect)
		if !cmp.Equal(got, tt.want) || ok != (tt.want != nil) {
			t.Errorf("%s: ShouldBootstrap = %q, %v; want %q", name, got, ok, tt.want)
		}
	}
}

// town is who lives where, for all nodes alike.
type town struct {
	mu      sync.Mutex
	peers   map[string]Peer
	changed chan struct{}
}

func newTown() *town { return &town{peers: map[string]Peer{}, changed: make(chan struct{})} }

func (p *town) set(peer Peer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.peers[peer.ID] = peer
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *town) Peers() (all []Peer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, peer := range p.peers {
		all = append(all, peer)
	}
	return all
}

func (p *town) Changed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

func (r *rig) wantMembers(voters, others []string) {
	r.t.Helper()
	var v, o []string
	eventually(r.t, fmt.Sprintf("voters %v and others %v", voters, others), func() bool {
		led := r.leader()
		if led == nil {
			return false
		}
		v, o = led.g.Members()
		slices.Sort(v)
		slices.Sort(o)
		return slices.Equal(v, voters) && slices.Equal(o, others)
	})
}

// Nodes come, follow, catch up by a snapshot and vote, up to five; one is wiped and comes back under a new id.
func TestMembersComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		people := newTown()
		r := newRig(t, func(o *Options) { o.Peers, o.SnapshotEvery = people, 40 })
		r.start("n1")
		people.set(Peer{"n1", "host1", true, false})
		if err := r.nodes["n1"].g.Bootstrap([]string{"n1"}); err != nil {
			t.Fatal(err)
		}
		r.waitLeader()
		r.do("n1", cache.Define(cache.Spec{Name: "c", Items: 1000}))
		for i := range 200 {
			r.do("n1", inc(fmt.Sprint(i%10)))
		}
		time.Sleep(time.Minute) // a snapshot is taken and the log shortened
		if first, _ := r.nodes["n1"].g.disk.FirstIndex(); first < 100 {
			t.Fatalf("the log still begins at %d; nobody will need a snapshot", first)
		}
		var want []string
		for i := 2; i <= 5; i++ {
			id := fmt.Sprint("n", i)
			r.start(id)
			people.set(Peer{id, fmt.Sprint("host", i), true, false})
			want = append(want, id)
			r.wantMembers(append([]string{"n1"}, want...), nil)
		}
		r.start("n6")
		people.set(Peer{"n6", "host6", true, false})
		r.start("n7")
		people.set(Peer{"n7", "host7", true, true})
		five := []string{"n1", "n2", "n3", "n4", "n5"}
		r.wantMembers(five, []string{"n6", "n7"})
		time.Sleep(time.Second)
		for id := range r.nodes {
			if res := r.read(id, cache.Get("c", "3"), false); res.Num != 20 {
				t.Errorf("on %s the counter is %+v, want 20", id, res)
			}
			if res := r.do(id, inc("k")); !res.IsNum {
				t.Errorf("increment on %s = %+v", id, res)
			}
		}

		gone := r.follower().id
		if gone == "n6" || gone == "n7" {
			t.Fatalf("follower is %s", gone)
		}
		r.kill(gone)
		people.set(Peer{gone, "host-of-" + gone, false, false})
		r.start("n8")
		people.set(Peer{"n8", "host-of-" + gone, true, false})
		left := slices.DeleteFunc(five, func(id string) bool { return id == gone })
		eventually(t, "the old id has gone and a living one has its seat", func() bool {
			led := r.leader()
			if led == nil {
				return false
			}
			v, _ := led.g.Members()
			return len(v) == 5 && !slices.Contains(v, gone)
		})
		for _, id := range left {
			if res := r.do(id, inc("k")); !res.IsNum {
				t.Errorf("increment on %s = %+v", id, res)
			}
		}
	})
}

// A node that was cut off until the others' logs were shortened comes back by a snapshot and goes on.
func TestLaggingNodeCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := cluster(t, 3, func(o *Options) { o.SnapshotEvery = 40 })
		led := r.waitLeader()
		f := r.follower()
		r.do(f.id, inc("before"))
		r.w.cutOff(f.id)
		for i := range 300 {
			r.do(led.id, cache.Math("c", fmt.Sprint(i%30), cache.Inc, 1, time.Hour))
		}
		time.Sleep(time.Minute)
		if first, _ := led.g.disk.FirstIndex(); first < 100 {
			t.Fatalf("the log still begins at %d; nobody will need a snapshot", first)
		}
		r.w.heal()
		eventually(t, "the lagging node has it all", func() bool {
			return r.read(f.id, cache.Get("c", "7"), false).Num == 10
		})
		if res := r.do(f.id, inc("before")); res.Num != 2 {
			t.Errorf("increment on the node that lagged = %+v, want 2", res)
		}
		r.transfer(f.id)
		if res := r.do(led.id, inc("before")); res.Num != 3 {
			t.Errorf("increment when it leads = %+v, want 3", res)
		}
	})
}

func TestRemove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := cluster(t, 3, nil)
		r.transfer("n1")
		if err := r.nodes["n2"].g.Remove(r.ctx(time.Second), "n3"); err == nil {
			t.Error("a follower removed a member")
		}
		if err := r.nodes["n1"].g.Remove(r.ctx(time.Second), "n3"); err != nil {
			t.Error(err)
		}
		r.wantMembers([]string{"n1", "n2"}, nil)
		r.do("n2", inc("k"))
	})
}
