package cache

import "hash/maphash"

// index finds items by their keys' hashes. Go's map would cost 50 bytes a key here; a place and half of the
// hash take 8. It is split so that growing moves a small part at a time. Nothing that can be seen depends on
// the seed, which differs between nodes.
type index struct {
	seed   maphash.Seed
	shards [1 << shardBits]shard
}

const shardBits = 6

// shard is a table with linear probing: the low half of a slot is an item's place, the high one 32 bits of
// its key's hash.
type shard struct {
	slots []uint64 // a power of two of them, at most three quarters used
	used  int
}

func newIndex(hint int) index {
	x := index{seed: maphash.MakeSeed()}
	if each := hint >> shardBits; each > 0 {
		n := 8
		for n*3/4 <= each+each/8 {
			n *= 2
		}
		for i := range x.shards {
			x.shards[i].slots = make([]uint64, n)
		}
	}
	return x
}

func (x *index) hash(key []byte) uint64       { return maphash.Bytes(x.seed, key) }
func (x *index) hashString(key string) uint64 { return maphash.String(x.seed, key) }
func (x *index) shard(h uint64) *shard        { return &x.shards[h>>(64-shardBits)] }

// find is the place of a key, or 0.
func (x *index) find(s *slab, h uint64, key []byte) uint32 {
	sh := x.shard(h)
	if sh.used == 0 {
		return 0
	}
	mask := uint32(len(sh.slots) - 1)
	for i := uint32(h) & mask; ; i = (i + 1) & mask {
		slot := sh.slots[i]
		if slot == 0 {
			return 0
		}
		if uint32(slot>>32) == uint32(h) {
			if id := uint32(slot); s.at(id).key() == string(key) {
				return id
			}
		}
	}
}

// put adds a key that is not there.
func (x *index) put(h uint64, id uint32) {
	sh := x.shard(h)
	if (sh.used+1)*4 > len(sh.slots)*3 {
		sh.grow()
	}
	sh.place(h<<32 | uint64(id))
	sh.used++
}

func (sh *shard) place(slot uint64) {
	mask := uint32(len(sh.slots) - 1)
	i := uint32(slot>>32) & mask
	for sh.slots[i] != 0 {
		i = (i + 1) & mask
	}
	sh.slots[i] = slot
}

func (sh *shard) grow() {
	old := sh.slots
	sh.slots = make([]uint64, max(8, 2*len(old)))
	for _, slot := range old {
		if slot != 0 {
			sh.place(slot)
		}
	}
}

// remove takes away a key that is there, and closes the gap for those that were pushed on by it.
func (x *index) remove(h uint64, id uint32) {
	sh := x.shard(h)
	mask := uint32(len(sh.slots) - 1)
	gap := uint32(h) & mask
	for uint32(sh.slots[gap]) != id {
		gap = (gap + 1) & mask
	}
	for i := (gap + 1) & mask; sh.slots[i] != 0; i = (i + 1) & mask {
		home := uint32(sh.slots[i]>>32) & mask
		if (i-home)&mask >= (i-gap)&mask {
			sh.slots[gap] = sh.slots[i]
			gap = i
		}
	}
	sh.slots[gap] = 0
	sh.used--
}

func (x *index) len() (n int) {
	for i := range x.shards {
		n += x.shards[i].used
	}
	return n
}
