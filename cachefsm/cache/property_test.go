package cache

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cohortd/cohort/cachefsm/op"
)

// step is one entry: a time and an op.
type step struct {
	at time.Duration
	op []byte
}

var (
	keys   = rapid.SampledFrom([]string{"", "a", "b", "c", "d", "e", "toolong"})
	values = rapid.SampledFrom([]string{"", "v", "12345678", "123456789"})
	lives  = rapid.SampledFrom([]time.Duration{0, 1, 150 * time.Millisecond, time.Second, 3 * time.Second, time.Minute, time.Hour})
	names  = rapid.SampledFrom([]string{"one", "two", "none"})
)

func drawOp(t *rapid.T) []byte {
	name, key, life := names.Draw(t, "cache"), keys.Draw(t, "key"), lives.Draw(t, "life")
	switch rapid.IntRange(0, 11).Draw(t, "kind") {
	case 0, 1:
		return Set(name, key, []byte(values.Draw(t, "value")), life)
	case 2:
		return Update(name, key, []byte(values.Draw(t, "value")), life)
	case 3:
		return Del(name, key)
	case 4:
		if rapid.IntRange(0, 5).Draw(t, "clear") == 0 {
			return Clear(name)
		}
		return Del(name, key)
	case 5:
		return Num(name, key, rapid.Int64().Draw(t, "n"), life)
	case 6:
		if rapid.IntRange(0, 3).Draw(t, "define") == 0 {
			return Define(Spec{Name: "one", Items: rapid.IntRange(1, 5).Draw(t, "items"), BlockSize: 8, KeySize: 4})
		}
		return Exists(name, key)
	default:
		amounts := rapid.SampledFrom([]int64{0, 1, 2, -1, 7, math.MaxInt64, math.MinInt64})
		return Math(name, key, Kind(rapid.IntRange(0, 4).Draw(t, "arith")), amounts.Draw(t, "amount"), life)
	}
}

func drawSteps(t *rapid.T) []step {
	at, n := start, rapid.IntRange(1, 80).Draw(t, "steps")
	steps := make([]step, n)
	for i := range steps {
		at += rapid.SampledFrom([]time.Duration{0, 0, 1, 100 * time.Millisecond, 700 * time.Millisecond, 2 * time.Second, time.Minute}).Draw(t, "pause")
		steps[i] = step{at, drawOp(t)}
	}
	return steps
}

func run(table *Table, steps []step) []op.Result {
	results := []op.Result{}
	for i, s := range steps {
		table.Advance(s.at)
		results = append(results, table.Apply(uint64(i), s.at, s.op))
	}
	return results
}

func propertyTable() *Table {
	return newTable(Spec{Name: "one", Items: 3, BlockSize: 8, KeySize: 4}, Spec{Name: "two", Items: 4, BlockSize: 8, KeySize: 4})
}

// everything is all that can be seen of a table.
func everything(table *Table) []op.Result {
	seen := []op.Result{table.Read(List())}
	for _, name := range []string{"one", "two", "none"} {
		for _, key := range []string{"a", "b", "c", "d", "e", ""} {
			seen = append(seen, table.Read(Get(name, key)), table.Read(Exists(name, key)))
		}
	}
	return seen
}

// A table answers like a map that is looked through from end to end for each op.
func TestTableAgainstMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table, m := propertyTable(), newModel()
		for i, s := range drawSteps(t) {
			table.Advance(s.at)
			got, want := table.Apply(uint64(i), s.at, s.op), m.apply(s.at, s.op)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("step %d: Apply(%q) at %v (-model +table):\n%s", i, s.op, s.at-start, diff)
			}
			for _, name := range []string{"one", "two"} {
				if k := table.keeps[name]; k.live != len(m.caches[name].items) {
					t.Fatalf("step %d: cache %s says it holds %d items, the model %d", i, name, k.live, len(m.caches[name].items))
				}
			}
		}
		if diff := cmp.Diff(m.everything(), everything(table)[1:]); diff != "" {
			t.Fatalf("at the end (-model +table):\n%s", diff)
		}
	})
}

