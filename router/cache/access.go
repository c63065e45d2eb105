package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cohortd/cohort/router"
)

// access is what every rule about a cache says: which cache, which key, and what if it cannot answer.
type access struct {
	caches Caches
	what   string // the action, for messages
	cache  string
	key    router.Text
	fresh  bool
	open   bool
	wait   time.Duration // 0 is for ever
}

// common are the keys of all cache actions.
var common = []string{"key", "name", "unavailable", "deadline", "read"}

// access reads the keys that all actions share, and hands all keys on.
func (m *menu) access(args string, s *router.Scope, more ...string) (*access, map[string]string, error) {
	keys, err := s.Keys(args, append(more, common...)...)
	if err != nil {
		return nil, nil, err
	}
	a := &access{caches: m.caches, what: s.Action, fresh: true, wait: deadline}
	if keys["key"] == "" {
		return nil, nil, errors.New("it needs key=")
	}
	a.key = s.Text(keys["key"])
	spec, ok := m.find(keys["name"])
	if !ok {
		return nil, nil, m.nameless(keys["name"])
	}
	a.cache, a.open = spec.Name, spec.Open
	switch keys["unavailable"] {
	case "":
	case "open":
		a.open = true
	case "closed":
		a.open = false
	default:
		return nil, nil, fmt.Errorf("unavailable=%s: it is open or closed", keys["unavailable"])
	}
	switch keys["read"] {
	case "", "fresh":
	case "local":
		a.fresh = false
	default:
		return nil, nil, fmt.Errorf("read=%s: it is fresh or local", keys["read"])
	}
	if text := keys["deadline"]; text != "" {
		if a.wait, err = duration(text); err != nil || a.wait == 0 {
			return nil, nil, fmt.Errorf("deadline=%s: it is a time such as 500ms", text)
		}
	}
	if spec.Node {
		a.wait = 0
	}
	return a, keys, nil
}

func (m *menu) find(name string) (Spec, bool) {
	if name == "" && len(m.specs) > 0 {
		return m.specs[0], true
	}
	i := slices.IndexFunc(m.specs, func(s Spec) bool { return s.Name == name })
	if i < 0 {
		return Spec{}, false
	}
	return m.specs[i], true
}

// errNoCache says that the rules name a cache that nothing defines.
var errNoCache = errors.New("there is no cache")

func (m *menu) nameless(name string) error {
	switch {
	case strings.Contains(name, "@"):
		return fmt.Errorf("%w %q: caches of other servers are not read; with the option cluster every node has each cache", errNoCache, name)
	case len(m.specs) == 0:
		return fmt.Errorf("%w: define one with cache2 = name=NAME,items=1000", errNoCache)
	}
	names := make([]string, len(m.specs))
	for i, spec := range m.specs {
		names[i] = spec.Name
	}
	return fmt.Errorf("%w %q, only %s", errNoCache, name, strings.Join(names, ", "))
}

// duration reads seconds, or a number with its unit.
func duration(text string) (time.Duration, error) {
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is not a time: it is a number of seconds, or such as 500ms", text)
	}
	return d, nil
}

// ask calls the cache with the time it has. Without a deadline, the request's own context will do.
func (a *access) ask(r *router.Request, call func(context.Context) error) error {
	if a.wait == 0 {
		return call(r.Context())
	}
	ctx, cancel := context.WithTimeout(r.Context(), a.wait)
	defer cancel()
	return call(ctx)
}

// failed decides what becomes of a request whose cache did not do what it was asked: nil lets it go on.
func (a *access) failed(err error) error {
	err = fmt.Errorf("%s: cache %s: %w", a.what, a.cache, err)
	for _, lasting := range []error{ErrExists, ErrKey, ErrValue, ErrNotNumber} {
		if errors.Is(err, lasting) {
			return err
		}
	}
	if a.open {
		return nil
	}
	return &router.Error{Status: 503, RetryAfter: retryAfter, Err: err}
}

// after is failed, for an action.
func (a *access) after(r *router.Request, err error) router.Verdict {
	if err = a.failed(err); err != nil {
		return r.Fail(err)
	}
	return router.Next
}
