package cachefsm

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"
	"pgregory.net/rapid"

	"github.com/cohortd/cohort/cachefsm/cache"
	"github.com/cohortd/cohort/cachefsm/op"
)

func chunkOf(client string, first uint64, ops ...[]byte) []byte {
	b := op.ChunkHead(nil, client, first, len(ops))
	for _, o := range ops {
		b = op.Bytes(b, o)
	}
	return b
}

func entryOf(at time.Duration, chunks ...[]byte) []byte {
	b := op.EntryHead(nil, at)
	for _, c := range chunks {
		b = op.Bytes(b, c)
	}
	return b
}

func newCacheMachine() *machine {
	m := newMachine(cache.New())
	m.apply(1, 1, chunkOf("setup", 1, cache.Define(cache.Spec{Name: "c", Items: 100, BlockSize: 8 << 10})))
	return m
}

func (m *machine) apply(index uint64, at time.Duration, chunks ...[]byte) *outcome {
	return m.Apply(&raft.Log{Index: index, Data: entryOf(at, chunks...)}).(*outcome)
}

func TestSessions(t *testing.T) {
	m := newCacheMachine()
	const at = time.Minute
	apply := func(at time.Duration, client string, seq uint64) op.Result {
		return m.apply(2, at, chunkOf(client, seq, inc("k"))).results[0]
	}
	for i, tt := range []struct {
		what   string
		at     time.Duration
		client string
		seq    uint64
		want   op.Result
	}{
		{"the first", at, "a", 1, op.Result{IsNum: true, Num: 1}},
		{"its retry", at, "a", 1, op.Result{IsNum: true, Num: 1}},
		{"another client's first", at, "b", 1, op.Result{IsNum: true, Num: 2}},
		{"out of order", at, "a", 9, op.Result{IsNum: true, Num: 3}},
		{"what was left out", at, "a", 5, op.Result{IsNum: true, Num: 4}},
		{"its retry", at, "a", 5, op.Result{IsNum: true, Num: 4}},
		{"number 0 is nobody's", at, "a", 0, op.Result{Code: op.Invalid}},
		{"a window later", at, "a", window + 1, op.Result{IsNum: true, Num: 5}},
		{"too old to be known", at, "a", 1, op.Result{Code: op.Stale}},
		{"just young enough", at, "a", 5, op.Result{IsNum: true, Num: 4}},
		{"used until now", at, "b", 2, op.Result{IsNum: true, Num: 6}},
		{"idle for less than an hour", at + sessionIdle - 1, "a", 9, op.Result{IsNum: true, Num: 3}},
		{"idle for an hour is forgotten", at + sessionIdle, "b", 2, op.Result{IsNum: true, Num: 7}},
		{"who was not idle is not", at + sessionIdle, "a", 9, op.Result{IsNum: true, Num: 3}},
	} {
		if got := apply(tt.at, tt.client, tt.seq); !cmp.Equal(got, tt.want) {
			t.Errorf("%d. %s: %+v, want %+v", i, tt.what, got, tt.want)
		}
	}
}

func TestSessionsAreBounded(t *testing.T) {
	m := newCacheMachine()
	for i := range maxSessions + 100 {
		m.apply(2, time.Duration(i)*time.Second, chunkOf(fmt.Sprintf("client-%d", i), 1, inc("k")))
	}
	if n := len(m.sessions.all); n != maxSessions {
		t.Errorf("%d sessions, want %d", n, maxSessions)
	}
	if m.sessions.all["client-50"] != nil || m.sessions.all["client-200"] == nil {
		t.Error("it is not the longest idle that are forgotten")
	}
}

// big is a table whose results are too long to remember.
type big struct{ Table }

func (big) Apply(uint64, time.Duration, []byte) op.Result {
	return op.Result{Bytes: make([]byte, maxKept+1)}
}
func (big) Advance(time.Duration) {}
func (big) Timed() bool           { return false }

