package cache

// item is one key and what it holds. A million of them are kept as values in pages, not one by one, which
// costs the garbage collector little and makes a snapshot a copy of page pointers.
type item struct {
	text string // the key, followed by the value if that is bytes: one allocation for both
	num  int64  // the number; or how long the key is
	mark uint64 // tick<<1 of expiry, 0 for never; the last bit is set for bytes

	prev, next uint32 // neighbours in its bucket; next is also the list of free places
}

func (it *item) bytes() bool { return it.mark&1 != 0 }
func (it *item) tick() int64 { return int64(it.mark >> 1) }

func (it *item) key() string {
	if it.bytes() {
		return it.text[:it.num]
	}
	return it.text
}

func (it *item) value() string { return it.text[it.num:] }

func mark(tick int64, bytes bool) uint64 {
	m := uint64(tick) << 1
	if bytes {
		m |= 1
	}
	return m
}

// perPage makes a page fill the allocator's 2 KiB class. Copying one takes a fraction of a microsecond, so
// even an entry that touches a different page with each op does not stall on a snapshot.
const perPage = 51

type page struct {
	items [perPage]item
	epoch uint64 // that of the slab when this page was made; an older page belongs to a snapshot too
}

// slab holds the items, which are named by their place, from 1.
type slab struct {
	pages []*page
	free  uint32 // first free place, 0 for none
	top   uint32 // places ever used
	epoch uint64
}

// at is for reading only.
func (s *slab) at(id uint32) *item { return &s.pages[id/perPage].items[id%perPage] }

// own is for writing: it first leaves the page to a snapshot that holds it.
func (s *slab) own(id uint32) *item {
	p := s.pages[id/perPage]
	if p.epoch != s.epoch {
		c := *p
		c.epoch = s.epoch
		p = &c
		s.pages[id/perPage] = p
	}
	return &p.items[id%perPage]
}

func (s *slab) take() uint32 {
	if id := s.free; id != 0 {
		s.free = s.at(id).next
		return id
	}
	s.top++
	if s.top/perPage >= uint32(len(s.pages)) {
		s.pages = append(s.pages, &page{epoch: s.epoch})
	}
	return s.top
}

// release frees a place. An empty key is what marks it free.
func (s *slab) release(id uint32) {
	*s.own(id) = item{next: s.free}
	s.free = id
}

// freeze hands out the pages as they are now. Nobody writes to them any more.
func (s *slab) freeze() []*page {
	s.epoch++
	return append([]*page(nil), s.pages...)
}
