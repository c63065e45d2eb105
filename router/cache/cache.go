// Package cache is the rules' way to the caches: uWSGI's plugin router_cache, whose arithmetic makes limiters.
//
// What a cache cannot do ends the request with a status, where uWSGI closes the connection: 500 for what will
// never work, such as arithmetic on text, and 503 with Retry-After for what may work soon. A cache, or a single
// action, with unavailable=open lets such requests go on instead.
package cache

import (
	"context"
	"errors"
	"time"

	"github.com/cohortd/cohort/router"
)

// Item is what a cache holds under a key: a number, or bytes.
type Item struct {
	Found    bool
	IsNumber bool
	Number   int64
	Bytes    []byte
	Expires  time.Duration // time left; 0 is forever
}

// Operation is one of the four of arithmetic.
type Operation uint8

const (
	Add Operation = iota
	Subtract
	Multiply
	Divide
)

// Caches is the part of the caches that rules need. What is refused for good comes back as one of the errors
// below, anything else as an error that says the cache cannot answer now. Calls end with their context.
type Caches interface {
	// Get reads an item, as of now in the whole cluster when fresh, else as this node knows it.
	Get(ctx context.Context, cache, key string, fresh bool) (Item, error)
	// Set adds an item and leaves one that is there.
	Set(ctx context.Context, cache, key string, value []byte, expires time.Duration) error
	// Math changes a number in one step and returns what it is afterwards. An item that is not there starts
	// at 0, and only then gets its time to live.
	Math(ctx context.Context, cache, key string, op Operation, amount int64, expires time.Duration) (int64, error)
}

// What a cache refuses.
var (
	ErrExists    = errors.New("the key is there already")
	ErrKey       = errors.New("the key is empty or too long")
	ErrValue     = errors.New("the value is empty or too long")
	ErrNotNumber = errors.New("the item is not a number")
	ErrFull      = errors.New("the cache is full") // for now: answered like a cache that cannot answer
)

// Spec is what rules must know of a cache.
type Spec struct {
	Name string
	Open bool // unavailable=open
	Node bool // kept by this node alone: always there, so its operations need no deadline
}

// deadline is how long a request waits for the cluster, unless deadline= says otherwise. An election of the
// caches' leader takes about two seconds.
const deadline = 2 * time.Second

// retryAfter is what a client is told when the cluster cannot answer.
const retryAfter = time.Second

// Menu is what rules can name of the caches. The first of specs is the one that is meant when a rule names
// none.
func Menu(caches Caches, specs []Spec) router.Menu {
	m := &menu{caches: caches, specs: specs}
	return router.Menu{
		Actions: map[string]router.Builder{
			"cache":          m.serve(router.Break),
			"cache-continue": m.serve(router.Next),
			"cachevar":       m.variable,
			"cacheset":       m.set,
			"cacheinc":       m.math(Add, 1),
			"cachedec":       m.math(Subtract, 1),
			"cachemul":       m.math(Multiply, 2),
			"cachediv":       m.math(Divide, 2),
		},
		Conditions: map[string]router.ConditionBuilder{
			"incache": m.has,
		},
	}
}

type menu struct {
	caches Caches
	specs  []Spec
}
