package cachefsm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/cohortd/cohort/cachefsm/cache"
	"github.com/cohortd/cohort/cachefsm/op"
)

var errFull = errors.New("no space left on device")

// fullDisk fails once it is told to: every write, or the terms and votes only.
type fullDisk struct {
	raft.LogStore
	raft.StableStore
	log, stable atomic.Bool
}

func (d *fullDisk) StoreLogs(ls []*raft.Log) error {
	if d.log.Load() {
		return errFull
	}
	return d.LogStore.StoreLogs(ls)
}

func (d *fullDisk) Set(key, val []byte) error {
	if d.stable.Load() {
		return errFull
	}
	return d.StableStore.Set(key, val)
}

func (d *fullDisk) SetUint64(key []byte, val uint64) error {
	if d.stable.Load() {
		return errFull
	}
	return d.StableStore.SetUint64(key, val)
}

// filling makes a rig whose nodes' disks can be filled.
func filling(disks map[string]*fullDisk) func(*Options) {
	return func(o *Options) {
		id := o.ID
		o.faults = func(d *disk) {
			disks[id] = &fullDisk{LogStore: d.logs, StableStore: d.stable}
			d.logs, d.stable = disks[id], disks[id]
		}
	}
}

// gone waits until a node's Run has returned and gives its error.
func (r *rig) gone(id string) error {
	r.t.Helper()
	m := r.nodes[id]
	delete(r.nodes, id)
	select {
	case err := <-m.done:
		r.w.cutOff(id)
		return err
	case <-time.After(time.Minute):
		r.t.Fatalf("Run of %s goes on although its disk failed", id)
		return nil
	}
}

// A full disk costs the leader its place, and nobody what was acknowledged.
func TestLeaderDiskFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disks := map[string]*fullDisk{}
		r := cluster(t, 3, filling(disks))
		led := r.waitLeader()
		var c counted
		var callers sync.WaitGroup
		for i := range 16 {
			m := r.nodes[fmt.Sprintf("n%d", i%3+1)]
			callers.Go(func() {
				for range 40 {
					ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
					res, err := m.g.Do(ctx, inc("k"))
					cancel()
					c.note(res, err)
					time.Sleep(5 * time.Millisecond)
				}
			})
		}
		time.Sleep(50 * time.Millisecond)
		disks[led.id].log.Store(true)
		if err := r.gone(led.id); !errors.Is(err, errFull) {
			t.Errorf("Run on the full disk = %v, want its error", err)
		}
		callers.Wait()
		next := r.waitLeader()
		final := r.read(next.id, cache.Get("c", "k"), true).Num
		t.Logf("%d answered, %d unknown, %d refused, counter %d", len(c.got), c.unknown, c.refused, final)
		c.check(t, final)
	})
}

func TestFollowerDiskFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disks := map[string]*fullDisk{}
		r := cluster(t, 3, filling(disks))
		f := r.follower()
		disks[f.id].log.Store(true)
		led := r.waitLeader()
		for i := range 10 {
			if res := r.do(led.id, inc("k")); res.Num != int64(i+1) {
				t.Fatalf("increment %d = %+v", i+1, res)
			}
		}
		if err := r.gone(f.id); !errors.Is(err, errFull) {
			t.Errorf("Run on the full disk = %v, want its error", err)
		}
	})
}

// raft panics if it cannot store a term. Here the group ends, and the process lives.
func TestTermCannotBeStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disks := map[string]*fullDisk{}
		r := cluster(t, 3, filling(disks))
		led := r.waitLeader()
		f := r.follower()
		disks[f.id].stable.Store(true)
		r.kill(led.id)
		if err := r.gone(f.id); !errors.Is(err, errFull) {
			t.Errorf("Run = %v, want the disk's error", err)
		}
	})
}

