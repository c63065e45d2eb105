package cache

import (
	"strconv"
	"strings"
	"time"

	"github.com/cohortd/cohort/cachefsm/op"
)

// keep is one cache with its items.
type keep struct {
	spec  Spec
	index index
	slab  slab
	wheel wheel
	live  int   // items that have not ended
	now   int64 // the tick it is
}

func newKeep(spec Spec, hint int) *keep {
	return &keep{spec: spec, index: newIndex(hint), wheel: wheel{buckets: map[int64]*bucket{}}}
}

// gone says that an item ended, whether it was reaped or not.
func (k *keep) gone(it *item) bool { return it.mark > 1 && it.tick() <= k.now }

// find is the place of a key that is there, or 0.
func (k *keep) find(key []byte) uint32 {
	id := k.index.find(&k.slab, k.index.hash(key), key)
	if id != 0 && k.gone(k.slab.at(id)) {
		return 0
	}
	return id
}

// add makes an item that is not there. The caller checked the key's length.
func (k *keep) add(key []byte, text string, num int64, bytes bool, end int64) op.Code {
	if k.live >= k.spec.Items {
		return op.Full
	}
	h := k.index.hash(key)
	if id := k.index.find(&k.slab, h, key); id != 0 {
		k.drop(id) // it ended and was not reaped
	}
	id := k.slab.take()
	it := k.slab.own(id)
	*it = item{text: text, num: num, mark: mark(end, bytes)}
	k.index.put(h, id)
	if end > k.now {
		k.wheel.link(&k.slab, id, end)
	}
	k.live++
	return op.OK
}

// replace changes what an item holds, and when it ends.
func (k *keep) replace(id uint32, text string, num int64, bytes bool, end int64) {
	if old := k.slab.at(id).tick(); old != end {
		if old != 0 {
			k.wheel.unlink(&k.slab, id)
		}
		if end != 0 {
			k.wheel.link(&k.slab, id, end)
		}
	}
	it := k.slab.own(id)
	it.text, it.num, it.mark = text, num, mark(end, bytes)
}

// drop takes an item away, ended or not.
func (k *keep) drop(id uint32) {
	it := k.slab.at(id)
	if !k.gone(it) {
		k.live--
	}
	if it.tick() != 0 {
		k.wheel.unlink(&k.slab, id)
	}
	k.index.remove(k.index.hashString(it.key()), id)
	k.slab.release(id)
}

func (k *keep) clear() (n int) {
	n = k.live
	fresh := newKeep(k.spec, 0)
	fresh.now, fresh.slab.epoch = k.now, k.slab.epoch
	*k = *fresh
	return n
}

// advance ends what is due and reaps up to budget items; it says how much of the budget is left.
func (k *keep) advance(now int64, budget int) int {
	k.now = now
	k.live -= k.wheel.advance(now)
	for budget > 0 {
		id := k.wheel.next()
		if id == 0 {
			break
		}
		k.drop(id)
		budget--
	}
	return budget
}

func (k *keep) timed() bool { return len(k.wheel.buckets) > 0 }

func (k *keep) fits(key []byte) bool { return len(key) > 0 && len(key) <= k.spec.KeySize }

func join(key, value []byte) string {
	var b strings.Builder
	b.Grow(len(key) + len(value))
	b.Write(key)
	b.Write(value)
	return b.String()
}

func (k *keep) set(at time.Duration, key, value []byte, expires time.Duration, overwrite bool) op.Result {
	if !k.fits(key) {
		return op.Result{Code: op.TooLong}
	}
	if len(value) == 0 || len(value) > k.spec.BlockSize {
		return op.Result{Code: op.TooBig}
	}
	id := k.find(key)
	if id != 0 && !overwrite {
		return op.Result{Code: op.Exists}
	}
	end := tickOf(at, expires)
	if id == 0 {
		return op.Result{Code: k.add(key, join(key, value), int64(len(key)), true, end)}
	}
	k.replace(id, join(key, value), int64(len(key)), true, end)
	return op.Result{}
}

func (k *keep) setNum(at time.Duration, key []byte, n int64, expires time.Duration) op.Result {
	if !k.fits(key) {
		return op.Result{Code: op.TooLong}
	}
	end := tickOf(at, expires)
	if id := k.find(key); id != 0 {
		k.replace(id, string(key), n, false, end)
	} else if code := k.add(key, string(key), n, false, end); code != op.OK {
		return op.Result{Code: code}
	}
	return op.Result{IsNum: true, Num: n}
}

func (k *keep) math(at time.Duration, key []byte, kind Kind, amount int64, expires time.Duration) op.Result {
	if !k.fits(key) {
		return op.Result{Code: op.TooLong}
	}
	id := k.find(key)
	if id == 0 {
		n := compute(kind, 0, amount)
		if code := k.add(key, string(key), n, false, tickOf(at, expires)); code != op.OK {
			return op.Result{Code: code}
		}
		return op.Result{IsNum: true, Num: n}
	}
	if k.slab.at(id).bytes() {
		return op.Result{Code: op.NotNumber}
	}
	it := k.slab.own(id)
	it.num = compute(kind, it.num, amount)
	return op.Result{IsNum: true, Num: it.num}
}

// compute wraps modulo 2^64. Go defines the smallest number divided by -1 as itself, where C traps.
func compute(kind Kind, n, amount int64) int64 {
	switch kind {
	case Inc:
		return n + amount
	case Dec:
		return n - amount
	case Mul:
		return n * amount
	}
	if amount == 0 {
		return 0
	}
	return n / amount
}

func (k *keep) get(at time.Duration, key []byte) op.Result {
	id := k.find(key)
	if id == 0 {
		return op.Result{Code: op.NotFound}
	}
	it := k.slab.at(id)
	var r op.Result
	if it.bytes() {
		r.Bytes = []byte(it.value())
	} else {
		r.IsNum, r.Num, r.Bytes = true, it.num, strconv.AppendInt(nil, it.num, 10)
	}
	if end := it.tick(); end != 0 {
		r.Left = time.Duration(end)*tick - at
	}
	return r
}
