package cache

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/cohortd/cohort/cachefsm/op"
)

// A snapshot is: version, time, number of caches, then for each its spec, its number of items and these,
// then an end mark. Items that ended are left out.
const (
	snapshotVersion = 1
	snapshotEnd     = 0xed

	itemBytes = 1 // the item holds bytes
	itemTimed = 2 // the item ends
)

// frozen is one cache as it was.
type frozen struct {
	spec  Spec
	pages []*page
	live  int
	now   int64
}

// Snapshot takes the state as it is now, in microseconds, and returns what writes it. That may run while
// the table goes on: pages that it still holds are copied before they are written to.
func (t *Table) Snapshot() func(io.Writer) error {
	at := t.at
	all := make([]frozen, len(t.order))
	for i, k := range t.order {
		all[i] = frozen{k.spec, k.slab.freeze(), k.live, k.now}
	}
	return func(w io.Writer) error {
		bw := bufio.NewWriterSize(w, 256<<10)
		b := op.Uvarint([]byte{snapshotVersion}, uint64(at))
		b = op.Uvarint(b, uint64(len(all)))
		for i := range all {
			if _, err := bw.Write(b); err != nil {
				return fmt.Errorf("write caches: %w", err)
			}
			if err := all[i].write(bw); err != nil {
				return fmt.Errorf("write cache %s: %w", all[i].spec.Name, err)
			}
			b = b[:0]
		}
		if _, err := bw.Write(append(b, snapshotEnd)); err != nil {
			return fmt.Errorf("write caches: %w", err)
		}
		if err := bw.Flush(); err != nil {
			return fmt.Errorf("write caches: %w", err)
		}
		return nil
	}
}

func (f *frozen) write(w *bufio.Writer) error {
	b := op.Uvarint(appendSpec(nil, f.spec), uint64(f.live))
	for _, p := range f.pages {
		for i := range p.items {
			it := &p.items[i]
			if it.text == "" || it.mark > 1 && it.tick() <= f.now {
				continue
			}
			b = appendItem(b, it)
		}
		if len(b) >= 32<<10 {
			if _, err := w.Write(b); err != nil {
				return err
			}
			b = b[:0]
		}
	}
	_, err := w.Write(b)
	return err
}

func appendItem(b []byte, it *item) []byte {
	var flags byte
	if it.bytes() {
		flags |= itemBytes
	}
	if it.tick() != 0 {
		flags |= itemTimed
	}
	b = op.Bytes(append(b, flags), it.key())
	if it.bytes() {
		b = op.Bytes(b, it.value())
	} else {
		b = op.Varint(b, it.num)
	}
	if it.tick() != 0 {
		b = op.Uvarint(b, uint64(it.tick()))
	}
	return b
}

// Restore replaces everything by what a snapshot holds. If that cannot be read nothing changes.
func (t *Table) Restore(r io.Reader) error {
	s, ok := r.(*op.Stream)
	if !ok {
		s = op.NewStream(r)
	}
	if v := s.Byte(); s.Err() == nil && v != snapshotVersion {
		return fmt.Errorf("read caches: version %d is not known here", v)
	}
	fresh := New()
	fresh.at = time.Duration(min(s.Uvarint(), math.MaxInt64))
	for n := s.Count(MaxCaches); n > 0 && s.Err() == nil; n-- {
		restoreKeep(fresh, s)
	}
	if s.Byte() != snapshotEnd && s.Err() == nil {
		return fmt.Errorf("read caches: %w", op.ErrCorrupt)
	}
	if s.Err() != nil {
		return fmt.Errorf("read caches: %w", s.Err())
	}
	*t = *fresh
	return nil
}

func restoreKeep(t *Table, s *op.Stream) {
	spec := Spec{Name: s.String(MaxName), Items: s.Count(MaxItems), BlockSize: s.Count(MaxBlockSize), KeySize: s.Count(MaxKeySize)}
	flags := s.Byte()
	spec.Node, spec.Open = flags&specNode != 0, flags&specOpen != 0
	n := s.Count(MaxItems)
	if s.Err() != nil || spec.Name == "" || t.keeps[spec.Name] != nil {
		s.Fail(op.ErrCorrupt)
		return
	}
	k := newKeep(spec.clamped(), min(n, 1<<20)) // a claimed number is not worth more memory than this
	t.insert(k)
	// Specs may have shrunk below what a cache holds.
	items := k.spec.Items
	k.spec.Items = n
	var text []byte
	for ; n > 0 && s.Err() == nil; n-- {
		text = restoreItem(k, s, text[:0])
	}
	k.spec.Items = items
}

func restoreItem(k *keep, s *op.Stream, text []byte) []byte {
	flags := s.Byte()
	bytes := flags&itemBytes != 0
	text = append(text, s.Bytes(MaxKeySize)...)
	keyLen, num := len(text), int64(len(text))
	if bytes {
		text = append(text, s.Bytes(MaxBlockSize)...)
	} else {
		num = s.Varint()
	}
	var end int64
	if flags&itemTimed != 0 {
		end = int64(min(s.Uvarint(), uint64(maxTick)))
	}
	key := text[:keyLen]
	if keyLen == 0 || k.find(key) != 0 || flags&itemTimed != 0 && end <= k.now {
		s.Fail(op.ErrCorrupt)
		return text
	}
	k.add(key, string(text), num, bytes, end)
	return text
}
