package cachefsm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cohortd/cohort/cachefsm/cache"
	"github.com/cohortd/cohort/cachefsm/op"
)

func joined(t *testing.T, q *queue, o string) (*batch, int) {
	t.Helper()
	b, i, err := q.join(t.Context(), []byte(o))
	if err != nil {
		t.Fatalf("join = %v", err)
	}
	return b, i
}

func opsIn(body []byte) (ops []string) {
	for r := op.Read(body[headRoom:]); r.Len() > 0; {
		ops = append(ops, string(r.Bytes()))
	}
	return ops
}

// Who leaves before a batch is sent takes his op along; the others are told their own results.
func TestLeaveBeforeSending(t *testing.T) {
	q := newQueue(10, 1000)
	var b *batch
	for i := range 4 {
		got, place := joined(t, q, fmt.Sprint("op", i))
		if b = got; place != i {
			t.Fatalf("place of op %d = %d", i, place)
		}
	}
	if q.leave(b, 0) || q.leave(b, 2) {
		t.Error("an op that was never sent counts as sent")
	}
	if q.take() != b || q.take() != nil {
		t.Fatal("take is not the one batch")
	}
	body, n := q.send(b)
	if got := opsIn(body); n != 2 || !slices.Equal(got, []string{"op1", "op3"}) {
		t.Errorf("sent are %d ops, %q; want op1 and op3", n, got)
	}
	if !q.leave(b, 1) {
		t.Error("an op that was sent counts as never sent")
	}
	b.finish([]op.Result{{Num: 11}, {Num: 33}}, nil)
	if <-b.done; b.results[1].Num != 11 || b.results[3].Num != 33 {
		t.Errorf("results are %+v", b.results)
	}
}

func TestVoidBatch(t *testing.T) {
	q := newQueue(10, 1000)
	void := func(b *batch) bool {
		select {
		case <-b.void:
			return true
		default:
			return false
		}
	}
	b, _ := joined(t, q, "a")
	q.leave(b, 0)
	if void(b) {
		t.Error("a batch that others may still join is void")
	}
	if q.take(); !void(b) {
		t.Error("a batch that all left is not void when it is taken")
	}
	b, _ = joined(t, q, "b")
	joined(t, q, "c")
	q.take()
	q.leave(b, 0)
	if void(b) {
		t.Error("void although one still waits")
	}
	if q.leave(b, 1); !void(b) {
		t.Error("not void although all left")
	}
}

// A full batch makes callers wait until it is taken, or until their time is up.
func TestFullBatch(t *testing.T) {
	for name, q := range map[string]*queue{"ops": newQueue(2, 1000), "bytes": newQueue(100, 9)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				joined(t, q, "four")
				joined(t, q, "four")
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if _, _, err := q.join(ctx, []byte("four")); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("join of a full batch = %v", err)
				}
				place := -1
				go func() { _, place, _ = q.join(t.Context(), []byte("four")) }()
				synctest.Wait()
				q.take()
				synctest.Wait()
				if place != 0 {
					t.Errorf("place after the full batch was taken = %d, want the first", place)
				}
			})
		})
	}
}

func TestFramesFit(t *testing.T) {
	q := newQueue(10, 100)
	for _, count := range []int{4, 4, 4, 20} {
		if err := q.add(&frame{chunk: make([]byte, 10), count: count, answer: make(chan answer, 1)}); err != nil {
			t.Fatal(err)
		}
	}
	var got []int
	for _, own := range []int{0, 9, 0, 0} {
		got = append(got, len(q.takeFrames(own, 0)))
	}
	if want := []int{2, 1, 1, 0}; !slices.Equal(got, want) {
		t.Errorf("takeFrames took %v frames, want %v: as many as fit, and always one", got, want)
	}
}

func TestClosedQueue(t *testing.T) {
	q := newQueue(10, 100)
	b, _ := joined(t, q, "a")
	f := &frame{answer: make(chan answer, 1)}
	if err := q.add(f); err != nil {
		t.Fatal(err)
	}
	q.close(ErrClosed)
	if <-b.done; !errors.Is(b.err, ErrClosed) {
		t.Errorf("who waited was told %v", b.err)
	}
	if a := <-f.answer; a.status != statusUnknown {
		t.Errorf("the frame was answered %+v", a)
	}
	if _, _, err := q.join(t.Context(), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("join = %v", err)
	}
	if err := q.add(f); !errors.Is(err, ErrClosed) {
		t.Errorf("add = %v", err)
	}
}

func TestParseAnswer(t *testing.T) {
	good := answer{results: []op.Result{{Num: 1}, {Num: 2}}}.encode(1000)
	for name, tt := range map[string]struct {
		b     []byte
		count int
		ok    bool
	}{
		"all results":             {good, 2, true},
		"fewer than asked for":    {good, 3, true},
		"more than asked for":     {good, 1, false},
		"none":                    {answer{}.encode(10), 1, false},
		"none were asked for":     {answer{}.encode(10), 0, true},
		"empty":                   {nil, 1, false},
		"not the leader":          {answer{status: statusNotLeader, leader: "n2"}.encode(0), 1, true},
		"not the leader, cut off": {[]byte{statusNotLeader, 5, 'n'}, 1, false},
		"unknown":                 {answer{status: statusUnknown}.encode(0), 1, true},
		"refused":                 {[]byte{statusBad}, 1, false},
	} {
		if a, err := parseAnswer(tt.b, tt.count); (err == nil) != tt.ok {
			t.Errorf("%s: parseAnswer(%x) = %+v, %v", name, tt.b, a, err)
		}
	}
}

// A callers' deadline while their batch waits for a leader takes their ops out, and only theirs.
func TestDeadlinesWithoutLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := cluster(t, 3, nil)
		f := r.follower()
		r.w.cutOff(f.id)
		time.Sleep(5 * time.Second) // it knows that there is no leader
		type end struct {
			res op.Result
			err error
		}
		ends := make([]chan end, 10)
		for i := range ends {
			ends[i] = make(chan end, 1)
			go func() {
				d := time.Second
				if i%2 == 0 {
					d = time.Minute
				}
				res, err := f.g.Do(r.ctx(d), inc(fmt.Sprint("k", i)))
				ends[i] <- end{res, err}
			}()
		}
		time.Sleep(2 * time.Second)
		r.w.heal()
		for i := range ends {
			e := <-ends[i]
			if i%2 == 0 && (e.err != nil || e.res.Num != 1) {
				t.Errorf("who had time was told %+v, %v", e.res, e.err)
			}
			if i%2 == 1 && (!errors.Is(e.err, ErrNoLeader) || errors.Is(e.err, ErrUnknown)) {
				t.Errorf("who had none was told %+v, %v; want ErrNoLeader without doubt", e.res, e.err)
			}
		}
		for i := range ends {
			res := r.read(f.id, getOf(i), true)
			if (res.Code == op.OK) != (i%2 == 0) {
				t.Errorf("k%d holds %+v", i, res)
			}
		}
	})
}

func getOf(i int) []byte { return cache.Get("c", fmt.Sprint("k", i)) }
