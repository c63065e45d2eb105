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

	expect   int           // cluster-expect of machines made from now on
	pace     time.Duration // between two increments of a caller
	patience time.Duration // of a caller with one increment
	legion   legion.Config
	rules    func(*config.Config)
}

// bubble runs a test in virtual time.
func bubble(t *testing.T, f func(w *world)) {
	t.Helper()
	t.Parallel()
	testKeys()
	synctest.Test(t, func(t *testing.T) { f(newWorld(t)) })
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, net: memnet.New(t), began: time.Now(), expect: 3, pace: 250 * time.Millisecond, patience: 2 * time.Second, log: slog.New(slog.DiscardHandler)}
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

// dropAnnouncements makes announcements reach nobody, or reach all again. Everything else goes on.
func (w *world) dropAnnouncements(on bool) {
	for _, b := range w.all() {
		b.mu.Lock()
		b.deaf = on
		b.mu.Unlock()
	}
}

func (w *world) stopAll() {
	w.net.Heal()
	var wg sync.WaitGroup
	for _, b := range w.live() {
		wg.Go(b.stop)
	}
	wg.Wait()
}

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
