package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cohortd/cohort/e2e/memnet"
)

// testKeys are derived once for all tests: the derivation is slow on purpose.
var testKeys = sync.OnceValue(func() *Keys { return mustKeys("a secret of the tests, long enough", "") })

var otherKeys = sync.OnceValue(func() *Keys { return mustKeys("another secret, which is long enough too", "") })

func mustKeys(secret, old string) *Keys {
	k, err := DeriveKeys(secret, old, "test")
	if err != nil {
		panic(err)
	}
	return k
}

// world is a network in memory and what is the same for all nodes on it.
type world struct {
	t    *testing.T
	net  *memnet.Net
	seed []string // cluster-join of every node
	log  *slog.Logger
}

// bubble runs a test in virtual time, with the keys made outside, where their derivation blocks nobody.
func bubble(t *testing.T, f func(w *world)) {
	t.Helper()
	testKeys()
	otherKeys()
	synctest.Test(t, func(t *testing.T) {
		log := slog.New(slog.DiscardHandler)
		if testing.Verbose() {
			log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
		}
		f(&world{t: t, net: memnet.New(t), seed: []string{"10.0.0.1:7400", "10.0.0.2:7400"}, log: log})
	})
}

// testNode is a node that runs.
type testNode struct {
	*Cluster
	w     *world
	name  string
	host  *memnet.Host
	end   context.CancelFunc
	ended chan struct{}
	err   error // of Run, once ended is closed
	news  *notes
}

type option func(*setup)

type setup struct {
	ip   string
	id   *Identity
	keys *Keys
	meta Meta
}

func at(ip string) option           { return func(s *setup) { s.ip = ip } }
func as(id *Identity) option        { return func(s *setup) { s.id = id } }
func with(k *Keys) option           { return func(s *setup) { s.keys = k } }
func of(clusterID string) option    { return func(s *setup) { s.meta.ClusterID = clusterID } }
func saying(change Meta) option     { return func(s *setup) { s.meta = change } }
func ipOf(number int) string        { return fmt.Sprintf("10.0.0.%d", number) }
func nameOf(number int) string      { return fmt.Sprintf("n%d", number) }
func identity(number int) *Identity { return identityBoot(number, 1) }

// identityBoot is the same id at its nth start.
func identityBoot(number int, counter uint32) *Identity {
	return NewIdentity(fmt.Sprintf("00000000-0000-4000-8000-%012d", number), counter)
}

// node makes node number n, and has its handlers and announcements ready.
func (w *world) node(n int, options ...option) *testNode {
	w.t.Helper()
	s := setup{ip: ipOf(n), id: identity(n), keys: testKeys()}
	for _, o := range options {
		o(&s)
	}
	name := nameOf(n)
	node := &testNode{w: w, name: name, host: w.net.Host(name, s.ip), ended: make(chan struct{}), news: &notes{}}
	cfg := Config{Name: "test", Node: name, Bind: s.ip + ":7400", Join: w.seed, Secret: "checked elsewhere"}
	c, err := Open(cfg, s.id, s.keys, s.meta, node.host, w.log.With("node", name))
	if err != nil {
		w.t.Fatal(err)
	}
	node.Cluster = c
	c.Handle(1, func(_ context.Context, from string, payload []byte) ([]byte, error) {
		return append([]byte(from+" "), payload...), nil
	})
	c.SetGossip(node.news)
	return node
}

// run starts it, and makes sure that it ends with the test.
func (n *testNode) run() *testNode {
	ctx, cancel := context.WithCancel(context.Background())
	n.end = cancel
	go func() {
		defer close(n.ended)
		n.err = n.Run(ctx, func() {})
	}()
	n.w.t.Cleanup(n.stop)
	return n
}

func (n *testNode) stop() {
	n.end()
	<-n.ended
}

// kill takes the node off the network at once and then ends what is left of it.
func (n *testNode) kill() {
	n.w.net.Kill(n.name)
	n.stop()
}

