package cachefsm

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

// world is a network in memory for raft's streams and for frames. A cut holds bytes back, as a real one
// does; nothing is refused.
type world struct {
	mu      sync.Mutex
	hosts   map[string]*host
	cut     map[[2]string]bool
	changed chan struct{} // closed when a cut is made or healed
	// lose says that the answer to a frame is lost after it was made.
	lose func(from, to string, kind uint8) bool
	// before is called for each frame, before it is handled.
	before func(from, to string, kind uint8)
}

func newWorld() *world {
	return &world{hosts: map[string]*host{}, cut: map[[2]string]bool{}, changed: make(chan struct{})}
}

// host is one node's end: it is Streams and Links.
type host struct {
	w        *world
	id       string
	incoming chan net.Conn
	closed   chan struct{}
	once     sync.Once
	group    *Group
}

func (w *world) host(id string) *host {
	h := &host{w: w, id: id, incoming: make(chan net.Conn), closed: make(chan struct{})}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hosts[id] = h
	return h
}

func (w *world) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	close(w.changed)
	w.changed = make(chan struct{})
}

// cutOff holds everything back between one node and the others.
func (w *world) cutOff(id string) {
	w.change(func() {
		for other := range w.hosts {
			w.cut[[2]string{id, other}], w.cut[[2]string{other, id}] = true, true
		}
		delete(w.cut, [2]string{id, id})
	})
}

// cutOneWay holds back what goes from one node to another.
func (w *world) cutOneWay(from, to string) {
	w.change(func() { w.cut[[2]string{from, to}] = true })
}

func (w *world) heal() { w.change(func() { clear(w.cut) }) }

func (w *world) isCut(from, to string) (bool, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cut[[2]string{from, to}], w.changed
}

// pass waits until bytes may go from one node to another.
func (w *world) pass(from, to string, stop ...<-chan struct{}) bool {
	stop = append(stop, nil, nil)
	for {
		cut, changed := w.isCut(from, to)
		if !cut {
			return true
		}
		select {
		case <-changed:
		case <-stop[0]:
			return false
		case <-stop[1]:
			return false
		}
	}
}

func (w *world) get(id string) *host {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hosts[id]
}

var errNoHost = errors.New("no such host")

// Call is Links.
func (h *host) Call(ctx context.Context, to string, kind uint8, payload []byte) ([]byte, error) {
	if !h.w.pass(h.id, to, ctx.Done()) {
		return nil, ctx.Err()
	}
	far := h.w.get(to)
	if far == nil || far.group == nil {
		return nil, errNoHost
	}
	h.w.mu.Lock()
	before, lose := h.w.before, h.w.lose
	h.w.mu.Unlock()
	if before != nil {
		before(h.id, to, kind)
	}
	handle := map[uint8]func(context.Context, string, []byte) ([]byte, error){
		kinds.Apply: far.group.HandleApply, kinds.Read: far.group.HandleRead, kinds.Term: far.group.HandleTerm,
	}[kind]
	b, err := handle(ctx, h.id, slices.Clone(payload))
	if lose != nil && lose(h.id, to, kind) {
		<-ctx.Done()
	}
	if !h.w.pass(to, h.id, ctx.Done()) || ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return b, err
}

// Accept is Streams, like the three below.
func (h *host) Accept() (net.Conn, error) {
	select {
	case c := <-h.incoming:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

func (h *host) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

func (h *host) Addr() net.Addr { return address(h.id) }

func (h *host) Dial(id string, timeout time.Duration) (net.Conn, error) {
	expired := make(chan struct{})
	timer := time.AfterFunc(timeout, func() { close(expired) })
	defer timer.Stop()
	if !h.w.pass(h.id, id, expired, h.closed) {
		return nil, os.ErrDeadlineExceeded
	}
	far := h.w.get(id)
	if far == nil {
		return nil, errNoHost
	}
	near, remote := net.Pipe()
	select {
	case far.incoming <- &heldConn{Conn: remote, w: h.w, from: id, to: h.id, closed: make(chan struct{})}:
		return &heldConn{Conn: near, w: h.w, from: h.id, to: id, closed: make(chan struct{})}, nil
	case <-far.closed:
	case <-expired:
	case <-h.closed:
	}
	_ = near.Close()
	return nil, os.ErrDeadlineExceeded
}

// heldConn does not write while its way is cut.
type heldConn struct {
	net.Conn
	w        *world
	from, to string
	closed   chan struct{}
	once     sync.Once

	mu       sync.Mutex
	deadline time.Time
}

func (c *heldConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	c.deadline = t
	c.mu.Unlock()
	return c.Conn.SetWriteDeadline(t)
}

func (c *heldConn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	c.deadline = t
	c.mu.Unlock()
	return c.Conn.SetDeadline(t)
}

func (c *heldConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	deadline := c.deadline
	c.mu.Unlock()
	expired := make(chan struct{})
	if !deadline.IsZero() {
		timer := time.AfterFunc(time.Until(deadline), func() { close(expired) })
		defer timer.Stop()
	}
	if !c.w.pass(c.from, c.to, expired, c.closed) {
		return 0, os.ErrDeadlineExceeded
	}
	return c.Conn.Write(b)
}

func (c *heldConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
