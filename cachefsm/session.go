package cachefsm

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/cohortd/cohort/cachefsm/op"
)

const (
	window      = 8192      // results that are remembered of each client
	sessionIdle = time.Hour // of table time, after which a client is forgotten
	maxSessions = 1024
	maxClient   = 128     // bytes of a client's name
	maxKept     = 4 << 10 // bytes of a result that is remembered
	perLeaf     = 256
)

// slot is one op that was applied and what it came to.
type slot struct {
	seq    uint64
	result op.Result
}

type leaf struct {
	epoch uint64 // that of the sessions when this leaf was made; an older leaf belongs to a snapshot too
	slots [perLeaf]slot
}

// session is what is remembered of one client: by it a retry is known and answered, not applied again.
type session struct {
	client string
	high   uint64 // greatest sequence seen
	used   time.Duration
	leaves [window / perLeaf]*leaf
}

func (s *session) slot(seq uint64) *slot {
	l := s.leaves[seq%window/perLeaf]
	if l == nil {
		return nil
	}
	return &l.slots[seq%perLeaf]
}

func (s *session) keep(seq uint64, r op.Result, epoch uint64) {
	i := seq % window / perLeaf
	l := s.leaves[i]
	if l == nil {
		l = &leaf{epoch: epoch}
	} else if l.epoch != epoch {
		c := *l
		c.epoch = epoch
		l = &c
	}
	s.leaves[i] = l
	if len(r.Bytes) > maxKept {
		r = op.Result{Code: op.Stale} // a retry of it is not applied and is not told what it came to
	}
	l.slots[seq%perLeaf] = slot{seq, r}
	s.high = max(s.high, seq)
}

// sessions are all clients'. What is visible depends on what was applied only: a client that was idle for
// too long is forgotten whether or not somebody has swept it.
type sessions struct {
	all   map[string]*session
	epoch uint64
	swept time.Duration
}

// open is the session of a client that sends something at that time.
func (t *sessions) open(client []byte, at time.Duration) *session {
	s := t.all[string(client)]
	if s == nil || s.idle(at) {
		if s == nil && len(t.all) >= maxSessions || at-t.swept > sessionIdle {
			t.sweep(at)
		}
		s = &session{client: string(client)}
		t.all[s.client] = s
	}
	s.used = at
	return s
}

func (s *session) idle(at time.Duration) bool { return at-s.used >= sessionIdle }

func (t *sessions) sweep(at time.Duration) {
	t.swept = at
	for client, s := range t.all {
		if s.idle(at) {
			delete(t.all, client)
		}
	}
	if len(t.all) >= maxSessions {
		delete(t.all, slices.MinFunc(t.sorted(), func(a, b *session) int {
			return cmp.Or(cmp.Compare(a.used, b.used), strings.Compare(a.client, b.client))
		}).client)
	}
}

func (t *sessions) sorted() []*session {
	list := make([]*session, 0, len(t.all))
	for _, s := range t.all {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *session) int { return strings.Compare(a.client, b.client) })
	return list
}

// snapshot takes all sessions as they are now and returns what appends them.
func (t *sessions) snapshot() func(b []byte) []byte {
	t.epoch++
	list := make([]session, 0, len(t.all))
	for _, s := range t.sorted() {
		list = append(list, *s)
	}
	return func(b []byte) []byte {
		b = op.Uvarint(b, uint64(len(list)))
		for i := range list {
			b = appendSession(b, &list[i])
		}
		return b
	}
}

func appendSession(b []byte, s *session) []byte {
	b = op.Bytes(b, s.client)
	b = op.Uvarint(op.Uvarint(b, s.high), uint64(s.used))
	var kept []slot
	for _, l := range s.leaves {
		for i := range l.filled() {
			if l.slots[i].seq+window > s.high { // else it was left behind by a jump
				kept = append(kept, l.slots[i])
			}
		}
	}
	b = op.Uvarint(b, uint64(len(kept)))
	for i := range kept {
		b = op.Bytes(op.Uvarint(b, kept[i].seq), op.AppendResult(nil, kept[i].result))
	}
	return b
}

// filled yields the places of a leaf, which may be nil, that hold something.
func (l *leaf) filled() func(yield func(int) bool) {
	return func(yield func(int) bool) {
		if l == nil {
			return
		}
		for i := range l.slots {
			if l.slots[i].seq != 0 && !yield(i) {
				return
			}
		}
	}
}

func readSessions(s *op.Stream) sessions {
	t := sessions{all: map[string]*session{}}
	for n := s.Count(maxSessions); n > 0 && s.Err() == nil; n-- {
		one := &session{client: s.String(maxClient), high: s.Uvarint(), used: readTime(s)}
		for k := s.Count(window); k > 0 && s.Err() == nil; k-- {
			seq := s.Uvarint()
			r := op.Read(s.Bytes(maxKept + 64))
			result := r.Result()
			if !r.Done() || seq == 0 || seq > one.high || seq+window <= one.high {
				s.Fail(op.ErrCorrupt)
				break
			}
			one.keep(seq, result, 0)
		}
		t.all[one.client] = one
	}
	return t
}