func TestLongResultsAreNotRemembered(t *testing.T) {
	m := newMachine(big{})
	if r := m.apply(1, 1, chunkOf("a", 1, []byte("o"))).results[0]; r.Code != op.OK || len(r.Bytes) == 0 {
		t.Errorf("the first answer = %v", r.Code)
	}
	if r := m.apply(1, 1, chunkOf("a", 1, []byte("o"))).results[0]; r.Code != op.Stale {
		t.Errorf("the retry = %v, want Stale", r.Code)
	}
}

func TestBadEntries(t *testing.T) {
	m := newCacheMachine()
	for name, b := range map[string][]byte{
		"empty":                 nil,
		"another version":       {7, 1, 2},
		"cut off":               entryOf(5, chunkOf("a", 1, inc("k")))[:12],
		"chunk of nonsense":     entryOf(5, []byte("nonsense")),
		"client's name is long": entryOf(5, chunkOf(string(make([]byte, maxClient+1)), 1, inc("k"))),
	} {
		if out := m.Apply(&raft.Log{Data: b}).(*outcome); len(out.results) != 0 {
			t.Errorf("%s: results %+v", name, out.results)
		}
	}
	if r := m.apply(9, 9, chunkOf("good", 1, inc("k"))).results[0]; r.Num != 1 {
		t.Errorf("after bad entries an increment = %+v, want 1", r)
	}
}

func snapshotOf(t testing.TB, m *machine) []byte {
	t.Helper()
	s, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var b sinkBuffer
	if err := s.Persist(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type sinkBuffer struct{ bytes.Buffer }

func (*sinkBuffer) ID() string    { return "" }
func (*sinkBuffer) Cancel() error { return nil }
func (*sinkBuffer) Close() error  { return nil }

// A machine restored from a snapshot knows retries like one that applied everything.
func TestMachineSnapshotAndTailIsReplay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var entries [][]byte
		at := time.Minute
		for range rapid.IntRange(1, 40).Draw(t, "entries") {
			at += rapid.SampledFrom([]time.Duration{0, time.Second, 10 * time.Minute, 61 * time.Minute}).Draw(t, "pause")
			client := rapid.SampledFrom([]string{"a", "b", "", "c"}).Draw(t, "client")
			first := rapid.SampledFrom([]uint64{0, 1, 2, 3, 7, 250, 260, window, window + 2, 3 * window}).Draw(t, "first")
			o := cache.Math("c", "k", cache.Inc, 1, time.Hour)
			entries = append(entries, entryOf(at, chunkOf(client, first, o, o)))
		}
		cut := rapid.IntRange(0, len(entries)).Draw(t, "cut")
		run := func(m *machine, from, to int) []op.Result {
			results := []op.Result{}
			for i := from; i < to; i++ {
				results = append(results, m.Apply(&raft.Log{Index: uint64(i), Data: entries[i]}).(*outcome).results...)
			}
			return results
		}
		whole, halved := newCacheMachine(), newCacheMachine()
		run(whole, 0, cut)
		want := run(whole, cut, len(entries))
		run(halved, 0, cut)
		s, _ := halved.Snapshot()
		tail := run(halved, cut, len(entries))
		var b sinkBuffer
		if err := s.Persist(&b); err != nil {
			t.Fatal(err)
		}
		restored := newMachine(cache.New())
		if err := restored.Restore(io.NopCloser(&b)); err != nil {
			t.Fatal(err)
		}
		again := run(restored, cut, len(entries))
		if !cmp.Equal(want, tail) || !cmp.Equal(want, again) {
			t.Fatalf("replay %v\nbeside a snapshot %v\nafter a restore %v", want, tail, again)
		}
		if whole.at != restored.at || whole.cluster != restored.cluster {
			t.Fatalf("replay is at %v of %q, the restored one at %v of %q", whole.at, whole.cluster, restored.at, restored.cluster)
		}
	})
}

