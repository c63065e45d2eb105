package legion

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cohortd/cohort/cachefsm/lord"
	"github.com/cohortd/cohort/cachefsm/op"
	"github.com/cohortd/cohort/clock"
)

// world is some nodes around a model of the control group, inside of a bubble. It checks all the time that at most one
// node is lord and that wards of two epochs never live at once.
type world struct {
	t     *testing.T
	began time.Time
	nodes map[string]*node
	group *group
	runs  sync.WaitGroup
	mute  bool // nodes that are added are not heard

	mu    sync.Mutex
	cuts  map[[2]string]bool
	alive map[uint64]int // wards by epoch
}

const (
	nodeA = "aaaaaaaa-0000-4000-8000-000000000001"
	nodeB = "bbbbbbbb-0000-4000-8000-000000000002"
	nodeC = "cccccccc-0000-4000-8000-000000000003"
)

var ticketKey = []byte("the key that comes from the cluster's secret")

// node is one machine: it can be killed and come back as another boot.
type node struct {
	w       *world
	id      string
	cfg     Config
	legion  *Legion
	tickets *Tickets
	clock   *testClock
	table   *lord.Table
	guard   *guard
	counter uint64
	boot    uint64
	dead    bool // the main process is gone
	unheard bool // the others take it for alive although it is dead
	client  bool
	muted   bool // its announcements are dropped
	hook    func(ctx context.Context, command string, env []string) error
	end     context.CancelFunc
	done    chan struct{}

	mu      sync.Mutex
	applied int
	news    chan struct{}
	delay   time.Duration                               // until an entry is applied here
	answers func(cmd []byte, r op.Result) time.Duration // how long an answer takes; negative is lost
	filter  func(cmd []byte) bool                       // false: the command never leaves
	peersCh chan struct{}
}

// testClock runs on the bubble's time, with rates of its own.
type testClock struct {
	mu              sync.Mutex
	began           time.Time
	boot, mono, raw float64
	offset          time.Duration
}

func (c *testClock) Now() clock.Reading {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := float64(time.Since(c.began))
	return clock.Reading{
		Boot: c.offset + time.Duration(d*c.boot), Mono: c.offset + time.Duration(d*c.mono), Raw: c.offset + time.Duration(d*c.raw),
	}
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, began: time.Now(), nodes: map[string]*node{}, cuts: map[[2]string]bool{}, alive: map[uint64]int{}}
	w.group = &group{w: w}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { w.watch(stop) })
	t.Cleanup(func() {
		for _, n := range w.nodes {
			n.guard.hear(true)
			n.stop()
		}
		w.runs.Wait()
		close(stop)
		wg.Wait()
	})
	return w
}

// watch asks every node for lordship again and again.
func (w *world) watch(stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(5 * time.Millisecond):
		}
		w.mu.Lock()
		var lords []string
		for _, n := range w.nodes {
			if !n.dead && n.legion != nil && n.legion.IsLord() {
				lords = append(lords, n.id[:1])
			}
		}
		w.mu.Unlock()
		if len(lords) > 1 {
			w.t.Errorf("at %v: lords %v, want at most one", time.Since(w.began), lords)
		}
	}
}

// set changes what running nodes look at.
func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// add makes a node and starts it. The first one leads.
func (w *world) add(id string, valor int64, change ...func(*Config)) *node {
	cfg := Default()
	cfg.Name, cfg.Secret, cfg.Valor = "blue", "a secret of the legion", valor
	for _, f := range change {
		f(&cfg)
	}
	n := &node{w: w, id: id, cfg: cfg, dead: true, muted: w.mute, table: lord.New(), news: make(chan struct{}), peersCh: make(chan struct{})}
	n.clock = &testClock{began: w.began, boot: 1, mono: 1, raw: 1, offset: time.Duration(len(w.nodes)+1) * time.Hour}
	w.mu.Lock()
	w.nodes[id] = n
	w.mu.Unlock()
	w.group.mu.Lock()
	if w.group.leader == "" {
		w.group.leader, w.group.known = id, id
	}
	w.group.mu.Unlock()
	n.start()
	return n
}

