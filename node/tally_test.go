package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cohortd/cohort/api"
	"github.com/cohortd/cohort/cachefsm"
	routercache "github.com/cohortd/cohort/router/cache"
)

// inc adds one to a counter, as a rule of this node does.
func (b *box) inc(key string) (int64, error) {
	n := b.running()
	if n == nil {
		return 0, errDead
	}
	ctx, cancel := context.WithTimeout(context.Background(), b.w.patience)
	defer cancel()
	return n.caches.Math(ctx, "c", key, routercache.Add, 1, 0)
}

func (w *world) mustInc(b *box, key string) {
	w.t.Helper()
	if _, err := b.inc(key); err != nil {
		w.t.Fatalf("at %v: %s: inc %s: %v\n%s", w.now(), b.name, key, err, w.state())
	}
}

// count reads a counter through a node, fresh.
func (w *world) count(b *box, key string) int64 {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	item, err := b.running().caches.Get(ctx, "c", key, true)
	if err != nil {
		w.t.Fatalf("at %v: %s: get %s: %v\n%s", w.now(), b.name, key, err, w.state())
	}
	return item.Number
}

// wantNoWrite looks that a node without a quorum says so before the caller's patience ends.
func (w *world) wantNoWrite(b *box) {
	w.t.Helper()
	const patience = 2 * time.Second
	for _, verb := range []string{"inc", "set", "get"} {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		began := time.Now()
		a, err := b.running().caches.Do(ctx, api.CacheRequest{Verb: verb, Key: "nowhere", Value: []byte("x")})
		cancel()
		var said *api.Error
		if !errors.As(err, &said) || said.Kind != api.NoQuorum {
			w.t.Errorf("at %v: %s: %s without a quorum = %+v, %v; want an error that says so", w.now(), b.name, verb, a, err)
		}
		if took := time.Since(began); took > patience+10*time.Millisecond {
			w.t.Errorf("at %v: %s: %s without a quorum took %v, want %v", w.now(), b.name, verb, took, patience)
		}
	}
}

// tally is what many callers were told of one counter.
type tally struct {
	mu      sync.Mutex
	told    []told
	unknown int // increments that may have been counted or not
	refused int // that were not
	maybe   int // of nodes that died meanwhile: nobody was told
}

// told is one answer, and when it was asked for and came.
type told struct {
	value      int64
	asked, got time.Time
	by         string
}

// flood has callers increment a counter on the machines until stop is called, which waits for them.
func (w *world) flood(callers int, key string, on ...*box) (stop func() *tally) {
	ctx, cancel := context.WithCancel(context.Background())
	t := &tally{}
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			b := on[i%len(on)]
			for ctx.Err() == nil {
				t.call(b, key)
				time.Sleep(w.pace)
			}
		})
	}
	end := func() {
		cancel()
		wg.Wait()
	}
	w.t.Cleanup(end) // for a test that fails before
	return func() *tally {
		end()
		return t
	}
}

func (t *tally) call(b *box, key string) {
	n, asked := b.running(), time.Now()
	if n == nil {
		return
	}
	value, err := b.inc(key)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case b.running() != n:
		t.maybe++ // what a dead process was told, nobody knows
	case err == nil:
		t.told = append(t.told, told{value, asked, time.Now(), b.name})
	case errors.Is(err, cachefsm.ErrUnknown):
		t.unknown++
	default:
		t.refused++
	}
}

func (t *tally) String() string {
	return fmt.Sprintf("%d acknowledged, %d unknown, %d refused, %d unheard", len(t.told), t.unknown, t.refused, t.maybe)
}

// check compares what the callers were told with what the counter holds in the end: every answer another
// number, growing with time, none lost, and nothing counted twice.
func (t *tally) check(w *world, final int64) {
	w.t.Helper()
	slices.SortFunc(t.told, func(a, b told) int { return int(a.value - b.value) })
	var next time.Time // the first answer to any greater number
	for i := len(t.told) - 1; i >= 0; i-- {
		now := t.told[i]
		if i > 0 && t.told[i-1].value == now.value {
			w.t.Errorf("%s and %s were both told %d", t.told[i-1].by, now.by, now.value)
		}
		if !next.IsZero() && next.Before(now.asked) {
			w.t.Errorf("%s was told %d, although a greater number had been given out before it asked", now.by, now.value)
		}
		if next.IsZero() || now.got.Before(next) {
			next = now.got
		}
	}
	least := int64(len(t.told))
	if most := least + int64(t.unknown+t.maybe); final < least || final > most {
		w.t.Errorf("the counter holds %d, want %d to %d (%v)", final, least, most, t)
	}
	if least == 0 {
		w.t.Errorf("nobody was answered: %v", t)
	}
}