func TestFailedRestoreChangesNothing(t *testing.T) {
	m := newCacheMachine()
	m.apply(2, time.Minute, chunkOf("a", 1, inc("k")))
	whole := snapshotOf(t, m)
	for i := range whole {
		if err := m.restore(bytes.NewReader(whole[:i])); err == nil {
			t.Fatalf("restore of %d of %d bytes succeeded", i, len(whole))
		}
	}
	if r := m.apply(3, time.Minute, chunkOf("a", 2, inc("k"))).results[0]; r.Num != 2 {
		t.Errorf("increment afterwards = %+v, want 2", r)
	}
}

func FuzzMachineApply(f *testing.F) {
	f.Add(entryOf(time.Minute, chunkOf("a", 1, inc("k")), chunkOf("", 1, []byte("id"))))
	f.Fuzz(func(t *testing.T, b []byte) {
		one, two := newCacheMachine(), newCacheMachine()
		a := one.Apply(&raft.Log{Index: 5, Data: b}).(*outcome)
		c := two.Apply(&raft.Log{Index: 5, Data: slices.Clone(b)}).(*outcome)
		if !cmp.Equal(a.results, c.results) || !cmp.Equal(a.ends, c.ends) {
			t.Errorf("entry %x is not the same twice", b)
		}
		if !bytes.Equal(snapshotOf(t, one), snapshotOf(t, two)) {
			t.Errorf("entry %x leaves two states", b)
		}
	})
}

func FuzzMachineRestore(f *testing.F) {
	m := newCacheMachine()
	m.apply(2, time.Minute, chunkOf("a", 1, inc("k"), cache.Set("c", "v", []byte("x"), time.Hour)), chunkOf("", 1, []byte("id")))
	f.Add(snapshotOf(f, m))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := newMachine(cache.New())
		if m.restore(bytes.NewReader(b)) != nil {
			return
		}
		m.apply(9, time.Hour, chunkOf("a", 1, inc("k")))
		again := newMachine(cache.New())
		if err := again.restore(bytes.NewReader(snapshotOf(t, m))); err != nil {
			t.Errorf("snapshot %x restored and written again: %v", b, err)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add(answer{results: []op.Result{{Num: 1}}}.encode(100))
	f.Add(answer{status: statusNotLeader, leader: "x"}.encode(0))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := parseAnswer(b, 10); err == nil && len(a.results) > 10 {
			t.Errorf("parseAnswer(%x) = %d results, asked for 10", b, len(a.results))
		}
		parseTerm(b)
	})
}

func TestLocal(t *testing.T) {
	c := &handClock{}
	l := NewLocal(cache.New(), c)
	must := func(r op.Result, err error) op.Result {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	must(l.Do(t.Context(), cache.Define(cache.Spec{Name: "c", Items: 3})))
	must(l.Do(t.Context(), cache.Math("c", "k", cache.Inc, 3, 5*time.Second)))
	if r := must(l.Read(t.Context(), cache.Get("c", "k"), true)); r.Num != 3 {
		t.Errorf("Get = %+v, want 3", r)
	}
	c.boot = 5 * time.Second
	if r := must(l.Read(t.Context(), cache.Get("c", "k"), false)); r.Code != op.NotFound {
		t.Errorf("Get after its end = %+v", r)
	}
}

func TestConfigCheck(t *testing.T) {
	if err := (Config{}).Check(); err != nil {
		t.Errorf("Check of the defaults = %v", err)
	}
	if err := (Config{ControlTimeout: time.Millisecond, CacheTimeout: time.Hour}).Check(); err == nil {
		t.Error("Check accepts timeouts of 1 ms and 1 h")
	}
}

func TestStampsNeverGoBack(t *testing.T) {
	m := newCacheMachine()
	m.apply(2, time.Minute, chunkOf("a", 1, cache.Math("c", "k", cache.Inc, 1, 10*time.Second)))
	m.apply(3, time.Second, chunkOf("a", 2, cache.Math("c", "other", cache.Inc, 1, 10*time.Second)))
	if m.at != time.Minute {
		t.Errorf("after stamps of 1m and 1s the time is %v", m.at)
	}
	if r := m.read(cache.Get("c", "other")); r.Left != 10*time.Second {
		t.Errorf("an item made under the older stamp lives for %v, want 10s", r.Left)
	}
}
