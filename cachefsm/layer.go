package cachefsm

import (
	"errors"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// layer is what raft's transport runs on. It adds three things to Streams: a node reaches itself through a
// pipe, a dial never takes longer than an election, and all connections end with the group, so that no
// routine of raft stays behind in a read.
type layer struct {
	id      string
	streams Streams
	timeout time.Duration
	in      chan net.Conn
	closed  chan struct{}
	serving sync.WaitGroup

	mu    sync.Mutex
	conns map[*conn]struct{} // nil once closed
}

func newLayer(id string, s Streams, timeout time.Duration) *layer {
	l := &layer{
		id: id, streams: s, timeout: timeout, in: make(chan net.Conn), closed: make(chan struct{}),
		conns: map[*conn]struct{}{},
	}
	l.serving.Go(l.serve)
	return l
}

func (l *layer) serve() {
	for {
		c, err := l.streams.Accept()
		if err != nil {
			select {
			case <-l.closed:
				return
			default:
			}
			if errors.Is(err, net.ErrClosed) {
				return
			}
			select {
			case <-time.After(100 * time.Millisecond):
			case <-l.closed:
				return
			}
			continue
		}
		l.offer(c)
	}
}

func (l *layer) offer(c net.Conn) {
	select {
	case l.in <- c:
	case <-l.closed:
		_ = c.Close()
	}
}

// Accept is for raft's transport.
func (l *layer) Accept() (net.Conn, error) {
	select {
	case c := <-l.in:
		return l.track(c)
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Dial is for raft's transport.
func (l *layer) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	if string(address) == l.id {
		near, far := net.Pipe()
		l.offer(far)
		return l.track(near)
	}
	c, err := l.streams.Dial(string(address), min(timeout, l.timeout))
	if err != nil {
		return nil, err
	}
	return l.track(c)
}

// Addr is this node's id.
func (l *layer) Addr() net.Addr { return address(l.id) }

type address string

func (address) Network() string  { return "node" }
func (a address) String() string { return string(a) }

// Close ends all connections; the port stays open, it belongs to the cluster.
func (l *layer) Close() error {
	l.mu.Lock()
	conns := l.conns
	l.conns = nil
	l.mu.Unlock()
	if conns == nil {
		return nil
	}
	close(l.closed)
	for c := range conns {
		_ = c.Conn.Close()
	}
	return l.streams.Close()
}

// wait returns when nothing is accepted any more.
func (l *layer) wait() { l.serving.Wait() }

// conn forgets itself when it is closed.
type conn struct {
	net.Conn
	l *layer
}

func (l *layer) track(c net.Conn) (net.Conn, error) {
	t := &conn{c, l}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns == nil {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	l.conns[t] = struct{}{}
	return t, nil
}

// Close closes the connection.
func (c *conn) Close() error {
	c.l.mu.Lock()
	delete(c.l.conns, c)
	c.l.mu.Unlock()
	return c.Conn.Close()
}
