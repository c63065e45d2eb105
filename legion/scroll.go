package legion

import (
	"context"
	"time"

	"github.com/cohortd/cohort/clock"
)

const (
	fetchEvery = time.Second
	fetchWait  = 3 * time.Second
)

// HandleScroll answers another node's request for this node's long scroll. Only who has read the sealed announcement
// knows its digest. ok is false for a request that is not for this legion.
func (l *Legion) HandleScroll(request []byte) (scroll []byte, ok bool) {
	if len(request) != scrollRequest {
		return nil, false
	}
	id := [8]byte(request[:8])
	l.mu.Lock()
	_, ours := l.roll.opener.keysFor(id)
	l.mu.Unlock()
	if !ours || [16]byte(request[8:]) != digest(l.cfg.Scroll) {
		return nil, false
	}
	return []byte(l.cfg.Scroll), true
}

// fetchScrolls asks for one long scroll that is not here yet.
func (l *Legion) fetchScrolls(now clock.Reading) {
	r := &l.run
	if l.deps.Fetch == nil || r.fetching || now.Longest(r.fetchedAt) < fetchEvery {
		return
	}
	l.mu.Lock()
	missing := l.roll.missingScrolls(now, l.cfg.Announce)
	l.mu.Unlock()
	r.fetchedAt = now
	for want, node := range missing {
		r.fetching = true
		r.wg.Go(func() {
			ctx, cancel := context.WithTimeout(r.work, fetchWait)
			defer cancel()
			b, err := l.deps.Fetch(ctx, node, append(l.scrolls[:], want[:]...))
			l.post(func(clock.Reading) {
				r.fetching = false
				if err != nil || len(b) > maxScroll || digest(string(b)) != want {
					l.log.Debug("scroll not fetched", "node", node, "err", err)
					return
				}
				l.mu.Lock()
				l.roll.scrolls[want] = string(b)
				l.mu.Unlock()
			})
		})
		return
	}
}