// start runs nodes 1 to count.
func (w *world) start(count int) []*testNode {
	w.t.Helper()
	var nodes []*testNode
	for i := range count {
		nodes = append(nodes, w.node(i+1).run())
	}
	return nodes
}

// notes is a Gossip for announcements of the form "key sequence text".
type notes struct {
	mu     sync.Mutex
	newest map[string]string
	seq    map[string]int
}

func (s *notes) Merge(msg []byte) (string, bool) {
	var key, text string
	var seq int
	if n, _ := fmt.Sscanf(string(msg), "%s %d %s", &key, &seq, &text); n != 3 {
		return "", false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seq == nil {
		s.seq, s.newest = map[string]int{}, map[string]string{}
	}
	if seq <= s.seq[key] {
		return key, false
	}
	s.seq[key], s.newest[key] = seq, string(msg)
	return key, true
}

func (s *notes) State() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out [][]byte
	for _, m := range s.newest {
		out = append(out, []byte(m))
	}
	return out
}

func (s *notes) get(key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest[key]
}

// eventually waits in virtual time for something to hold.
func (w *world) eventually(within time.Duration, what string, holds func() bool) {
	w.t.Helper()
	for until := time.Now().Add(within); ; time.Sleep(20 * time.Millisecond) {
		if holds() {
			return
		}
		if time.Now().After(until) {
			w.t.Fatalf("after %s not yet: %s", within, what)
		}
	}
}

// living are the names of the living members as a node sees them.
func living(n *testNode) string {
	var names []string
	for _, m := range n.Members() {
		if m.Alive {
			names = append(names, m.Name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func (w *world) wantAlive(within time.Duration, want string, nodes ...*testNode) {
	w.t.Helper()
	for _, n := range nodes {
		w.eventually(within, n.name+" sees "+want+"; it sees "+living(n), func() bool { return living(n) == want })
	}
}

func (w *world) wantCall(from, to *testNode) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	got, err := from.Call(ctx, to.id.ID, 1, []byte("hi"))
	if want := from.id.ID + " hi"; err != nil || string(got) != want {
		w.t.Fatalf("%s.Call(%s) = %q, %v; want %q", from.name, to.name, got, err, want)
	}
}

func TestNodesJoin(t *testing.T) {
	for _, count := range []int{3, 5} {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			bubble(t, func(w *world) {
				nodes := w.start(count)
				want := "n1 n2 n3 n4 n5"[:3*count-1]
				w.wantAlive(3*time.Second, want, nodes...)
				for _, from := range nodes {
					for _, to := range nodes {
						w.wantCall(from, to)
					}
				}
				m := nodes[0].Members()
				if !slices.IsSortedFunc(m, func(a, b Member) int { return strings.Compare(a.ID, b.ID) }) {
					t.Errorf("Members is not sorted by id: %v", m)
				}
				if self := nodes[0].Self(); !slices.Contains(m, self) {
					t.Errorf("Members = %v lacks Self = %v", m, self)
				}
			})
		})
	}
}

func TestKilledNodeIsSeenDead(t *testing.T) {
	for name, kill := range map[string]func(*world, *testNode){
		"process": func(_ *world, n *testNode) { n.kill() },
		"machine": func(w *world, n *testNode) { w.net.Isolate(n.name); n.kill() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				nodes := w.start(3)
				w.wantAlive(3*time.Second, "n1 n2 n3", nodes...)
				changed := nodes[0].Changed()
				kill(w, nodes[2])
				w.wantAlive(3*time.Second, "n1 n2", nodes[:2]...)
				select {
				case <-changed:
				default:
					t.Error("Changed was not closed")
				}
				i := slices.IndexFunc(nodes[0].Members(), func(m Member) bool { return m.ID == nodes[2].id.ID })
				if i < 0 {
					t.Errorf("Members = %v; want the dead node kept", nodes[0].Members())
				}
				w.wantCall(nodes[0], nodes[1])
			})
		})
	}
}

