package node

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cohortd/cohort/config"
	"github.com/cohortd/cohort/router"
)

// oneStepLimit counts and tests in one operation: limit requests pass in a window of some seconds.
func oneStepLimit(limit, seconds int) func(*config.Config) {
	return func(c *config.Config) {
		for _, r := range []router.Rule{
			{Kind: router.Match, Test: `^/(\w*)`, Action: fmt.Sprintf("cacheinc:key=limit-$1,expires=%d,var=N", seconds)},
			{Kind: router.If, Test: fmt.Sprintf(">:${N};%d", limit), Action: "break:503"},
			{Kind: router.Run, Action: "return:200"},
		} {
			r.Table, r.Where = "route", "limit_test.go"
			c.Rules = append(c.Rules, r)
		}
	}
}

// get asks a node's rules once; 0 when its process died meanwhile.
func (b *box) get(path string) (status int) {
	n := b.running()
	if n == nil {
		return 0
	}
	// Clients give up after a while; rules have a deadline of their own before that.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	answer := httptest.NewRecorder()
	n.Handler().ServeHTTP(answer, httptest.NewRequestWithContext(ctx, "GET", path, nil))
	if b.running() != n {
		return 0
	}
	return answer.Code
}

func TestExactlyTheLimitPassesOverThreeNodes(t *testing.T) {
	const limit, callers, requests = 500, 64, 20
	for name, befall := range map[string]func(w *world){
		"in peace":                        func(*world) {},
		"while the cache's leader dies":   func(w *world) { w.leader("cache").kill() },
		"while the cache's leader is cut": func(w *world) { w.net.Isolate(w.leader("cache").name) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				w.rules = oneStepLimit(limit, 60)
				all := w.ready(3)
				var passed, blocked, failed atomic.Int64
				var callersDone sync.WaitGroup
				for i := range callers {
					callersDone.Go(func() {
						for j := range requests {
							switch status := all[(i+j)%3].get("/flood"); status {
							case http.StatusOK:
								passed.Add(1)
							case http.StatusServiceUnavailable:
								blocked.Add(1)
							case 0:
								failed.Add(1)
							default:
								w.t.Errorf("a request was answered %d", status)
							}
							time.Sleep(10 * time.Millisecond)
						}
					})
				}
				time.Sleep(55 * time.Millisecond)
				befall(w)
				callersDone.Wait()
				w.t.Logf("%d passed, %d blocked, %d failed", passed.Load(), blocked.Load(), failed.Load())
				if sum := passed.Load() + blocked.Load() + failed.Load(); sum != callers*requests {
					w.t.Errorf("%d answers to %d requests", sum, callers*requests)
				}
				if name == "in peace" && passed.Load() != limit || passed.Load() > limit {
					w.t.Errorf("%d requests passed, the limit is %d", passed.Load(), limit)
				}
				if took := w.now(); took > 60*time.Second {
					w.t.Errorf("all took %v, more than the window", took)
				}
			})
		})
	}
}

func TestAWindowEndsAlthoughOnlyBlockedRequestsCome(t *testing.T) {
	bubble(t, func(w *world) {
		w.rules = oneStepLimit(10, 20)
		all := w.ready(3)
		began := time.Now()
		for i := 0; time.Since(began) < 19*time.Second; i++ {
			want := http.StatusOK
			if i >= 10 {
				want = http.StatusServiceUnavailable
			}
			if got := all[i%3].get("/k"); got != want {
				w.t.Fatalf("request %d after %v: %d, want %d", i+1, time.Since(began), got, want)
			}
			if i >= 10 {
				time.Sleep(300 * time.Millisecond)
			}
		}
		w.eventually(3*time.Second, "a request passes after the window", func() bool { return all[0].get("/k") == http.StatusOK })

		for range 20 {
			all[1].get("/idle")
		}
		time.Sleep(22 * time.Second)
		if got := all[2].get("/idle"); got != http.StatusOK {
			w.t.Errorf("the first request after an idle window: %d, want 200", got)
		}
	})
}
