package node

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cohortd/cohort/api"
	"github.com/cohortd/cohort/cachefsm/cache"
	"github.com/cohortd/cohort/clock"
	"github.com/cohortd/cohort/cluster"
	"github.com/cohortd/cohort/config"
	"github.com/cohortd/cohort/e2e/memnet"
	"github.com/cohortd/cohort/legion"
)

var logs = flag.Bool("logs", false, "print what the nodes log")

const testSecret = "a secret of the tests, long enough"

// testKeys are derived once for all tests and outside of every bubble: the derivation is slow on purpose.
var testKeys = sync.OnceValue(func() *cluster.Keys {
	k, err := cluster.DeriveKeys(testSecret, "", "test")
	if err != nil {
		panic(err)
	}
	return k
})

// world is a network in memory and the machines on it. All the time it checks what must always hold: at most
// one lord, and never anything alive of two epochs (see lives).
type world struct {
	t     *testing.T
	net   *memnet.Net
	log   *slog.Logger
	began time.Time
	lives *lives
	runs  sync.WaitGroup
	disks []string

	mu    sync.Mutex
	boxes []*box // by number, which begins with 1; changed by the test's goroutine only

	expect int           // cluster-expect of machines made from now on
	pace   time.Duration // of one caller of a flood
	legion legion.Config
	rules  func(*config.Config)
}

// bubble runs a test in virtual time.
func bubble(t *testing.T, f func(w *world)) {
	t.Helper()
	t.Parallel()
	testKeys()
	synctest.Test(t, func(t *testing.T) { f(newWorld(t)) })
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, net: memnet.New(t), began: time.Now(), expect: 3, pace: 250 * time.Millisecond, log: slog.New(slog.DiscardHandler)}
	if *logs {
		w.log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
	w.net.Delay(200*time.Microsecond, 300*time.Microsecond)
	w.legion = legion.Default()
	w.legion.Name, w.legion.Secret, w.legion.PreemptDelay = "blue", "a secret of the legion", 0
	w.lives = &lives{w: w, alive: map[string]map[*life]bool{}}
	ctx, stop := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() { w.watch(ctx) })
	t.Cleanup(func() {
		w.stopAll()
		w.runs.Wait()
		stop()
		watching.Wait()
		w.lives.check()
		for _, dir := range w.disks {
			_ = os.RemoveAll(dir)
		}
	})
	return w
}

// now is for messages: how long the test has run.
func (w *world) now() time.Duration { return time.Since(w.began) }

// watch asks every node for lordship again and again.
func (w *world) watch(ctx context.Context) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if lords := w.lords(); len(lords) > 1 {
			w.t.Errorf("at %v: lords %v, want at most one", w.now(), lords)
		}
	}
}

// lords are the names of the nodes that say now that they rule.
func (w *world) lords() []string {
	var names []string
	for _, b := range w.all() {
		if b.isLord() {
			names = append(names, b.name)
		}
	}
	return names
}

// box is one machine. It can be switched off and on, and keeps its disk if it has one.
type box struct {
	w       *world
	name    string
	ip      string
	cfg     *config.Config
	id      string // as long as there is no disk
	counter uint32
	clock   *kernel
	host    *memnet.Host
	gate    *gate

	mu    sync.Mutex
	node  *Node // nil: off, or its process is dead
	guard *guard
	end   context.CancelFunc
	done  chan struct{}
	err   error // of the run, once done is closed
	deaf  bool  // announcements do not reach its legions
}

// option changes a machine before its first start.
type option func(*box)

func valor(v int64) option { return func(b *box) { b.cfg.Legions[0].Valor = v } }

func legionSecret(s string) option { return func(b *box) { b.cfg.Legions[0].Secret = s } }

// withDisk gives a machine an empty disk, in memory where that is possible: syncing takes no virtual time, but
// real time.
func withDisk(b *box) {
	dir, err := os.MkdirTemp("/dev/shm", "cohort-test-")
	if err != nil {
		b.cfg.Data = b.w.t.TempDir()
		return
	}
	b.cfg.Data = dir
	b.w.disks = append(b.w.disks, dir)
}

// add plugs in machine number i; its valor is 10 times the number unless an option says other.
func (w *world) add(i int, options ...option) *box {
	b := &box{
		w: w, name: fmt.Sprintf("n%d", i), ip: fmt.Sprintf("10.0.0.%d", i), id: fmt.Sprintf("00000000-0000-4000-8000-%012d", i),
		clock: &kernel{began: time.Now(), offset: time.Duration(i) * time.Hour, rate: 1},
	}
	b.gate = &gate{kernel: b.clock}
	b.cfg = &config.Config{
		Node: b.name, Caches: []cache.Spec{{Name: "c", Items: 100_000}}, Legions: []legion.Config{w.legion},
		Cluster: cluster.Config{Name: "test", Node: b.name, Expect: w.expect, Secret: testSecret},
	}
	b.cfg.Legions[0].Valor = int64(10 * i)
	if w.rules != nil {
		w.rules(b.cfg)
	}
	for _, o := range options {
		o(b)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.boxes = append(w.boxes, b); len(w.boxes) != i {
		panic("machines are numbered in order")
	}
	return b
}

// start makes machines 1 to n and switches them on.
func (w *world) start(n int, options ...option) []*box {
	w.t.Helper()
	for i := range n {
		w.add(i+1, options...)
	}
	for _, b := range w.all() {
		b.start()
	}
	return w.all()
}

// all are the machines, in the order of their numbers.
func (w *world) all() []*box {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.boxes)
}

