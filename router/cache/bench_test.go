package cache

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/cohortd/cohort/router"
)

// quick is the least that can be called a cache, so that the benchmarks see the rules and not the cache.
type quick struct {
	mu     sync.Mutex
	number int64
}

func (q *quick) Get(context.Context, string, string, bool) (Item, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return Item{Found: true, IsNumber: true, Number: 5}, nil
}

func (q *quick) Set(context.Context, string, string, []byte, time.Duration) error { return nil }

func (q *quick) Math(context.Context, string, string, Operation, int64, time.Duration) (int64, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.number++
	return q.number % 10, nil
}

func benchRouter(b *testing.B, node bool, text string) *router.Router {
	b.Helper()
	rules, _ := parseRules(text)
	specs := []Spec{{Name: "limiter", Node: node}}
	menu := router.Core().With(Menu(&quick{}, specs))
	menu.Handler = func(r *router.Request) {
		r.Head(http.StatusOK, "")
		r.WriteString("ok")
	}
	site, err := router.Compile(rules, menu, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		b.Fatal(err)
	}
	return site
}

const twoSteps = `route-run = cachevar:key=${REMOTE_ADDR},as_num=1,var=LIMIT
route-if = >:${LIMIT};10 goto:blockit
route-run = cacheinc:key=${REMOTE_ADDR},expires=30
route-run = last:
route-label = blockit
route-run = break:503`

const oneStep = `route-run = cacheinc:key=${REMOTE_ADDR},expires=30,var=COUNT
route-if = >:${COUNT};11 break:503`

// chains are what a request passes, from nothing to both limiters.
var chains = []struct{ name, rules string }{{"none", ""}, {"one-step", oneStep}, {"two-steps", twoSteps}}

// discard is a ResponseWriter that costs nothing.
type discard struct{ head http.Header }

func (d *discard) Header() http.Header         { return d.head }
func (d *discard) WriteHeader(int)             {}
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteString(s string) (int, error) {
	return len(s), nil
}

func BenchmarkChain(b *testing.B) {
	for _, chain := range chains {
		for name, node := range map[string]bool{"/node": true, "/replicated": false} {
			b.Run(chain.name+name, func(b *testing.B) {
				site := benchRouter(b, node, chain.rules)
				req := httptest.NewRequest("GET", "/path", nil)
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					w := &discard{http.Header{}}
					for pb.Next() {
						site.ServeHTTP(w, req)
					}
				})
			})
		}
	}
}

// BenchmarkServer is the same through net/http on loopback, beside a bare net/http handler.
func BenchmarkServer(b *testing.B) {
	serve := func(name string, handler http.Handler) {
		b.Run(name, func(b *testing.B) {
			server := httptest.NewServer(handler)
			defer server.Close()
			client := server.Client()
			client.Transport.(*http.Transport).MaxIdleConnsPerHost = 64
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					resp, err := client.Get(server.URL)
					if err != nil {
						b.Error(err)
						return
					}
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			})
		})
	}
	serve("net-http", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }))
	for _, chain := range chains {
		serve(chain.name, benchRouter(b, false, chain.rules))
	}
}
