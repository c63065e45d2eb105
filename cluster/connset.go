package cluster

import (
	"container/list"
	"net"
	"sync"
)

// connSet is every TCP connection of a node, so that it can leave none behind.
type connSet struct {
	mu     sync.Mutex
	closed bool
	conns  map[*heldConn]struct{}
}

// heldConn is a connection of a connSet. Its first byte may have been read already.
type heldConn struct {
	net.Conn
	set   *connSet
	first []byte // only its reader touches it
}

// add takes a connection into the set and gives first to its reader; nil, with the connection closed, when
// the node is going down.
func (s *connSet) add(c net.Conn, first []byte) net.Conn {
	h := &heldConn{Conn: c, set: s, first: first}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.Close()
		return nil
	}
	if s.conns == nil {
		s.conns = map[*heldConn]struct{}{}
	}
	s.conns[h] = struct{}{}
	return h
}

// close closes all of them, and those that come later.
func (s *connSet) close() {
	s.mu.Lock()
	s.closed = true
	conns := s.conns
	s.conns = nil
	s.mu.Unlock()
	for c := range conns {
		c.Conn.Close()
	}
}

func (c *heldConn) Read(b []byte) (int, error) {
	if len(c.first) > 0 && len(b) > 0 {
		n := copy(b, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}

func (c *heldConn) Close() error {
	c.set.mu.Lock()
	delete(c.set.conns, c)
	c.set.mu.Unlock()
	return c.Conn.Close()
}

// waitingRoom is the connections that have not greeted yet. There is room for a number of them; when it is
// full the one that has waited longest goes: a peer greets within milliseconds, so it is a stranger.
type waitingRoom struct {
	mu    sync.Mutex
	room  int
	order list.List // of net.Conn
}

// enter says whether another connection had to go.
func (w *waitingRoom) enter(c net.Conn) (place *list.Element, evicted bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.order.Len() >= w.room {
		oldest := w.order.Front()
		w.order.Remove(oldest)
		oldest.Value.(net.Conn).Close()
		evicted = true
	}
	return w.order.PushBack(c), evicted
}

func (w *waitingRoom) leave(place *list.Element) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.order.Remove(place) // does nothing for one that had to go
}

func (w *waitingRoom) len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.order.Len()
}
