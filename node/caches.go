package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cohortd/cohort/api"
	"github.com/cohortd/cohort/cachefsm"
	"github.com/cohortd/cohort/cachefsm/cache"
	"github.com/cohortd/cohort/cachefsm/op"
	"github.com/cohortd/cohort/clock"
	routercache "github.com/cohortd/cohort/router/cache"
)

// store is one place caches live in: the cache group, or this node's own memory.
type store interface {
	Do(ctx context.Context, op []byte) (op.Result, error)
	Read(ctx context.Context, op []byte, fresh bool) (op.Result, error)
}

// caches sends each operation to where its cache lives, and turns codes into the errors of those who ask.
type caches struct {
	specs []cache.Spec // the first is the default
	local *cachefsm.Local
	group store // set before anything is served
	log   *slog.Logger
}

func newCaches(specs []cache.Spec, c clock.Clock, log *slog.Logger) *caches {
	return &caches{specs: specs, local: cachefsm.NewLocal(cache.New(), c), log: log}
}

// run defines the replicated caches, again and again until the cluster has agreed, and once in a while
// after that, so that what all nodes read from their files is what the table has.
func (c *caches) run(ctx context.Context, ready func()) error {
	for _, s := range c.specs {
		if s.Node {
			if _, err := c.local.Do(ctx, cache.Define(s)); err != nil {
				return fmt.Errorf("define cache %s: %w", s.Name, err)
			}
		}
	}
	// The gateway waits a moment for the cluster, so that a node that joins one answers from its first
	// request on. Without a quorum it starts all the same, and says 503.
	patience := time.NewTimer(5 * time.Second)
	defer patience.Stop()
	defined := make(chan struct{})
	go func() {
		defer close(defined)
		c.define(ctx)
	}()
	select {
	case <-defined:
	case <-patience.C:
		c.log.Warn("no quorum yet: requests that need a cache are answered 503 until there is one")
	case <-ctx.Done():
	}
	ready()
	<-defined
	<-ctx.Done()
	return nil
}

func (c *caches) define(ctx context.Context) {
	for _, s := range c.specs {
		for !s.Node && ctx.Err() == nil {
			attempt, cancel := context.WithTimeout(ctx, 2*time.Second)
			r, err := c.group.Do(attempt, cache.Define(s))
			cancel()
			if err != nil {
				continue
			}
			if r.Code != op.OK {
				c.log.Error("cache refused", "cache", s.Name, "why", r.Code)
			}
			break
		}
	}
}

// find gives the store and the name of a cache; "" names the first one.
func (c *caches) find(name string) (store, string, bool) {
	for _, s := range c.specs {
		if s.Name == name || name == "" {
			if s.Node {
				return c.local, s.Name, true
			}
			return c.group, s.Name, true
		}
	}
	return nil, name, false
}

// Get reads an item for a rule.
func (c *caches) Get(ctx context.Context, name, key string, fresh bool) (routercache.Item, error) {
	s, name, ok := c.find(name)
	if !ok {
		return routercache.Item{}, nil
	}
	r, err := s.Read(ctx, cache.Get(name, key), fresh)
	if err := ruleError(r, err); err != nil {
		return routercache.Item{}, err
	}
	if r.Code == op.NotFound {
		return routercache.Item{}, nil
	}
	return routercache.Item{Found: true, IsNumber: r.IsNum, Number: r.Num, Bytes: r.Bytes, Expires: r.Left}, nil
}

// Set adds an item for a rule.
func (c *caches) Set(ctx context.Context, name, key string, value []byte, expires time.Duration) error {
	s, name, ok := c.find(name)
	if !ok {
		return fmt.Errorf("no cache %q", name)
	}
	return ruleError(s.Do(ctx, cache.Set(name, key, value, expires)))
}

// Math changes a number for a rule.
func (c *caches) Math(ctx context.Context, name, key string, kind routercache.Operation, amount int64, expires time.Duration) (int64, error) {
	s, name, ok := c.find(name)
	if !ok {
		return 0, fmt.Errorf("no cache %q", name)
	}
	kinds := [...]cache.Kind{routercache.Add: cache.Inc, routercache.Subtract: cache.Dec, routercache.Multiply: cache.Mul, routercache.Divide: cache.Div}
	r, err := s.Do(ctx, cache.Math(name, key, kinds[kind], amount, expires))
	return r.Num, ruleError(r, err)
}

// ruleError says what an operation came to in the words of the rules.
func ruleError(r op.Result, err error) error {
	if err != nil {
		return err
	}
	switch r.Code {
	case op.OK, op.NotFound:
		return nil
	case op.Exists:
		return routercache.ErrExists
	case op.TooLong:
		return routercache.ErrKey
	case op.TooBig:
		return routercache.ErrValue
	case op.NotNumber:
		return routercache.ErrNotNumber
	case op.Full:
		return routercache.ErrFull
	}
	return fmt.Errorf("the cache answered code %d", r.Code) // not defined yet, most likely: asking again may help
}