func TestStoppedNodeSaysFarewell(t *testing.T) {
	bubble(t, func(w *world) {
		nodes := w.start(3)
		w.wantAlive(3*time.Second, "n1 n2 n3", nodes...)
		nodes[2].stop()
		if nodes[2].err != nil {
			t.Errorf("Run = %v, want nil", nodes[2].err)
		}
		w.wantAlive(500*time.Millisecond, "n1 n2", nodes[:2]...)
	})
}

func TestIsolatedNodeRejoins(t *testing.T) {
	for name, cut := range map[string]time.Duration{"after a moment": 4 * time.Second, "long forgotten": 5 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				nodes := w.start(3)
				w.wantAlive(3*time.Second, "n1 n2 n3", nodes...)
				w.net.Isolate("n3")
				w.wantAlive(5*time.Second, "n1 n2", nodes[:2]...)
				w.wantAlive(5*time.Second, "n3", nodes[2])
				time.Sleep(cut)
				w.net.Heal()
				w.wantAlive(15*time.Second, "n1 n2 n3", nodes...)
				w.wantCall(nodes[2], nodes[0])
				w.wantCall(nodes[0], nodes[2])
			})
		})
	}
}

func TestRestartOnAnotherAddress(t *testing.T) {
	for name, ip := range map[string]string{"another": "10.0.0.33", "the same": ipOf(3)} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				nodes := w.start(3)
				w.wantAlive(3*time.Second, "n1 n2 n3", nodes...)
				nodes[2].kill()
				again := w.node(3, at(ip), as(identityBoot(3, 2))).run()
				w.eventually(2*time.Second, "the new boot is known", func() bool {
					addr, ok := nodes[0].Address(again.id.ID)
					i := slices.IndexFunc(nodes[0].Members(), func(m Member) bool { return m.ID == again.id.ID })
					return ok && addr == ip+":7400" && nodes[0].Members()[i].Boot == again.id.Boot()
				})
				w.wantCall(nodes[0], again)
				w.wantCall(again, nodes[1])
				time.Sleep(time.Minute)
				w.wantAlive(0, "n1 n2 n3", nodes[0], nodes[1], again)
				if n := len(nodes[0].Members()); n != 3 {
					t.Errorf("%d members, want one entry for each id: %v", n, nodes[0].Members())
				}
			})
		})
	}
}

func TestMetaSpreads(t *testing.T) {
	bubble(t, func(w *world) {
		nodes := []*testNode{w.node(1, saying(Meta{Expect: 3, Fresh: true, Protocol: 1})).run(), w.node(2).run(), w.node(3).run()}
		w.wantAlive(3*time.Second, "n1 n2 n3", nodes...)
		want := Meta{Expect: 3, Protocol: 1, ClusterID: "blue", Draining: true, HTTP: "1.2.3.4:80", Sees: "ab"}
		nodes[0].SetMeta(func(m *Meta) {
			m.Fresh, m.ClusterID, m.Draining, m.HTTP, m.Sees = false, "blue", true, "1.2.3.4:80", "ab"
		})
		if got := nodes[0].Self().Meta; got != want {
			t.Errorf("Self().Meta = %+v, want %+v", got, want)
		}
		for _, n := range nodes {
			w.eventually(2*time.Second, "the new meta is known", func() bool { return n.Members()[0].Meta == want })
		}
		nodes[0].SetMeta(func(m *Meta) { m.HTTP = strings.Repeat("x", 1000) })
		if got := nodes[0].Self().Meta; got != want {
			t.Errorf("after what does not fit Self().Meta = %+v, want %+v", got, want)
		}
	})
}

