package cache

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/cohortd/cohort/router"
)

// get reads the item under the rule's key. Under a key that no item can have, there is none.
func (a *access) get(r *router.Request) (item Item, err error) {
	err = a.ask(r, func(ctx context.Context) error {
		item, err = a.caches.Get(ctx, a.cache, a.key.Expand(r), a.fresh)
		return err
	})
	if errors.Is(err, ErrKey) {
		return Item{}, nil
	}
	return item, err
}

// text is the item as rules and clients see it: numbers are written out in full.
func (i Item) text() string {
	if i.IsNumber {
		return strconv.FormatInt(i.Number, 10)
	}
	return string(i.Bytes)
}

// serve is cache: and cache-continue:, which answer with an item.
func (m *menu) serve(then router.Verdict) router.Builder {
	return func(args string, s *router.Scope) (router.Action, error) {
		a, keys, err := m.access(args, s, "content_type", "content_encoding", "mime", "no_offload", "nocl", "no_cl", "no_content_length")
		if errors.Is(err, errNoCache) && len(m.specs) > 0 {
			// As in uWSGI; here the worst that happens is that the next rule answers.
			s.Notice("%s: %v: nothing is ever found in it", s.Action, err)
			return func(*router.Request) router.Verdict { return router.Next }, nil
		}
		if err != nil {
			return nil, err
		}
		reply := reply{types: s.Types(), key: a.key, contentType: "text/html", encoding: s.Text(keys["content_encoding"])}
		if keys["content_type"] != "" {
			reply.contentType = keys["content_type"]
		}
		reply.mime = keys["mime"] != ""
		reply.noLength = keys["nocl"]+keys["no_cl"]+keys["no_content_length"] != ""
		return func(r *router.Request) router.Verdict {
			item, err := a.get(r)
			switch {
			case err != nil:
				return a.after(r, err)
			case !item.Found:
				return router.Next
			}
			reply.send(r, item)
			return then
		}, nil
	}
}

// reply is how cache: dresses an item.
type reply struct {
	types       router.Types
	key         router.Text
	contentType string
	encoding    router.Text
	mime        bool // the type is that of the key's extension
	noLength    bool
}

func (p *reply) send(r *router.Request, item Item) {
	body := item.text()
	contentType := p.contentType
	if p.mime {
		if t := p.types.Of(p.key.Expand(r)); t != "" {
			contentType = t
		}
	}
	r.Head(http.StatusOK, "")
	head := r.Header()
	head.Set("Content-Type", contentType)
	if encoding := p.encoding.Expand(r); encoding != "" {
		head.Set("Content-Encoding", encoding)
	}
	if item.Expires > 0 {
		head.Set("Expires", time.Now().Add(item.Expires).UTC().Format(http.TimeFormat))
	}
	if !p.noLength {
		head.Set("Content-Length", strconv.Itoa(len(body)))
	}
	r.WriteString(body) // the client is gone; there is nobody to tell
	if p.noLength {
		r.Flush() // or the length is known after all
	}
}

// variable is cachevar:, which puts an item into a variable. With as_num it is a number in any case: text
// counts as the number it begins with. Nothing under the key leaves the variable as it is.
func (m *menu) variable(args string, s *router.Scope) (router.Action, error) {
	a, keys, err := m.access(args, s, "var", "num", "as_num")
	if err != nil {
		return nil, err
	}
	name, number := keys["var"], keys["num"]+keys["as_num"] != ""
	if name == "" {
		return nil, errors.New("it needs var=")
	}
	return func(r *router.Request) router.Verdict {
		item, err := a.get(r)
		switch {
		case err != nil:
			return a.after(r, err)
		case !item.Found:
		case number && !item.IsNumber:
			r.AddVar(name, strconv.FormatInt(router.Number(item.text()), 10))
		default:
			r.AddVar(name, item.text())
		}
		return router.Next
	}, nil
}

// set is cacheset:, which adds an item. A key that is there already ends the request, as in uWSGI: rules that
// let something happen once depend on it.
func (m *menu) set(args string, s *router.Scope) (router.Action, error) {
	a, keys, err := m.access(args, s, "value", "expires")
	if err != nil {
		return nil, err
	}
	expires, err := lifetime(keys)
	if err != nil {
		return nil, err
	}
	if _, ok := keys["value"]; !ok {
		return nil, errors.New("it needs value=")
	}
	value := s.Text(keys["value"])
	return func(r *router.Request) router.Verdict {
		err := a.ask(r, func(ctx context.Context) error {
			return a.caches.Set(ctx, a.cache, a.key.Expand(r), []byte(value.Expand(r)), expires)
		})
		if err != nil {
			return a.after(r, err)
		}
		return router.Next
	}, nil
}

// math is cacheinc: and its sisters. var=NAME receives the number as it is afterwards, so that a limiter can
// count and test in one step.
func (m *menu) math(op Operation, amount int64) router.Builder {
	return func(args string, s *router.Scope) (router.Action, error) {
		a, keys, err := m.access(args, s, "value", "expires", "var")
		if err != nil {
			return nil, err
		}
		expires, err := lifetime(keys)
		if err != nil {
			return nil, err
		}
		_, given := keys["value"]
		by, name := s.Text(keys["value"]), keys["var"]
		return func(r *router.Request) router.Verdict {
			n := amount
			if given {
				n = router.Number(by.Expand(r))
			}
			var result int64
			err := a.ask(r, func(ctx context.Context) (err error) {
				result, err = a.caches.Math(ctx, a.cache, a.key.Expand(r), op, n, expires)
				return err
			})
			if err != nil {
				return a.after(r, err)
			}
			if name != "" {
				r.AddVar(name, strconv.FormatInt(result, 10))
			}
			return router.Next
		}, nil
	}
}

func lifetime(keys map[string]string) (time.Duration, error) {
	text := keys["expires"]
	if text == "" {
		return 0, nil
	}
	d, err := duration(text)
	if err != nil {
		return 0, fmt.Errorf("expires: %w", err)
	}
	return d, nil
}

// has is the condition incache:. A cache that cannot answer and is open counts as one without the item.
func (m *menu) has(args string, s *router.Scope) (router.Condition, error) {
	a, _, err := m.access(args, s)
	if err != nil {
		return nil, err
	}
	return func(r *router.Request) (bool, error) {
		item, err := a.get(r)
		if err != nil {
			return false, a.failed(err)
		}
		return item.Found, nil
	}, nil
}
