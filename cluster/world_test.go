package cluster

import (
	"context"
	"fmt"
	"log/slog"
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