func TestCopiedIdentityIsRefused(t *testing.T) {
	bubble(t, func(w *world) {
		nodes := w.start(3)
		w.wantAlive(3*time.Second, "n1 n2 n3", nodes...)
		ready := false
		clone := w.node(4, as(identityBoot(3, 2)))
		err := clone.Run(context.Background(), func() { ready = true })
		var found *CloneError
		if !errors.As(err, &found) || found.Addr != "10.0.0.3:7400" || found.Boot != nodes[2].id.Boot() {
			t.Fatalf("Run of the copy = %v, want a CloneError about n3", err)
		}
		if ready {
			t.Error("the copy was ready for a moment")
		}
		w.eventually(2*time.Second, "all talk to n3 again", func() bool {
			addr, _ := nodes[0].Address(nodes[2].id.ID)
			return addr == "10.0.0.3:7400" && living(nodes[0]) == "n1 n2 n3"
		})
		w.wantCall(nodes[0], nodes[2])
	})
}

func TestCopiedIdentitiesMeetLater(t *testing.T) {
	bubble(t, func(w *world) {
		first := w.node(1).run()
		old := w.node(3, as(identityBoot(9, 7))).run()
		w.wantAlive(3*time.Second, "n1 n3", first, old)
		w.net.Host("n4", ipOf(4)) // plugged in, so that it can be cut off before it starts
		w.net.Isolate("n4")
		w.net.Kill("n4")
		clone := w.node(4, as(identityBoot(9, 8))).run()
		w.wantAlive(5*time.Second, "n4", clone)
		w.net.Heal()
		select {
		case <-clone.ended:
		case <-time.After(20 * time.Second):
			t.Fatal("the copy still runs")
		}
		if found := new(CloneError); !errors.As(clone.err, &found) {
			t.Errorf("Run of the copy = %v, want a CloneError", clone.err)
		}
		w.wantAlive(5*time.Second, "n1 n3", first, old)
	})
}

func TestOtherClusterIsRefused(t *testing.T) {
	bubble(t, func(w *world) {
		nodes := []*testNode{w.node(1, of("blue")).run(), w.node(2, of("blue")).run()}
		w.wantAlive(3*time.Second, "n1 n2", nodes...)
		stranger := w.node(3, of("red"))
		err := stranger.Run(context.Background(), func() {})
		var foreign *ForeignError
		if !errors.As(err, &foreign) || foreign.Ours != "red" || foreign.Theirs != "blue" {
			t.Fatalf("Run = %v, want a ForeignError", err)
		}
		w.wantAlive(0, "n1 n2", nodes...)
		if n := len(nodes[0].Members()) + len(nodes[1].Members()); n != 4 {
			t.Errorf("members: %v", nodes[0].Members())
		}
		if nodes[0].Stats().Foreign+nodes[1].Stats().Foreign == 0 {
			t.Error("Stats().Foreign = 0, want the refusals counted")
		}
		fresh := w.node(4).run()
		w.wantAlive(3*time.Second, "n1 n2 n4", append(nodes, fresh)...)
	})
}

// Two clusters that only gossip can bring together, through a node that knows both.
func TestOtherClusterIsNotGossipedIn(t *testing.T) {
	bubble(t, func(w *world) {
		w.seed = []string{"10.0.0.1:7400"}
		blue := w.node(1, of("blue")).run()
		w.seed = []string{"10.0.0.2:7400"}
		red := w.node(2, of("red")).run()
		w.seed = []string{"10.0.0.1:7400", "10.0.0.2:7400"}
		both := w.node(3).run()
		time.Sleep(30 * time.Second)
		w.wantAlive(0, "n1 n3", blue)
		w.wantAlive(0, "n2 n3", red)
		both.SetMeta(func(m *Meta) { m.ClusterID = "blue" })
		w.wantAlive(0, "n1 n3", both)
		w.wantAlive(10*time.Second, "n2", red)
	})
}

func TestOtherSecretIsRefused(t *testing.T) {
	bubble(t, func(w *world) {
		nodes := w.start(2)
		w.wantAlive(3*time.Second, "n1 n2", nodes...)
		stranger := w.node(3, with(otherKeys())).run()
		time.Sleep(30 * time.Second)
		w.wantAlive(0, "n1 n2", nodes...)
		w.wantAlive(0, "n3", stranger)
		if s := nodes[0].Stats(); s.HandshakesFailed == 0 {
			t.Errorf("Stats = %+v, want failed handshakes", s)
		}
	})
}