func (n *node) start() {
	if n.guard != nil {
		n.guard.sweep()
	}
	n.w.mu.Lock()
	n.counter++
	n.boot = n.counter<<32 | 7
	n.guard = &guard{node: n}
	n.w.mu.Unlock()
	l, err := New(n.cfg, Deps{
		ID: n.id, Name: n.id[:1], Boot: n.boot, Clock: n.clock, Control: n.control(), State: n.state,
		Gossip: n.control(), Peers: (*peers)(n), Guard: n.guard, TicketKey: ticketKey, Swept: true, Log: n.log(),
		Hook: n.runHook, Fetch: n.fetch,
	})
	if err != nil {
		n.w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.w.mu.Lock()
	n.legion, n.end, n.done, n.dead, n.unheard = l, cancel, make(chan struct{}), false, false
	n.tickets = &Tickets{
		Keys: [][]byte{ticketKey}, Control: n.control(), State: n.state, Leader: n.w.group.leaderKnown,
		Rank: n.rank, Peers: (*peers)(n), Campaign: func() error { return n.w.group.campaign(n.id) }, Log: n.log(),
	}
	n.w.mu.Unlock()
	n.w.peersChanged()
	n.w.group.wanted()
	done := n.done
	n.w.runs.Go(func() {
		defer close(done)
		if err := l.Run(ctx, func() {}); err != nil {
			n.w.t.Errorf("Run of %s: %v", n.id[:1], err)
		}
	})
}

func (n *node) log() *slog.Logger { return slog.New(slog.DiscardHandler) }

// stop ends a node in good order.
func (n *node) stop() {
	n.end()
	<-n.done
	n.w.mu.Lock()
	n.dead = true
	n.w.mu.Unlock()
	n.w.group.lost(n.id)
	n.w.peersChanged()
}

// kill is kill -9 of the main process: guardians see it and go on alone.
func (n *node) kill() {
	n.w.mu.Lock()
	n.dead = true
	n.w.mu.Unlock()
	n.guard.orphan()
	n.w.group.lost(n.id)
	n.w.peersChanged()
	n.end()
}

// crash is the loss of the machine.
func (n *node) crash() {
	n.w.mu.Lock()
	n.dead = true
	n.w.mu.Unlock()
	n.guard.vanish()
	n.w.group.lost(n.id)
	n.w.peersChanged()
	n.end()
}

func (n *node) runHook(ctx context.Context, command string, env []string) error {
	if n.hook == nil {
		return nil
	}
	return n.hook(ctx, command, env)
}

func (n *node) mute(on bool) { n.w.set(func() { n.muted = on }) }

func (n *node) rank() int {
	ids := make([]string, 0, 3)
	for _, o := range n.w.list() {
		if o.id != n.w.group.leaderKnown() {
			ids = append(ids, o.id)
		}
	}
	return slices.Index(ids, n.id)
}

func (w *world) list() []*node {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []*node
	for _, n := range w.nodes {
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b *node) int { return compare(a.id, b.id) })
	return out
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (n *node) state(legion string) lord.State { return n.table.State(legion) }

// cut holds back everything from one node to another.
func (w *world) cut(from, to *node) {
	w.mu.Lock()
	w.cuts[[2]string{from.id, to.id}] = true
	w.mu.Unlock()
}

func (w *world) isolate(n *node) {
	for _, o := range w.list() {
		if o != n {
			w.cut(n, o)
			w.cut(o, n)
		}
	}
	w.group.lost(n.id)
}

func (w *world) heal() {
	w.mu.Lock()
	clear(w.cuts)
	w.mu.Unlock()
}

func (w *world) open(from, to string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.cuts[[2]string{from, to}]
}

func (w *world) peersChanged() {
	for _, n := range w.list() {
		n.mu.Lock()
		close(n.peersCh)
		n.peersCh = make(chan struct{})
		n.mu.Unlock()
	}
}

// peers is a node's view of the cluster.
type peers node

func (p *peers) Peers() []Peer {
	n := (*node)(p)
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	var out []Peer
	for _, o := range n.w.nodes {
		alive := !o.dead || o.unheard
		out = append(out, Peer{ID: o.id, Name: o.id[:1], Boot: o.boot, Alive: alive, Voter: !o.client})
	}
	return out
}

func (p *peers) Changed() <-chan struct{} {
	n := (*node)(p)
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.peersCh
}

// settle waits until the wanted node has been lord for a moment.
func (w *world) wantLord(n *node, within time.Duration) {
	w.t.Helper()
	end := time.Now().Add(within)
	for n.isDead() || !n.legion.IsLord() {
		if time.Now().After(end) {
			w.t.Fatalf("at %v: %s is not lord within %v; table %+v", time.Since(w.began), n.id[:1], within, n.table.State("blue"))
		}
		time.Sleep(5 * time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond) // until what it runs is up
}

func (w *world) wantNobody(during time.Duration, nodes ...*node) {
	w.t.Helper()
	end := time.Now().Add(during)
	for time.Now().Before(end) {
		for _, n := range nodes {
			if n.legion.IsLord() {
				w.t.Fatalf("at %v: %s is lord, want nobody", time.Since(w.began), n.id[:1])
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// wantSteady says that nothing changes any more.
func (w *world) wantSteady(n *node, during time.Duration) {
	w.t.Helper()
	epoch := n.table.State("blue").Epoch
	end := time.Now().Add(during)
	for time.Now().Before(end) {
		if s := n.table.State("blue"); !n.legion.IsLord() || s.Epoch != epoch {
			w.t.Fatalf("at %v: %s lost epoch %d, table %+v", time.Since(w.began), n.id[:1], epoch, s)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// inject has a command agreed that no node sent.
func (w *world) inject(cmd []byte) op.Result {
	r, ok := w.group.propose(w.group.leaderNow(), "", cmd)
	if !ok {
		w.t.Fatal("nobody to agree on an injected command")
	}
	return r
}