// Do does one operation for the API.
func (c *caches) Do(ctx context.Context, req api.CacheRequest) (api.CacheAnswer, error) {
	s, name, ok := c.find(req.Cache)
	if !ok {
		if name == "" {
			return api.CacheAnswer{}, &api.Error{Kind: api.NotFound, Text: "this node has no cache: add one to its ini, cache2 = name=NAME,items=1000"}
		}
		return api.CacheAnswer{}, &api.Error{Kind: api.NotFound, Text: fmt.Sprintf("no cache %q in this node's ini", name)}
	}
	var r op.Result
	var err error
	switch req.Verb {
	case "get", "exists":
		r, err = s.Read(ctx, cache.Get(name, req.Key), !req.Local)
	default:
		var o []byte
		if o, err = encode(name, req); err == nil {
			r, err = s.Do(ctx, o)
		}
	}
	if err != nil {
		return api.CacheAnswer{}, apiError(err)
	}
	return answer(req, r)
}

func encode(name string, req api.CacheRequest) ([]byte, error) {
	amount := func(otherwise int64) int64 {
		if req.Amount != nil {
			return *req.Amount
		}
		return otherwise
	}
	switch req.Verb {
	case "set":
		return cache.Set(name, req.Key, req.Value, req.Expires), nil
	case "update":
		return cache.Update(name, req.Key, req.Value, req.Expires), nil
	case "del":
		return cache.Del(name, req.Key), nil
	case "clear":
		return cache.Clear(name), nil
	case "num":
		return cache.Num(name, req.Key, amount(0), req.Expires), nil
	case "inc":
		return cache.Math(name, req.Key, cache.Inc, amount(1), req.Expires), nil
	case "dec":
		return cache.Math(name, req.Key, cache.Dec, amount(1), req.Expires), nil
	case "mul":
		return cache.Math(name, req.Key, cache.Mul, amount(2), req.Expires), nil
	case "div":
		return cache.Math(name, req.Key, cache.Div, amount(2), req.Expires), nil
	}
	return nil, &api.Error{Kind: api.BadRequest, Text: fmt.Sprintf("no cache operation %q: get, set, update, del, exists, clear, num, inc, dec, mul and div exist", req.Verb)}
}

func answer(req api.CacheRequest, r op.Result) (api.CacheAnswer, error) {
	fail := func(kind api.Kind, text string, args ...any) (api.CacheAnswer, error) {
		return api.CacheAnswer{}, &api.Error{Kind: kind, Text: fmt.Sprintf(text, args...)}
	}
	switch r.Code {
	case op.OK:
	case op.NotFound:
		if req.Verb == "del" {
			return fail(api.NotFound, "no item %q", req.Key)
		}
		return api.CacheAnswer{}, nil
	case op.Exists:
		return fail(api.Conflict, "%q is there already; update overwrites", req.Key)
	case op.TooLong:
		return fail(api.BadRequest, "the key is empty or longer than the cache's keysize")
	case op.TooBig:
		return fail(api.BadRequest, "the value is empty or longer than the cache's blocksize")
	case op.Full:
		return fail(api.Conflict, "the cache is full: raise items= in its cache2 line")
	case op.NotNumber:
		return fail(api.Conflict, "%q holds bytes, not a number", req.Key)
	case op.NoCache:
		return fail(api.NoQuorum, "the cluster has not agreed on this cache yet; try again in a moment")
	default:
		return fail(api.Failed, "the cache answered code %d", r.Code)
	}
	a := api.CacheAnswer{Found: true}
	switch req.Verb {
	case "get", "exists":
		a.Value = r.Bytes
		if r.IsNum {
			a.Number = &r.Num
		}
	case "num", "inc", "dec", "mul", "div":
		a.Number = &r.Num
	}
	return a, nil
}

// apiError says in the API's words why a group did not answer.
func apiError(err error) error {
	var done *api.Error
	switch {
	case errors.As(err, &done):
		return done
	case errors.Is(err, cachefsm.ErrUnknown): // first: an error can be both
		return &api.Error{Kind: api.NoQuorum, Text: "the quorum was lost while this was under way: it may or may not have happened"}
	case errors.Is(err, cachefsm.ErrNoLeader), errors.Is(err, context.DeadlineExceeded):
		return &api.Error{Kind: api.NoQuorum, Text: "no quorum: more than half of the voters must run and reach each other (cohort members shows them)"}
	}
	return err
}
