package cache

import (
	"container/heap"
	"math"
	"time"
)

// Expiry goes in ticks, so that items which end together are kept together: when their tick comes all of
// them are gone in one step, however many they are, and their memory is taken back bit by bit.
const (
	tick     = 100 * time.Millisecond
	longLife = time.Minute // from here on items end on full seconds: fewer, fuller buckets
)

// maxTick is the last tick whose time can be told.
const maxTick = int64(math.MaxInt64 / tick)

// tickOf is when an item made at that time ends. It is rounded up: nothing lives shorter than asked for.
func tickOf(at, expires time.Duration) int64 {
	if expires <= 0 {
		return 0
	}
	grain := tick
	if expires >= longLife {
		grain = time.Second
	}
	if at > math.MaxInt64-maxExpires-longLife {
		return 0 // so far in the future that times cannot be added: no end
	}
	return int64((at + expires + grain - 1) / grain * (grain / tick))
}

// bucket is the items that end at one tick.
type bucket struct {
	tick  int64
	head  uint32
	items int
	place int // in the heap, -1 once it is due
}

// wheel knows which items end when. The order inside a bucket and the progress of reaping differ between
// nodes that restarted and those that did not; nothing that anyone can see depends on them.
type wheel struct {
	buckets map[int64]*bucket
	waiting []*bucket // heap by tick
	dying   []*bucket // due, their items not yet all reaped
}

func (w *wheel) Len() int           { return len(w.waiting) }
func (w *wheel) Less(i, j int) bool { return w.waiting[i].tick < w.waiting[j].tick }

func (w *wheel) Swap(i, j int) {
	w.waiting[i], w.waiting[j] = w.waiting[j], w.waiting[i]
	w.waiting[i].place, w.waiting[j].place = i, j
}

// Push is for container/heap.
func (w *wheel) Push(x any) {
	b := x.(*bucket)
	b.place = len(w.waiting)
	w.waiting = append(w.waiting, b)
}

// Pop is for container/heap.
func (w *wheel) Pop() any {
	b := w.waiting[len(w.waiting)-1]
	w.waiting[len(w.waiting)-1] = nil
	w.waiting = w.waiting[:len(w.waiting)-1]
	b.place = -1
	return b
}

func (w *wheel) link(s *slab, id uint32, at int64) {
	b := w.buckets[at]
	if b == nil {
		b = &bucket{tick: at}
		w.buckets[at] = b
		heap.Push(w, b)
	}
	it := s.own(id)
	it.prev, it.next = 0, b.head
	if b.head != 0 {
		s.own(b.head).prev = id
	}
	b.head = id
	b.items++
}

func (w *wheel) unlink(s *slab, id uint32) {
	it := s.at(id)
	b := w.buckets[it.tick()]
	if it.prev != 0 {
		s.own(it.prev).next = it.next
	} else {
		b.head = it.next
	}
	if it.next != 0 {
		s.own(it.next).prev = it.prev
	}
	if b.items--; b.items == 0 && b.place >= 0 {
		heap.Remove(w, b.place)
		delete(w.buckets, b.tick)
	}
}

// advance moves what is due at now among the dying and says how many items that were.
func (w *wheel) advance(now int64) (ended int) {
	for len(w.waiting) > 0 && w.waiting[0].tick <= now {
		b := heap.Pop(w).(*bucket)
		ended += b.items
		w.dying = append(w.dying, b)
	}
	return ended
}

// next is an item that ended and is not reaped, or 0.
func (w *wheel) next() uint32 {
	for len(w.dying) > 0 {
		if b := w.dying[0]; b.head != 0 {
			return b.head
		}
		delete(w.buckets, w.dying[0].tick)
		w.dying[0] = nil
		w.dying = w.dying[1:]
	}
	return 0
}
