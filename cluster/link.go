package cluster

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	// dialTime is how long one attempt to reach a peer may take.
	dialTime = 2 * time.Second
	// After an attempt that failed, calls fail at once until the next is due: 20 ms at first, then longer.
	firstRetry, lastRetry = 20 * time.Millisecond, 500 * time.Millisecond
	// mostLater is how many one-way frames wait for a connection that is being made.
	mostLater = 64
)

// link is the way to one other node: a frame connection that is made when it is needed and made again when
// it was lost.
type link struct {
	c  *Cluster
	id string

	mu     sync.Mutex
	addr   string // where the node is, as far as is known
	boot   uint64
	up     *caller // nil when there is no connection
	dial   *attempt
	err    error // of the last attempt
	wait   time.Duration
	retry  time.Time // not before this
	later  []laterFrame
	closed bool
}

// attempt is a connection being made. Whoever waits for it looks at the link when done is closed.
type attempt struct {
	done   chan struct{}
	cancel context.CancelFunc
}

type laterFrame struct {
	kind    FrameKind
	payload []byte
}

// get returns the connection, making it if need be.
func (l *link) get(ctx context.Context) (*caller, error) {
	l.mu.Lock()
	up, dial, err := l.ready()
	l.mu.Unlock()
	if up != nil || err != nil {
		return up, err
	}
	select {
	case <-dial.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.up == nil {
		return nil, l.lastError()
	}
	return l.up, nil
}

// ready returns the connection, or the attempt to make one, or why there is none. l.mu is held.
func (l *link) ready() (*caller, *attempt, error) {
	if l.up != nil && l.up.broken() == nil {
		return l.up, nil, nil
	}
	l.up = nil
	if l.dial != nil {
		return nil, l.dial, nil
	}
	if l.closed {
		return nil, nil, ErrClosed
	}
	if l.err != nil && time.Now().Before(l.retry) {
		return nil, nil, l.err
	}
	ctx, cancel := context.WithTimeout(l.c.life, dialTime)
	a := &attempt{done: make(chan struct{}), cancel: cancel}
	addr := l.addr
	if !l.c.spawn(func() { l.connect(ctx, a, addr) }) {
		cancel()
		return nil, nil, ErrClosed
	}
	l.dial = a
	return nil, a, nil
}

func (l *link) lastError() error {
	if l.err == nil {
		return ErrLost
	}
	return l.err
}

// connect makes one attempt, and then reads the connection until it is over.
func (l *link) connect(ctx context.Context, a *attempt, addr string) {
	conn, err := l.c.dialler.dial(ctx, addr, kindFrames, l.id)
	a.cancel()
	var up *caller
	if err == nil {
		up = newCaller(conn, &l.c.counters)
	}
	if !l.settle(a, up, err) {
		return
	}
	var wg sync.WaitGroup
	wg.Go(up.write)
	up.read()
	wg.Wait()
}

// settle notes how an attempt ended. It is false when there is no connection to read.
func (l *link) settle(a *attempt, up *caller, err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer close(a.done)
	if l.dial != a { // the node moved meanwhile, or this one goes down
		if up != nil {
			up.fail(ErrLost)
		}
		return false
	}
	l.dial = nil
	if err != nil {
		l.c.counters.dialsFailed.Add(1)
		l.err = fmt.Errorf("cluster: no way to node %s: %w", l.id, err)
		l.wait = min(max(2*l.wait, firstRetry), lastRetry)
		l.retry = time.Now().Add(l.wait)
		l.c.counters.sendsDropped.Add(uint64(len(l.later)))
		l.later = nil
		return false
	}
	l.c.counters.dials.Add(1)
	l.up, l.err, l.wait = up, nil, 0
	for _, f := range l.later {
		up.send(f.kind, f.payload)
	}
	l.later = nil
	return true
}

// send sends a one-way frame, now or once the connection is made.
func (l *link) send(kind FrameKind, payload []byte) {
	l.mu.Lock()
	up, _, err := l.ready()
	if up == nil && err == nil && len(l.later) < mostLater {
		l.later = append(l.later, laterFrame{kind, append([]byte(nil), payload...)})
		l.mu.Unlock()
		return
	}
	l.mu.Unlock()
	if up == nil || !up.send(kind, payload) {
		l.c.counters.sendsDropped.Add(1)
	}
}

// follow tells the link what membership knows of its node: where it is, and whether it lives. A connection
// to an earlier place or boot is over, and the way to a living node is kept open.
func (l *link) follow(m Member) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if moved := l.addr != m.Addr || l.boot != m.Boot; moved || !m.Alive {
		l.addr, l.boot = m.Addr, m.Boot
		l.drop()
		if moved {
			l.err, l.wait = nil, 0
		}
	}
	if m.Alive {
		_, _, _ = l.ready()
	}
}

// drop ends the connection and the attempt to make one. l.mu is held.
func (l *link) drop() {
	if l.up != nil {
		l.up.fail(ErrLost)
		l.up = nil
	}
	if l.dial != nil {
		l.dial.cancel()
		l.dial = nil
	}
}

func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.drop()
}

func (l *link) tick() {
	l.mu.Lock()
	up := l.up
	l.mu.Unlock()
	if up != nil {
		up.tick()
	}
}