// box is machine number i.
func (w *world) box(i int) *box { return w.all()[i-1] }

// ready starts n machines and waits until they are a cluster with a lord, whose counters work.
func (w *world) ready(n int, options ...option) []*box {
	w.t.Helper()
	all := w.start(n, options...)
	w.wantLord(20*time.Second, all[n-1])
	w.eventually(10*time.Second, "all are voters of both groups", func() bool { return w.voters(all...) == n })
	return all
}

// joinList is cluster-join, the same on every machine.
func (w *world) joinList() []string {
	var list []string
	for _, b := range w.all() {
		list = append(list, b.ip+":7400")
	}
	return list
}

// start switches a machine on, or runs the node again after its process died.
func (b *box) start() {
	b.w.t.Helper()
	if b.done != nil {
		<-b.done
		b.guard.sweep()
	}
	if b.host == nil {
		b.host = b.w.net.Host(b.name, b.ip)
	}
	b.counter++
	cfg := *b.cfg
	cfg.Cluster.Bind, cfg.Cluster.Join = b.ip+":7400", b.w.joinList()
	b.guard = &guard{b: b}
	deps := Deps{
		Log: b.w.log, Network: b.host, Clock: b.gate, Keys: testKeys(), Guard: b.guard, Memory: cfg.Data == "",
	}
	if deps.Memory {
		deps.ID = cluster.NewIdentity(b.id, b.counter)
	}
	n, err := New(&cfg, deps)
	if err != nil {
		b.w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	b.end, b.done, b.err = cancel, make(chan struct{}), nil
	if err := n.open(); err != nil {
		b.w.t.Fatalf("%s: %v", b.name, err)
	}
	n.cluster.SetGossip(tap{gossip{n}, b})
	b.mu.Lock()
	b.id, b.node = n.id.ID, n
	b.mu.Unlock()
	done := b.done
	b.w.runs.Go(func() {
		defer close(done)
		defer n.close()
		b.err = runParts(ctx, n.log, n.parts(), func() {})
	})
}

// tap is where announcements arrive, on whatever way they came.
type tap struct {
	gossip
	b *box
}

func (t tap) Merge(msg []byte) (string, bool) {
	t.b.mu.Lock()
	deaf := t.b.deaf
	t.b.mu.Unlock()
	if deaf {
		return "", false
	}
	return t.gossip.Merge(msg)
}

// dropAnnouncements makes announcements reach nobody, or reach all again. Everything else goes on.
func (w *world) dropAnnouncements(on bool) {
	for _, b := range w.all() {
		b.mu.Lock()
		b.deaf = on
		b.mu.Unlock()
	}
}

// running is the machine's node; nil when its process is dead.
func (b *box) running() *Node {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.node
}

// died takes the node out of everything the test looks at.
func (b *box) died() *Node {
	b.resume()
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.node
	b.node = nil
	return n
}

// kernel is a machine's clocks, which run at a rate of their own. memnet.Clock would do but for its roundness:
// read every nanosecond, a slow one stands still.
type kernel struct {
	began  time.Time
	offset time.Duration
	rate   float64
}

func (k *kernel) Now() clock.Reading {
	d := k.offset + time.Duration(float64(time.Since(k.began))*k.rate)
	return clock.Reading{Boot: d, Mono: d, Raw: d}
}

// gate is a machine's clock as its node reads it. While the node is paused its reading does not return: what
// decides about leases reads the clock after everything else.
type gate struct {
	*kernel
	mu   sync.Mutex
	shut chan struct{} // nil: open
}

func (g *gate) Now() clock.Reading {
	if shut := g.isShut(); shut != nil {
		<-shut
	}
	return g.kernel.Now()
}

func (g *gate) isShut() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shut
}

// pause stops whatever in the node counts time. Its guardians go on.
func (b *box) pause() {
	b.gate.mu.Lock()
	defer b.gate.mu.Unlock()
	if b.gate.shut == nil {
		b.gate.shut = make(chan struct{})
	}
}

func (b *box) resume() {
	b.gate.mu.Lock()
	defer b.gate.mu.Unlock()
	if b.gate.shut != nil {
		close(b.gate.shut)
		b.gate.shut = nil
	}
}

// stop ends a node in good order.
func (b *box) stop() {
	if b.running() == nil {
		return
	}
	b.end()
	<-b.done
	b.died()
	if b.err != nil {
		b.w.t.Errorf("%s: Run = %v, want no error", b.name, b.err)
	}
}