// A table that was restored from a snapshot in the middle goes on like one that applied everything; so does
// one that applied everything an hour later, and the one that was snapshotted.
func TestSnapshotAndTailIsReplay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		steps := drawSteps(t)
		cut := rapid.IntRange(0, len(steps)).Draw(t, "cut")
		whole, halved, restored := propertyTable(), propertyTable(), New()
		want := run(whole, steps)

		run(halved, steps[:cut])
		write := halved.Snapshot()
		tail := run(halved, steps[cut:]) // goes on before the snapshot is written
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		if err := restored.Restore(&b); err != nil {
			t.Fatal(err)
		}
		again := run(restored, steps[cut:])
		if diff := cmp.Diff(want[cut:], tail); diff != "" {
			t.Fatalf("results beside a snapshot (-replay +with):\n%s", diff)
		}
		if diff := cmp.Diff(want[cut:], again); diff != "" {
			t.Fatalf("results after a restore (-replay +restored):\n%s", diff)
		}
		if diff := cmp.Diff(everything(whole), everything(restored)); diff != "" {
			t.Fatalf("state after a restore (-replay +restored):\n%s", diff)
		}
	})
}

// Readers and a snapshot run beside Apply; the race detector watches.
func TestSnapshotBesideApply(t *testing.T) {
	table := newTable(Spec{Name: "c", Items: 100_000})
	const n = 20_000
	for i := range n {
		table.Apply(1, start, Num("c", fmt.Sprint(i), int64(i), time.Duration(i%7)*time.Second))
	}
	write := table.Snapshot()
	var wg sync.WaitGroup
	var b bytes.Buffer
	wg.Go(func() {
		if err := write(&b); err != nil {
			t.Error(err)
		}
	})
	for i := range n {
		table.Apply(1, start, Math("c", fmt.Sprint(i), Inc, 1_000_000, 0))
		if i%3 == 0 {
			table.Apply(1, start, Del("c", fmt.Sprint(i)))
		}
	}
	table.Advance(start + 3*time.Second)
	wg.Wait()
	restored := New()
	if err := restored.Restore(&b); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if r := restored.Read(Get("c", fmt.Sprint(i))); r.Num != int64(i) || r.Code != op.OK {
			t.Fatalf("item %d in the snapshot is %+v, want its value at the time", i, r)
		}
	}
}

func FuzzApply(f *testing.F) {
	for _, o := range [][]byte{Set("one", "a", []byte("v"), 1), Math("one", "a", Div, -1, time.Hour), Define(Spec{Name: "x", Items: 1}), Clear("one"), List(), Get("one", "a")} {
		f.Add(o)
	}
	f.Fuzz(func(t *testing.T, o []byte) {
		a, b := propertyTable(), propertyTable()
		ra, rb := a.Apply(1, start, o), b.Apply(1, start, slices.Clone(o))
		if !cmp.Equal(ra, rb) || !cmp.Equal(everything(a), everything(b)) {
			t.Errorf("Apply(%x) is not the same twice: %+v, %+v", o, ra, rb)
		}
		if r := a.Read(o); r.Code > op.Stale {
			t.Errorf("Read(%x) = %+v", o, r)
		}
	})
}

func FuzzRestore(f *testing.F) {
	table := propertyTable()
	table.Apply(1, start, Set("one", "a", []byte("v"), time.Hour))
	table.Apply(1, start, Num("two", "b", -4, 0))
	var b bytes.Buffer
	if err := table.Snapshot()(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, snapshot []byte) {
		table := New()
		if table.Restore(bytes.NewReader(snapshot)) != nil {
			return
		}
		var b bytes.Buffer
		if err := table.Snapshot()(&b); err != nil {
			t.Fatal(err)
		}
		again := New()
		if err := again.Restore(&b); err != nil || !cmp.Equal(everything(table), everything(again)) {
			t.Errorf("snapshot %x restored, written and restored again differs: %v", snapshot, err)
		}
		table.Advance(math.MaxInt64)
	})
}

func FuzzParseList(f *testing.F) {
	f.Add(propertyTable().Read(List()).Bytes)
	f.Fuzz(func(t *testing.T, b []byte) { ParseList(b) })
}
