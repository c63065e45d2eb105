// Package router is uWSGI's internal routing: rules that look at a request, change it, answer it, or let it
// pass to a handler.
//
// Rules are compiled once into chains of closures, one chain for each of the four tables; after that a Router
// is never changed, and serves any number of requests at once. It starts no goroutine. What a rule can name is
// a Menu: the caller joins the menus of the parts it has.
//
// Where uWSGI would close the connection without a byte, a Router answers.
package router

import (
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Router runs the rules for each request. It is an http.Handler.
type Router struct {
	tables
	handler func(*Request)
	host    string
	log     *slog.Logger
	notices []string

	requests    sync.Pool // of *Request
	served      atomic.Uint64
	failures    atomic.Uint64
	untold      atomic.Uint64 // failures since the last one that was logged
	lastFailure atomic.Int64  // when that was, in Unix seconds
}

// Notices tell what the rules name that has no effect, each with its place.
func (t *Router) Notices() []string { return t.notices }

// Stats counts since the start.
type Stats struct {
	Requests uint64 // requests answered
	Failures uint64 // rules that could not be carried out
}

// Stats are the counters now.
func (t *Router) Stats() Stats {
	return Stats{Requests: t.served.Load(), Failures: t.failures.Load()}
}

// ServeHTTP answers one request: the request table, then the handler, then the final table.
func (t *Router) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r := t.requests.Get().(*Request)
	r.begin(t, w, req)
	t.serve(r)
	t.served.Add(1)
	t.logRequest(r)
	r.reset()
	t.requests.Put(r)
}

func (t *Router) serve(r *Request) {
	defer t.rescue(r)
	if t.request.run(r) != Break {
		t.handler(r)
	}
	r.finish()
	t.final.run(r)
}

// rescue turns a panic into a 500, if there is still time for one.
func (t *Router) rescue(r *Request) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler {
		panic(p)
	}
	t.log.Error("panic while answering", "panic", p, "rule", r.where, "stack", string(debug.Stack()))
	if r.sent {
		panic(http.ErrAbortHandler) // half an answer must not look like a whole one
	}
	r.silent, r.erring, r.responded = false, true, true // no more rules for this one
	r.Fail(panicked(p))
}

// failed counts and logs what a rule could not do, at most once a second: a cluster without a leader must not
// fill the disk.
func (t *Router) failed(r *Request, err error) {
	t.failures.Add(1)
	if r.Context().Err() != nil { // the client is gone, and whatever waited for it gave up
		t.log.Debug("rule given up", "rule", r.where, "err", err)
		return
	}
	now := time.Now().Unix()
	last := t.lastFailure.Load()
	if now == last || !t.lastFailure.CompareAndSwap(last, now) {
		t.untold.Add(1)
		return
	}
	t.log.Warn("rule failed", "rule", r.where, "err", err, "uri", r.HTTP.RequestURI, "others", t.untold.Swap(0))
}

func (t *Router) logRequest(r *Request) {
	ctx := r.Context()
	if r.quiet || !t.log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	addr, _ := r.Var("REMOTE_ADDR")
	facts := []slog.Attr{
		slog.String("method", r.HTTP.Method), slog.String("uri", r.HTTP.RequestURI), slog.String("client", addr),
		slog.Int("status", r.Status()), slog.Int64("bytes", r.size), slog.Duration("took", time.Since(r.started)),
	}
	for _, v := range r.logVars {
		facts = append(facts, slog.String(v.name, v.value))
	}
	t.log.LogAttrs(ctx, slog.LevelDebug, "request", facts...)
}