// kill is kill -9 of the node's process: its guardians go on alone, from the same machine.
func (b *box) kill() {
	n := b.died()
	if n == nil {
		return
	}
	voters := n.voterAddresses()
	b.w.net.Kill(b.name)
	b.host = b.w.net.Host(b.name, b.ip)
	b.guard.orphan(b.host, voters)
	b.end()
}

// crash is the loss of the machine: nobody hears anything of it any more. Heal before it starts again.
func (b *box) crash() {
	if b.died() == nil {
		return
	}
	b.w.net.Isolate(b.name)
	b.w.net.Kill(b.name)
	b.host = nil
	b.guard.vanish()
	b.end()
}

// unplug frees a machine that is off from its address.
func (b *box) unplug() {
	b.w.net.Kill(b.name)
	b.host = nil
}

func (w *world) stopAll() {
	w.net.Heal()
	var wg sync.WaitGroup
	for _, b := range w.live() {
		wg.Go(b.stop)
	}
	wg.Wait()
}

// blue is the node's legion.
func (b *box) blue() *legion.Legion {
	if n := b.running(); n != nil {
		return n.legion("blue")
	}
	return nil
}

// isLord is what the node says of itself; a paused one says nothing.
func (b *box) isLord() bool {
	l := b.blue()
	return l != nil && b.gate.isShut() == nil && l.IsLord()
}

// epoch is the newest the machine knows.
func (b *box) epoch() uint64 { return b.running().lords.State("blue").Epoch }

// live are the machines whose node runs.
func (w *world) live() []*box {
	return slices.DeleteFunc(w.all(), func(b *box) bool { return b.running() == nil })
}

// others are the live machines but for some.
func (w *world) others(not ...*box) []*box {
	return slices.DeleteFunc(w.live(), func(b *box) bool { return slices.Contains(not, b) })
}

// leader is the live node that leads a group as it knows itself; nil if there is none or more than one.
func (w *world) leader(group string) (leads *box) {
	for _, b := range w.live() {
		n := b.running()
		g := n.control
		if group == "cache" {
			g = n.cache
		}
		if _, ok := g.Leading(); !ok {
			continue
		}
		if leads != nil {
			return nil
		}
		leads = b
	}
	return leads
}

// voters is how many voters all of these nodes count in both groups; -1 if they do not agree.
func (w *world) voters(all ...*box) int {
	count := -1
	for _, b := range all {
		c, _ := b.running().control.Members()
		k, _ := b.running().cache.Members()
		if len(c) != len(k) || count >= 0 && len(c) != count {
			return -1
		}
		count = len(c)
	}
	return count
}

// eventually waits in virtual time for something to hold.
func (w *world) eventually(within time.Duration, what string, holds func() bool) {
	w.t.Helper()
	for until := time.Now().Add(within); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			w.t.Fatalf("at %v: not within %v: %s\n%s", w.now(), within, what, w.state())
		}
	}
}

// wantLord waits until a node rules and everything it runs is up.
func (w *world) wantLord(within time.Duration, b *box) {
	w.t.Helper()
	w.eventually(within, b.name+" rules", b.isLord)
	time.Sleep(30 * time.Millisecond)
}

// wantNobody looks that no lord appears among the given nodes.
func (w *world) wantNobody(during time.Duration, among ...*box) {
	w.t.Helper()
	for until := time.Now().Add(during); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		for _, b := range among {
			if b.isLord() {
				w.t.Fatalf("at %v: %s rules, want nobody\n%s", w.now(), b.name, w.state())
			}
		}
	}
}

// wantSteady looks that a node rules on with the same epoch.
func (w *world) wantSteady(during time.Duration, b *box) {
	w.t.Helper()
	epoch := b.epoch()
	for until := time.Now().Add(during); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		if !b.isLord() || b.epoch() != epoch {
			w.t.Fatalf("at %v: %s lost epoch %d\n%s", w.now(), b.name, epoch, w.state())
		}
	}
}

// state is what to print when something did not come about.
func (w *world) state() string {
	var s strings.Builder
	for _, b := range w.all() {
		n := b.running()
		if n == nil {
			fmt.Fprintf(&s, "%s is off\n", b.name)
			continue
		}
		v, table := b.blue().View(), n.lords.State("blue")
		fmt.Fprintf(&s, "%s %s: lord %t, epoch %d %v by %s, best %s with %d of %d votes, cluster %q\n", b.name, b.id, b.isLord(),
			table.Epoch, table.Phase, table.Holder, v.Best, v.Votes, v.Quorum, n.control.ClusterID())
		for _, g := range []api.Group{n.group(n.control, "control"), n.group(n.cache, "cache")} {
			fmt.Fprintf(&s, "    %s led by %s in term %d, applied %d, voters %v, others %v\n", g.Name, cmp.Or(g.Leader, "nobody"), g.Term, g.Applied, g.Voters, g.Others)
		}
		for _, m := range n.cluster.Members() {
			fmt.Fprintf(&s, "    knows %s %s at %s, alive %t, fresh %t\n", m.Name, m.ID, m.Addr, m.Alive, m.Meta.Fresh)
		}
	}
	return s.String()
}
