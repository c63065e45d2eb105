package cachefsm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cohortd/cohort/cachefsm/cache"
	"github.com/cohortd/cohort/cachefsm/op"
	"github.com/cohortd/cohort/clock"
)

var kinds = Kinds{Apply: 1, Read: 2, Term: 3}

// bubbleClock is the boot clock of a bubble.
type bubbleClock struct{ start time.Time }

func (c bubbleClock) Now() clock.Reading {
	d := time.Since(c.start)
	return clock.Reading{Boot: d, Mono: d, Raw: d}
}

// rig is a cluster of groups in one process.
type rig struct {
	t     testing.TB
	w     *world
	nodes map[string]*member
	boot  uint64
	tune  func(*Options)
}

type member struct {
	id   string
	g    *Group
	h    *host
	tab  *cache.Table
	end  context.CancelFunc
	done chan error
	err  error
}

func newRig(t testing.TB, tune func(*Options)) *rig {
	r := &rig{t: t, w: newWorld(), nodes: map[string]*member{}, tune: tune}
	t.Cleanup(r.stop)
	return r
}

// cluster starts n nodes and waits for a leader and for a cache called c.
func cluster(t testing.TB, n int, tune func(*Options)) *rig {
	r := newRig(t, tune)
	var ids []string
	for i := range n {
		ids = append(ids, fmt.Sprintf("n%d", i+1))
	}
	for _, id := range ids {
		r.start(id)
	}
	if err := r.nodes["n1"].g.Bootstrap(ids); err != nil {
		t.Fatal(err)
	}
	r.waitLeader()
	r.do("n1", cache.Define(cache.Spec{Name: "c", Items: 100_000}))
	return r
}

func (r *rig) start(id string) *member {
	r.t.Helper()
	r.boot++
	m := &member{id: id, h: r.w.host(id), tab: cache.New(), done: make(chan error, 1)}
	o := Options{
		Name: "cache", ID: id, Boot: r.boot, Timeout: time.Second, Table: m.tab, Streams: m.h, Links: m.h, Kinds: kinds,
		Clock: bubbleClock{time.Now()}, WallStart: func() time.Time { return time.Unix(1_700_000_000, 0) },
	}
	if r.tune != nil {
		r.tune(&o)
	}
	var err error
	if m.g, err = Open(o); err != nil {
		r.t.Fatalf("open %s: %v", id, err)
	}
	r.w.change(func() { m.h.group = m.g })
	var ctx context.Context
	ctx, m.end = context.WithCancel(context.Background())
	go func() { m.done <- m.g.Run(ctx, func() {}) }()
	r.nodes[id] = m
	return m
}

// kill takes a node away without a farewell.
func (r *rig) kill(id string) {
	r.w.cutOff(id)
	m := r.nodes[id]
	delete(r.nodes, id)
	m.end()
	if m.err = <-m.done; m.err != nil {
		r.t.Errorf("Run of %s = %v", id, m.err)
	}
	r.w.change(func() {
		delete(r.w.hosts, id)
		for way := range r.w.cut {
			if way[0] == id || way[1] == id {
				delete(r.w.cut, way)
			}
		}
	})
}

func (r *rig) stop() {
	r.w.heal()
	var wg sync.WaitGroup
	for _, m := range r.nodes {
		wg.Go(func() {
			m.end()
			if m.err = <-m.done; m.err != nil {
				r.t.Errorf("Run of %s = %v", m.id, m.err)
			}
		})
	}
	wg.Wait()
	clear(r.nodes)
}

// eventually looks until ok, for a minute.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// leader is the node that leads, or nil.
func (r *rig) leader() *member {
	for _, m := range r.nodes {
		if _, ok := m.g.Leading(); ok {
			return m
		}
	}
	return nil
}

// waitLeader waits until one node leads and all that are not cut off know it.
func (r *rig) waitLeader() (led *member) {
	r.t.Helper()
	eventually(r.t, "all know one leader", func() bool {
		if led = r.leader(); led == nil {
			return false
		}
		for _, m := range r.nodes {
			if cut, _ := r.w.isCut(led.id, m.id); !cut && m.g.Leader() != led.id {
				return false
			}
		}
		return true
	})
	return led
}

// sameIndex waits until all nodes have applied the same.
func (r *rig) sameIndex() {
	r.t.Helper()
	eventually(r.t, "all have applied the same", func() bool {
		seen := map[uint64]bool{}
		for _, m := range r.nodes {
			seen[m.g.machine.index.Load()] = true
		}
		return len(seen) == 1
	})
}

// follower is some node that does not lead.
func (r *rig) follower() *member {
	led := r.waitLeader()
	ids := []string{}
	for id := range r.nodes {
		if id != led.id {
			ids = append(ids, id)
		}
	}
	return r.nodes[slices.Min(ids)]
}

func (r *rig) transfer(to string) {
	r.t.Helper()
	eventually(r.t, "leadership goes to "+to, func() bool {
		led := r.leader()
		if led == nil {
			return false
		}
		if led.id == to {
			return true
		}
		_ = led.g.TransferTo(r.ctx(5*time.Second), to)
		return false
	})
	r.waitLeader()
}

// ctx ends after d; nothing waits for its cancel.
func (r *rig) ctx(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	r.t.Cleanup(cancel)
	return ctx
}

func (r *rig) do(id string, o []byte) op.Result {
	r.t.Helper()
	res, err := r.nodes[id].g.Do(r.ctx(30*time.Second), o)
	if err != nil {
		r.t.Fatalf("Do on %s = %v", id, err)
	}
	return res
}

func (r *rig) read(id string, o []byte, fresh bool) op.Result {
	r.t.Helper()
	res, err := r.nodes[id].g.Read(r.ctx(30*time.Second), o, fresh)
	if err != nil {
		r.t.Fatalf("Read on %s = %v", id, err)
	}
	return res
}

func inc(key string) []byte { return cache.Math("c", key, cache.Inc, 1, 0) }

// counted is what concurrent callers were told by one counter.
type counted struct {
	mu      sync.Mutex
	got     []int64
	unknown int // ops that may or may not have been applied
	refused int // ops that were not
}

func (c *counted) note(res op.Result, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case errors.Is(err, ErrUnknown):
		c.unknown++
	case err != nil:
		c.refused++
	default:
		c.got = append(c.got, res.Num)
	}
}

// check compares what callers were told with what the counter holds at last.
func (c *counted) check(t testing.TB, final int64) {
	t.Helper()
	slices.Sort(c.got)
	for i := 1; i < len(c.got); i++ {
		if c.got[i] == c.got[i-1] {
			t.Fatalf("two callers were told %d", c.got[i])
		}
	}
	if n := int64(len(c.got)); final < n || final > n+int64(c.unknown) {
		t.Fatalf("the counter holds %d after %d answered and %d unanswered increments", final, n, c.unknown)
	}
}

// handClock is moved by hand.
type handClock struct{ boot time.Duration }

func (c *handClock) Now() clock.Reading {
	return clock.Reading{Boot: c.boot, Mono: c.boot, Raw: c.boot}
}
