package cluster

import (
	"bufio"
	"context"
	"math"
	"sync"
	"time"
)

// readBuffer is what one read of a frame connection may bring.
const readBuffer = 64 << 10

// RemoteError is what the other node's handler answered instead of a result.
type RemoteError struct{ Text string }

func (e *RemoteError) Error() string { return e.Text }

// caller is the asking end of a frame connection: many calls at a time, answered in any order.
type caller struct {
	*wire

	mu    sync.Mutex
	over  error // no more calls
	next  uint64
	calls map[uint64]*call
	free  []*call
	quiet int // ticks without a sound; only the ticker touches it
}

// call is one request that awaits its answer. Whoever takes it out of calls owns its channel.
type call struct {
	id   uint64
	done chan struct{} // one slot: answer and err are set
	got  []byte
	err  error
}

// newCaller takes over a connection. read and write are run by the caller's owner.
func newCaller(conn *peerConn, n *counters) *caller {
	return &caller{wire: newWire(conn, n), calls: map[uint64]*call{}}
}

// read delivers answers until the connection is over, and ends the calls that are left.
func (c *caller) read() {
	r := bufio.NewReaderSize(c.conn, readBuffer)
	for {
		f, err := readFrame(r)
		if err != nil {
			c.fail(ErrLost)
			break
		}
		c.hear()
		c.counters.framesIn.Add(1)
		switch f.what {
		case frameAnswer:
			c.deliver(f.id, f.payload, nil)
		case frameFailure:
			c.deliver(f.id, nil, &RemoteError{Text: string(f.payload)})
		}
	}
	c.endAll(c.broken())
}

func (c *caller) deliver(id uint64, answer []byte, err error) {
	c.mu.Lock()
	k := c.calls[id]
	delete(c.calls, id)
	c.mu.Unlock()
	if k != nil {
		k.got, k.err = answer, err
		k.done <- struct{}{}
	}
}

func (c *caller) endAll(err error) {
	c.mu.Lock()
	c.over = err
	left := c.calls
	c.calls = map[uint64]*call{}
	c.mu.Unlock()
	for _, k := range left {
		k.err = err
		k.done <- struct{}{}
	}
}

// call sends a request and waits for its answer or the end of ctx.
func (c *caller) call(ctx context.Context, kind FrameKind, payload []byte) ([]byte, error) {
	k, err := c.begin()
	if err != nil {
		return nil, err
	}
	f := frame{what: frameRequest, kind: kind, id: k.id, payload: payload}
	for {
		f.timeout = millisecondsLeft(ctx)
		room, err := c.put(&f)
		if err == nil {
			break
		}
		if room == nil {
			c.abandon(k)
			return nil, err
		}
		select {
		case <-room:
		case <-c.done:
		case <-ctx.Done():
			c.abandon(k)
			return nil, ctx.Err()
		}
	}
	select {
	case <-k.done:
		return c.end(k)
	case <-ctx.Done():
		c.abandon(k)
		return nil, ctx.Err()
	}
}

func (c *caller) begin() (*call, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over != nil {
		return nil, c.over
	}
	var k *call
	if n := len(c.free); n > 0 {
		k, c.free = c.free[n-1], c.free[:n-1]
	} else {
		k = &call{done: make(chan struct{}, 1)}
	}
	c.next++
	k.id = c.next
	c.calls[k.id] = k
	return k, nil
}

// end returns what was delivered and keeps the call for the next one.
func (c *caller) end(k *call) ([]byte, error) {
	answer, err := k.got, k.err
	k.got, k.err = nil, nil
	c.mu.Lock()
	defer c.mu.Unlock()
	c.free = append(c.free, k)
	return answer, err
}

// abandon forgets a call. If its answer is being delivered, nobody will look at it.
func (c *caller) abandon(k *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls[k.id] == k {
		delete(c.calls, k.id)
		c.free = append(c.free, k)
	}
}

// send adds a one-way frame; false if there is no room for it or no connection any more.
func (c *caller) send(kind FrameKind, payload []byte) bool {
	_, err := c.put(&frame{what: frameSend, kind: kind, payload: payload})
	return err == nil
}

// tick is called every second. A connection on which nothing came for two is asked for a sign of life, and
// one that gives none for another two is over: after a cut TCP itself would try for minutes.
func (c *caller) tick() {
	if c.heard.Swap(false) {
		c.quiet = 0
		return
	}
	switch c.quiet++; {
	case c.quiet >= 4:
		c.fail(ErrLost)
	case c.quiet >= 2:
		_, _ = c.put(&frame{what: framePing})
	}
}

func millisecondsLeft(ctx context.Context) uint32 {
	until, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	left := (time.Until(until) + time.Millisecond - 1) / time.Millisecond
	return uint32(min(max(left, 1), math.MaxUint32))
}
