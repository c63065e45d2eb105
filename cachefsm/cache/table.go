// Package cache is the pure table of all caches: items of bytes and 64-bit numbers that expire.
//
// What an op comes to depends on what was applied before it and on the time it was stamped with, on nothing
// else: two tables that apply the same ops answer the same, an hour apart, after a restart, from a snapshot.
// Apply and Advance must not run beside anything else; Reads may run beside each other; what Snapshot
// returned may run beside everything.
package cache

import (
	"slices"
	"strings"
	"time"

	"github.com/cohortd/cohort/cachefsm/op"
)

// reapPerEntry bounds the work of taking back ended items' memory, about a millisecond an entry.
const reapPerEntry = 8192

// Table is all caches. New makes one.
type Table struct {
	at    time.Duration // of the last entry: what reads go by
	keeps map[string]*keep
	order []*keep // by name
}

// New returns a table without caches.
func New() *Table { return &Table{keeps: map[string]*keep{}} }

// Timed says that something here waits for time to pass.
func (t *Table) Timed() bool { return slices.ContainsFunc(t.order, (*keep).timed) }

// Advance ends what is due at that time. Time that goes back stands still instead.
func (t *Table) Advance(at time.Duration) {
	t.at = max(t.at, at)
	now, budget := int64(t.at/tick), reapPerEntry
	for _, k := range t.order {
		budget = k.advance(now, budget)
	}
}

// Apply changes the table. Ops that only read are for Read and are Invalid here.
func (t *Table) Apply(_ uint64, _ time.Duration, o []byte) op.Result {
	r := op.Read(o)
	kind := r.Byte()
	if kind == kindDefine {
		spec := readSpec(&r)
		if !r.Done() || spec.Name == "" || len(spec.Name) > MaxName {
			return op.Result{Code: op.Invalid}
		}
		return t.define(spec.clamped())
	}
	k := t.keeps[string(r.Bytes())]
	if kind == kindClear {
		return t.clear(k, r.Done())
	}
	key := r.Bytes()
	var expires time.Duration
	if kind != kindDel {
		expires = readExpires(&r)
	}
	switch kind {
	case kindMath:
		arith, amount := Kind(r.Byte()), r.Varint()
		if code := usable(k, r.Done() && arith <= Div); code != op.OK {
			return op.Result{Code: code}
		}
		return k.math(t.at, key, arith, amount, expires)
	case kindSet, kindUpdate:
		value := r.Bytes()
		if code := usable(k, r.Done()); code != op.OK {
			return op.Result{Code: code}
		}
		return k.set(t.at, key, value, expires, kind == kindUpdate)
	case kindNum:
		n := r.Varint()
		if code := usable(k, r.Done()); code != op.OK {
			return op.Result{Code: code}
		}
		return k.setNum(t.at, key, n, expires)
	case kindDel:
		if code := usable(k, r.Done()); code != op.OK {
			return op.Result{Code: code}
		}
		id := k.find(key)
		if id == 0 {
			return op.Result{Code: op.NotFound}
		}
		k.drop(id)
		return op.Result{}
	}
	return op.Result{Code: op.Invalid}
}

func usable(k *keep, wellFormed bool) op.Code {
	if !wellFormed {
		return op.Invalid
	}
	if k == nil {
		return op.NoCache
	}
	return op.OK
}

func (t *Table) clear(k *keep, wellFormed bool) op.Result {
	if code := usable(k, wellFormed); code != op.OK {
		return op.Result{Code: code}
	}
	return op.Result{Num: int64(k.clear())}
}

func (t *Table) define(s Spec) op.Result {
	if k := t.keeps[s.Name]; k != nil {
		k.spec = s
		return op.Result{}
	}
	if len(t.keeps) >= MaxCaches {
		return op.Result{Code: op.Full}
	}
	t.insert(newKeep(s, 0))
	return op.Result{}
}

func (t *Table) insert(k *keep) {
	k.now = int64(t.at / tick)
	t.keeps[k.spec.Name] = k
	i, _ := slices.BinarySearchFunc(t.order, k.spec.Name, func(k *keep, name string) int { return strings.Compare(k.spec.Name, name) })
	t.order = slices.Insert(t.order, i, k)
}

// Read answers Get, Exists and List, as of the last entry.
func (t *Table) Read(o []byte) op.Result {
	r := op.Read(o)
	kind := r.Byte()
	if kind == kindList {
		return t.list(r.Done())
	}
	k, key := t.keeps[string(r.Bytes())], r.Bytes()
	if kind != kindGet && kind != kindExists {
		return op.Result{Code: op.Invalid}
	}
	if code := usable(k, r.Done()); code != op.OK {
		return op.Result{Code: code}
	}
	if kind == kindGet {
		return k.get(t.at, key)
	}
	if k.find(key) == 0 {
		return op.Result{Code: op.NotFound}
	}
	return op.Result{}
}

func (t *Table) list(wellFormed bool) op.Result {
	if !wellFormed {
		return op.Result{Code: op.Invalid}
	}
	b := op.Uvarint(nil, uint64(len(t.order)))
	for _, k := range t.order {
		b = op.Uvarint(appendSpec(b, k.spec), uint64(k.live))
	}
	return op.Result{Bytes: b}
}
