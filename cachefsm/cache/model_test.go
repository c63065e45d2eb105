package cache

import (
	"maps"
	"math/big"
	"strconv"
	"time"

	"github.com/cohortd/cohort/cachefsm/op"
)

// model is what a table must be equal to, in the plainest words: maps, and a look at every item each time.
type model struct {
	at     time.Duration
	caches map[string]*modelCache
}

type modelCache struct {
	spec  Spec
	items map[string]modelItem
}

type modelItem struct {
	value string
	num   int64
	isNum bool
	end   time.Duration // 0 is never
}

func newModel() *model {
	m := &model{at: start, caches: map[string]*modelCache{}}
	m.caches["one"] = &modelCache{Spec{Name: "one", Items: 3, BlockSize: 8, KeySize: 4}, map[string]modelItem{}}
	m.caches["two"] = &modelCache{Spec{Name: "two", Items: 4, BlockSize: 8, KeySize: 4}, map[string]modelItem{}}
	return m
}

func roundUp(d, grain time.Duration) time.Duration {
	if rest := d % grain; rest > 0 {
		return d + grain - rest
	}
	return d
}

func (m *model) end(life time.Duration) time.Duration {
	switch {
	case life <= 0:
		return 0
	case roundUp(life, time.Millisecond) >= time.Minute:
		return roundUp(m.at+roundUp(life, time.Millisecond), time.Second)
	}
	return roundUp(m.at+roundUp(life, time.Millisecond), 100*time.Millisecond)
}

func (m *model) apply(at time.Duration, o []byte) op.Result {
	m.at = at
	for _, c := range m.caches {
		maps.DeleteFunc(c.items, func(_ string, it modelItem) bool { return it.end != 0 && it.end <= at })
	}
	r := op.Read(o)
	kind := r.Byte()
	if kind == kindDefine {
		s := readSpec(&r)
		m.caches[s.Name].spec = s
		return op.Result{}
	}
	if kind >= kindGet {
		return op.Result{Code: op.Invalid}
	}
	c := m.caches[string(r.Bytes())]
	if kind == kindClear {
		if c == nil {
			return op.Result{Code: op.NoCache}
		}
		n := len(c.items)
		clear(c.items)
		return op.Result{Num: int64(n)}
	}
	key := string(r.Bytes())
	if kind == kindDel {
		if c == nil {
			return op.Result{Code: op.NoCache}
		}
		if _, ok := c.items[key]; !ok {
			return op.Result{Code: op.NotFound}
		}
		delete(c.items, key)
		return op.Result{}
	}
	life := readExpires(&r)
	arith := Kind(0)
	if kind == kindMath {
		if arith = Kind(r.Byte()); arith > Div {
			return op.Result{Code: op.Invalid}
		}
	}
	if c == nil {
		return op.Result{Code: op.NoCache}
	}
	if key == "" || len(key) > c.spec.KeySize {
		return op.Result{Code: op.TooLong}
	}
	old, there := c.items[key]
	if kind == kindSet || kind == kindUpdate {
		value := string(r.Bytes())
		if value == "" || len(value) > c.spec.BlockSize {
			return op.Result{Code: op.TooBig}
		}
		if there && kind == kindSet {
			return op.Result{Code: op.Exists}
		}
		return c.put(key, modelItem{value: value, end: m.end(life)})
	}
	n := r.Varint()
	if kind == kindMath {
		if there && !old.isNum {
			return op.Result{Code: op.NotNumber}
		}
		n = bigMath(arith, old.num, n)
		if there {
			old.num = n
			return c.put(key, old)
		}
	}
	return c.put(key, modelItem{num: n, isNum: true, end: m.end(life)})
}

func (c *modelCache) put(key string, it modelItem) op.Result {
	if _, ok := c.items[key]; !ok && len(c.items) >= c.spec.Items {
		return op.Result{Code: op.Full}
	}
	c.items[key] = it
	return op.Result{IsNum: it.isNum, Num: it.num}
}

// bigMath computes without bounds and then wraps.
func bigMath(kind Kind, a, b int64) int64 {
	x, y, z := big.NewInt(a), big.NewInt(b), new(big.Int)
	switch kind {
	case Inc:
		z.Add(x, y)
	case Dec:
		z.Sub(x, y)
	case Mul:
		z.Mul(x, y)
	case Div:
		if b != 0 {
			z.Quo(x, y)
		}
	}
	z.And(z, new(big.Int).SetUint64(1<<64-1))
	return int64(z.Uint64())
}

func (m *model) everything() (seen []op.Result) {
	for _, name := range []string{"one", "two", "none"} {
		for _, key := range []string{"a", "b", "c", "d", "e", ""} {
			get, exists := op.Result{Code: op.NoCache}, op.Result{Code: op.NoCache}
			if c := m.caches[name]; c != nil {
				get, exists = op.Result{Code: op.NotFound}, op.Result{Code: op.NotFound}
				if it, ok := c.items[key]; ok {
					get, exists = it.get(m.at), op.Result{}
				}
			}
			seen = append(seen, get, exists)
		}
	}
	return seen
}

func (it modelItem) get(at time.Duration) op.Result {
	r := op.Result{Bytes: []byte(it.value)}
	if it.isNum {
		r = op.Result{IsNum: true, Num: it.num, Bytes: []byte(strconv.FormatInt(it.num, 10))}
	}
	if it.end != 0 {
		r.Left = it.end - at
	}
	return r
}