func TestSecretIsChanged(t *testing.T) {
	const one, two = "the first secret of the cluster.", "the second secret of the cluster"
	both, swapped, last := mustKeys(one, two), mustKeys(two, one), mustKeys(two, "")
	bubble(t, func(w *world) {
		for step, pair := range [][2]*Keys{{mustKeys(one, ""), both}, {both, swapped}, {swapped, last}} {
			a, b := w.node(1, with(pair[0])).run(), w.node(2, with(pair[1])).run()
			w.wantAlive(3*time.Second, "n1 n2", a, b)
			time.Sleep(30 * time.Second)
			w.wantAlive(0, "n1 n2", a, b)
			w.wantCall(a, b)
			w.wantCall(b, a)
			for _, n := range []*testNode{a, b} {
				if s := n.Stats(); s.PacketsRefused+s.HandshakesFailed != 0 {
					t.Errorf("round %d: %s has %+v, want nothing refused", step, n.name, s)
				}
				n.kill()
			}
		}
	})
}

func TestGossipReachesAll(t *testing.T) {
	for name, trouble := range map[string]func(*memnet.Net){
		"a good network":  func(*memnet.Net) {},
		"a third is lost": func(n *memnet.Net) { n.Loss(0.3) },
		"UDP is lost":     func(n *memnet.Net) { n.Loss(1) },
		"a cable is cut":  func(n *memnet.Net) { n.Cut("n1", "n5") },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				nodes := w.start(5)
				w.wantAlive(3*time.Second, "n1 n2 n3 n4 n5", nodes...)
				time.Sleep(time.Second) // the links are made
				trouble(w.net)
				for i := range 3 {
					msg := []byte(fmt.Sprintf("n1 %d text", i+1))
					nodes[0].news.Merge(msg)
					nodes[0].Spread("n1", msg)
				}
				for _, n := range nodes {
					w.eventually(2*time.Second, "the announcement is at "+n.name, func() bool { return n.news.get("n1") == "n1 3 text" })
				}
			})
		})
	}
}

// A joiner gets what was said before it came, and a message too long for a packet arrives all the same.
func TestStateExchange(t *testing.T) {
	bubble(t, func(w *world) {
		first := w.node(1).run()
		long := "k 1 " + strings.Repeat("x", 5000)
		for _, msg := range []string{"n1 1 a", long} {
			first.news.Merge([]byte(msg))
			first.Spread(strings.Fields(msg)[0], []byte(msg))
		}
		second := w.node(2).run()
		w.eventually(3*time.Second, "the state is at n2", func() bool {
			return second.news.get("n1") == "n1 1 a" && second.news.get("k") == long
		})
	})
}

// With UDP lost altogether memberlist's TCP pings keep everybody alive.
func TestMembersWithoutUDP(t *testing.T) {
	bubble(t, func(w *world) {
		w.net.Loss(1)
		nodes := w.start(3)
		w.wantAlive(15*time.Second, "n1 n2 n3", nodes...)
		time.Sleep(30 * time.Second)
		w.wantAlive(0, "n1 n2 n3", nodes...)
		w.wantCall(nodes[0], nodes[2])
	})
}

func TestRunIsOverAtOnce(t *testing.T) {
	bubble(t, func(w *world) {
		n := w.node(1)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := n.Run(ctx, func() {}); err != nil {
			t.Errorf("Run with an ended context = %v", err)
		}
		if _, err := n.Call(context.Background(), "x", 1, nil); !errors.Is(err, ErrNoMember) {
			t.Errorf("Call afterwards: %v", err)
		}
		if _, err := n.Streams('c').Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept afterwards: %v", err)
		}
		if _, err := n.host.Listen("10.0.0.1:7400"); err != nil {
			t.Errorf("the port is still taken: %v", err)
		}
	})
}