// A group on real files finds everything again, and its own retries too.
func TestRestartOnFiles(t *testing.T) {
	for _, wal := range []bool{false, true} {
		t.Run(fmt.Sprintf("wal=%v", wal), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "cache")
			open := func(boot uint64) (*Group, func()) {
				g, err := Open(Options{Name: "cache", ID: "n1", Boot: boot, Dir: dir, WAL: wal, Timeout: 100 * time.Millisecond, Table: cache.New(), SnapshotEvery: 50})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(context.Background())
				var running sync.WaitGroup
				running.Go(func() {
					if err := g.Run(ctx, func() {}); err != nil {
						t.Errorf("Run = %v", err)
					}
				})
				return g, func() { cancel(); running.Wait() }
			}
			must := func(r op.Result, err error) op.Result {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			for boot := range uint64(3) {
				g, stop := open(boot + 1)
				if g.HasState() != (boot > 0) {
					t.Errorf("boot %d: HasState = %v", boot, g.HasState())
				}
				if err := g.Bootstrap([]string{"n1"}); err != nil {
					t.Fatal(err)
				}
				must(g.Do(t.Context(), cache.Define(cache.Spec{Name: "c", Items: 10})))
				for i := range 60 {
					if r := must(g.Do(t.Context(), inc("k"))); r.Num != int64(boot)*60+int64(i)+1 {
						t.Fatalf("boot %d: increment %d = %+v", boot, i, r)
					}
				}
				if boot == 0 {
					if err := g.raft.Snapshot().Error(); err != nil {
						t.Fatal(err)
					}
				}
				if r := must(g.Read(t.Context(), cache.Get("c", "k"), true)); r.Num != int64(boot+1)*60 {
					t.Errorf("boot %d: Get = %+v", boot, r)
				}
				stop()
			}
			other, err := Open(Options{Name: "cache", ID: "n1", Dir: dir, WAL: !wal, Table: cache.New()})
			if err == nil {
				other.Close()
			}
			if err == nil || !strings.Contains(err.Error(), "raft-log") {
				t.Errorf("Open with the other kind of log = %v, want an error that names raft-log", err)
			}
		})
	}
}

func TestDirectoryInUse(t *testing.T) {
	dir := t.TempDir()
	g, err := Open(Options{Name: "cache", ID: "n1", Dir: dir, Table: cache.New()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Name: "cache", ID: "n1", Dir: dir, Table: cache.New()}); err == nil {
		t.Error("the same directory was opened twice")
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
}

// After one failed write nothing is written any more, even if the disk has room again: what it holds is in doubt.
func TestDiskStaysFailed(t *testing.T) {
	entry := []*raft.Log{{Index: 1, Data: []byte("x")}}
	for name, write := range map[string]func(*disk) error{
		"log":  func(d *disk) error { return d.StoreLogs(entry) },
		"cut":  func(d *disk) error { return d.DeleteRange(1, 1) },
		"vote": func(d *disk) error { return d.Set([]byte("vote"), []byte("n1")) },
	} {
		d, err := openDisk("", false, nil)
		if err != nil {
			t.Fatal(err)
		}
		full := &fullDisk{LogStore: d.logs, StableStore: d.stable}
		d.logs, d.stable, d.log = full, full, slog.New(slog.DiscardHandler)
		if err := write(d); err != nil {
			t.Errorf("%s: write to a good disk = %v", name, err)
		}
		d.armed.Store(true)
		full.log.Store(true)
		if err := d.StoreLogs(entry); !errors.Is(err, errFull) || !d.isFailed() {
			t.Errorf("%s: write to a full disk = %v, failed = %v", name, err, d.isFailed())
		}
		full.log.Store(false)
		if err := write(d); !errors.Is(err, errFull) {
			t.Errorf("%s: write after a failed one = %v, want the first error", name, err)
		}
		stored := make(chan bool, 1)
		go func() {
			defer close(stored)
			stored <- d.SetUint64([]byte("term"), 9) == nil
		}()
		if <-stored {
			t.Errorf("%s: a term was stored after a failed write", name)
		}
	}
}
