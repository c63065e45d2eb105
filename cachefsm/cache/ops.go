package cache

import (
	"time"

	"github.com/cohortd/cohort/cachefsm/op"
)

// Kinds of ops. They are in the logs and snapshots of running clusters: numbers are never reused.
const (
	kindSet    = 1
	kindUpdate = 2
	kindDel    = 3
	kindClear  = 4
	kindNum    = 5
	kindMath   = 6
	kindDefine = 7
	kindGet    = 16 // from here on ops only read
	kindExists = 17
	kindList   = 18
)

// Kind is what math does.
type Kind uint8

// The four that uWSGI has.
const (
	Inc Kind = 0
	Dec Kind = 1
	Mul Kind = 2
	Div Kind = 3
)

// maxExpires keeps time additions far from the end of int64; it also says never to whoever asks for more.
const maxExpires = 100 * 365 * 24 * time.Hour

func head(kind byte, cache string, extra int) []byte {
	return op.Bytes(append(make([]byte, 0, 2+len(cache)+extra), kind), cache)
}

// Expiry travels in milliseconds, rounded up; 0 and less are never.
func putExpires(b []byte, d time.Duration) []byte {
	d = min(max(d, 0), maxExpires)
	return op.Uvarint(b, uint64((d+time.Millisecond-1)/time.Millisecond))
}

func readExpires(r *op.Reader) time.Duration {
	return time.Duration(min(r.Uvarint(), uint64(maxExpires/time.Millisecond))) * time.Millisecond
}

// Set adds an item of bytes; if the key is there the result is Exists and nothing changes. expires counts
// from now, 0 is never.
func Set(cache, key string, value []byte, expires time.Duration) []byte {
	return store(kindSet, cache, key, value, expires)
}

// Update stores an item of bytes, whatever is there; its expiry starts anew.
func Update(cache, key string, value []byte, expires time.Duration) []byte {
	return store(kindUpdate, cache, key, value, expires)
}

func store(kind byte, cache, key string, value []byte, expires time.Duration) []byte {
	b := op.Bytes(head(kind, cache, len(key)+len(value)+16), key)
	return op.Bytes(putExpires(b, expires), value)
}

// Num stores a number, whatever is there; its expiry starts anew.
func Num(cache, key string, n int64, expires time.Duration) []byte {
	b := op.Bytes(head(kindNum, cache, len(key)+24), key)
	return op.Varint(putExpires(b, expires), n)
}

// Math changes a number and answers it. A missing item starts at 0, and only then does expires count.
func Math(cache, key string, kind Kind, amount int64, expires time.Duration) []byte {
	b := op.Bytes(head(kindMath, cache, len(key)+24), key)
	return op.Varint(append(putExpires(b, expires), byte(kind)), amount)
}

// Del deletes an item.
func Del(cache, key string) []byte { return op.Bytes(head(kindDel, cache, len(key)+4), key) }

// Clear deletes all items of a cache; the result's Num is how many.
func Clear(cache string) []byte { return head(kindClear, cache, 0) }

// Define makes a cache, or gives an existing one another shape. Items stay, even if there are now too many.
func Define(s Spec) []byte { return appendSpec([]byte{kindDefine}, s) }

// Get reads an item: Bytes, and for a number also Num and IsNum. It is for Read.
func Get(cache, key string) []byte { return op.Bytes(head(kindGet, cache, len(key)+4), key) }

// Exists asks whether an item is there. It is for Read.
func Exists(cache, key string) []byte { return op.Bytes(head(kindExists, cache, len(key)+4), key) }

// List reads which caches there are, for ParseList. It is for Read.
func List() []byte { return []byte{kindList} }

// Info is what List tells of one cache.
type Info struct {
	Spec  Spec
	Items int // held now
}

// ParseList reads the bytes that List came to.
func ParseList(b []byte) ([]Info, bool) {
	r := op.Read(b)
	n := r.Uvarint()
	if n > MaxCaches {
		return nil, false
	}
	var infos []Info
	for ; n > 0 && r.OK(); n-- {
		infos = append(infos, Info{Spec: readSpec(&r), Items: int(min(r.Uvarint(), MaxItems))})
	}
	return infos, r.Done()
}
