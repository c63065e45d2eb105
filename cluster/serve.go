package cluster

import (
	"bufio"
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Handler answers frames of one kind. It owns the payload; the answer is copied before anything else
// happens to it. The context ends when the caller's deadline has passed, the connection is lost, the node
// goes down, or the handler returns. An error reaches the caller as a RemoteError with its text.
type Handler func(ctx context.Context, from string, payload []byte) ([]byte, error)

// Bounds of what one connection may keep busy.
const (
	mostWorkers = 1024            // handlers at a time; further frames wait on the wire
	idleWorkers = 64              // of which so many stay for the next frame
	longestCall = 1 * time.Minute // for callers without a deadline
)

// server is the answering end of a frame connection.
type server struct {
	*wire
	from     string
	ctx      context.Context // ends with the connection
	handlers *[256]Handler
	work     chan frame // to an idle worker
	workers  atomic.Int32
	idle     atomic.Int32
	wg       sync.WaitGroup
}

// serveFrames answers a connection's frames until it is over, and returns when its handlers have.
func (c *Cluster) serveFrames(p *peerConn) {
	ctx, cancel := context.WithCancel(c.life)
	s := &server{wire: newWire(p, &c.counters), from: p.id, ctx: ctx, handlers: &c.handlers, work: make(chan frame)}
	s.wg.Go(s.write)
	s.read()
	s.fail(ErrLost)
	cancel()
	s.wg.Wait()
}

func (s *server) read() {
	r := bufio.NewReaderSize(s.conn, readBuffer)
	for {
		f, err := readFrame(r)
		if err != nil {
			return
		}
		s.counters.framesIn.Add(1)
		switch f.what {
		case framePing:
			_, _ = s.put(&frame{what: framePong}) // no room: then other answers are on their way
		case frameRequest, frameSend:
			if !s.dispatch(f) {
				return
			}
		}
	}
}

// dispatch gives a frame to a worker; false when the connection is over.
func (s *server) dispatch(f frame) bool {
	select {
	case s.work <- f:
		return true
	default:
	}
	if s.workers.Load() < mostWorkers { // only this goroutine adds to it
		s.workers.Add(1)
		s.wg.Go(func() { s.run(f) })
		return true
	}
	select {
	case s.work <- f:
		return true
	case <-s.done:
		return false
	}
}

// run is a worker: a goroutine whose stack has grown already is a good one to keep.
func (s *server) run(f frame) {
	defer s.workers.Add(-1)
	for {
		s.answer(f)
		if s.idle.Add(1) > idleWorkers {
			s.idle.Add(-1)
			return
		}
		select {
		case f = <-s.work:
			s.idle.Add(-1)
		case <-s.done:
			s.idle.Add(-1)
			return
		}
	}
}

func (s *server) answer(f frame) {
	h := s.handlers[f.kind]
	var ctx callContext
	ctx.begin(s.ctx, f.timeout)
	var answer []byte
	err := errNoHandler
	if h != nil {
		answer, err = h(&ctx, s.from, f.payload)
	}
	ctx.end()
	if f.what == frameSend {
		return
	}
	reply := frame{what: frameAnswer, kind: f.kind, id: f.id, payload: answer}
	if err == nil && len(answer) > LongestFrame {
		err = ErrTooLong
	}
	if err != nil {
		reply.what, reply.payload = frameFailure, []byte(err.Error())
	}
	for {
		room, err := s.put(&reply)
		if room == nil || err == nil {
			return
		}
		select {
		case <-room:
		case <-s.done:
			return
		}
	}
}

// callContext is the context of one call. It costs a timer only when somebody waits on it, which handlers
// that answer at once do not.
type callContext struct {
	parent context.Context
	until  time.Time

	mu     sync.Mutex
	inner  context.Context // made when Done is asked for
	cancel context.CancelFunc
	ended  bool
}

func (c *callContext) begin(parent context.Context, timeout uint32) {
	d := longestCall
	if timeout > 0 {
		d = time.Duration(timeout) * time.Millisecond
	}
	c.parent, c.until = parent, time.Now().Add(d)
}

func (c *callContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.cancel != nil {
		c.cancel()
	}
}

func (c *callContext) context() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil {
		c.inner, c.cancel = context.WithDeadline(c.parent, c.until)
		if c.ended {
			c.cancel()
		}
	}
	return c.inner
}

func (c *callContext) Deadline() (time.Time, bool) { return c.until, true }
func (c *callContext) Done() <-chan struct{}       { return c.context().Done() }
func (c *callContext) Value(key any) any           { return c.context().Value(key) }

func (c *callContext) Err() error {
	c.mu.Lock()
	inner, ended := c.inner, c.ended
	c.mu.Unlock()
	switch {
	case inner != nil:
		return inner.Err()
	case ended:
		return context.Canceled
	case c.parent.Err() != nil:
		return c.parent.Err()
	case !time.Now().Before(c.until):
		return context.DeadlineExceeded
	}
	return nil
}
