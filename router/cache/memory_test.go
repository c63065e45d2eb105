package cache

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"
)

// memory is a cluster of one in a map. A key that begins with "down" finds no leader, and one that begins
// with "slow" waits until its context ends.
type memory struct {
	mu    sync.Mutex
	items map[string]held
	full  int // most items; 0 is no limit
}

type held struct {
	Item
	until time.Time
}

func newMemory(specs []Spec) *memory {
	return &memory{items: map[string]held{}}
}

var errNoLeader = errors.New("no leader")

func (m *memory) available(ctx context.Context, key string) error {
	switch {
	case strings.HasPrefix(key, "down"):
		return errNoLeader
	case strings.HasPrefix(key, "slow"):
		<-ctx.Done()
		return ctx.Err()
	case key == "" || len(key) > 100:
		return ErrKey
	}
	return nil
}

func (m *memory) look(cache, key string) (held, bool) {
	h, ok := m.items[cache+"\x00"+key]
	if ok && !h.until.IsZero() && !time.Now().Before(h.until) {
		return held{}, false
	}
	return h, ok
}

func (m *memory) Get(ctx context.Context, cache, key string, _ bool) (Item, error) {
	if err := m.available(ctx, key); err != nil {
		return Item{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	h, ok := m.look(cache, key)
	h.Found = ok
	if ok && !h.until.IsZero() {
		h.Expires = time.Until(h.until)
	}
	return h.Item, nil
}

func (m *memory) Set(ctx context.Context, cache, key string, value []byte, expires time.Duration) error {
	if err := m.available(ctx, key); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.look(cache, key); ok {
		return ErrExists
	}
	if len(value) == 0 {
		return ErrValue
	}
	m.items[cache+"\x00"+key] = held{Item{Bytes: value}, end(expires)}
	return nil
}

func end(expires time.Duration) time.Time {
	if expires == 0 {
		return time.Time{}
	}
	return time.Now().Add(expires)
}

func (m *memory) Math(ctx context.Context, cache, key string, op Operation, amount int64, expires time.Duration) (int64, error) {
	if err := m.available(ctx, key); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	h, ok := m.look(cache, key)
	switch {
	case !ok && m.full > 0 && len(m.items) >= m.full:
		return 0, ErrFull
	case !ok:
		h = held{Item{IsNumber: true}, end(expires)}
	case !h.IsNumber:
		return 0, ErrNotNumber
	}
	switch {
	case op == Add:
		h.Number += amount
	case op == Subtract:
		h.Number -= amount
	case op == Multiply:
		h.Number *= amount
	case amount != 0:
		h.Number /= amount
	default:
		h.Number = 0
	}
	m.items[cache+"\x00"+key] = h
	return h.Number, nil
}
