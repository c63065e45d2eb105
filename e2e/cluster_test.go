package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cohortd/cohort/cluster"
	"github.com/cohortd/cohort/config"
	"github.com/cohortd/cohort/e2e/memnet"
	"github.com/cohortd/cohort/node"
)

// keys are derived once and outside of every bubble: the derivation is slow on purpose.
var keys = sync.OnceValues(func() (*cluster.Keys, error) {
	return cluster.DeriveKeys("a secret of the tests, long enough", "", "cohort")
})

// startShipped runs the limiter as it is shipped on nodes of a network in memory, each with the lines that
// differ from node to node, and gives what answers on each of them.
func startShipped(t *testing.T, n int) []http.Handler {
	t.Helper()
	k, err := keys()
	if err != nil {
		t.Fatal(err)
	}
	net := memnet.New(t)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
	var handlers []http.Handler
	var started []chan struct{}
	for i := range n {
		ip := fmt.Sprintf("10.0.0.%d", i+1)
		cfg, err := config.Load("../examples/limiter.ini", []string{
			"--node", fmt.Sprintf("n%d", i+1), "--cluster", ip + ":7400", "--cluster-expect", fmt.Sprint(n),
			"--cluster-join", "10.0.0.1:7400,10.0.0.2:7400,10.0.0.3:7400", "--cluster-secret", "a secret of the tests, long enough",
		}, func(string) (string, bool) { return "", false })
		if err != nil {
			t.Fatal(err)
		}
		cfg.Gateway.Listen = nil // a bubble bears no real sockets
		member, err := node.New(cfg, node.Deps{
			Network: net.Host(cfg.Node, ip), Clock: memnet.NewClock(1, time.Duration(i)*time.Hour), Keys: k,
			ID: cluster.NewIdentity("", 1), Memory: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		up := make(chan struct{})
		running.Go(func() {
			if err := member.Run(ctx, func() { close(up) }); err != nil {
				t.Errorf("%s: Run = %v, want no error", cfg.Node, err)
			}
		})
		started = append(started, up)
		handlers = append(handlers, member.Handler())
	}
	for _, up := range started { // before that nobody may ask
		<-up
	}
	return handlers
}

// TestTheShippedLimiterIsOneLimitOnAnyNumberOfNodes asks nodes that share the shipped file in turn, with the
// 30 seconds that it names: 11 requests pass, as on one uWSGI, and the next one when the window is over,
// although blocked requests come all the time.
func TestTheShippedLimiterIsOneLimitOnAnyNumberOfNodes(t *testing.T) {
	if _, err := keys(); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 3, 5} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nodes := startShipped(t, n)
				asked := 0
				ask := func(addr string) int {
					answer := httptest.NewRecorder()
					r := httptest.NewRequest(http.MethodGet, "/", nil)
					r.RemoteAddr = addr + ":4711"
					nodes[asked%n].ServeHTTP(answer, r)
					asked++
					return answer.Code
				}
				for ready := time.Now().Add(20 * time.Second); ask("192.0.2.9") != http.StatusOK; time.Sleep(100 * time.Millisecond) {
					if time.Now().After(ready) {
						t.Fatal("no node lets a request pass after 20s")
					}
				}
				time.Sleep(5 * time.Second) // until all have joined
				began := time.Now()
				for i := range 20 {
					want := http.StatusOK
					if i >= 11 {
						want = http.StatusServiceUnavailable
					}
					if got := ask("192.0.2.1"); got != want {
						t.Errorf("request %d of an address: %d, want %d", i+1, got, want)
					}
				}
				if got := ask("192.0.2.2"); got != http.StatusOK {
					t.Errorf("the first request of another address: %d, want 200", got)
				}
				for ask("192.0.2.1") != http.StatusOK {
					if time.Since(began) > 33*time.Second {
						t.Fatal("no request passes 33s after the first")
					}
					time.Sleep(100 * time.Millisecond)
				}
				if passed := time.Since(began); passed < 29*time.Second {
					t.Errorf("a request passes %v after the first, inside the window of 30s", passed)
				}
			})
		})
	}
}
