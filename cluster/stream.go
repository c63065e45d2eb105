package cluster

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// mostUnaccepted is how many streams wait for Accept before further ones are refused.
const mostUnaccepted = 64

// Streams is a listener and a dialler for connections of one kind, between nodes named by their ids: where
// a node is now is looked up in the membership at each dial, so an address is never stored anywhere.
type Streams struct {
	c     *Cluster
	kind  byte
	queue chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// Streams opens a kind of stream; a name of one byte that both ends use, other than M and F. Opening it
// again takes it from the one before, which then accepts nothing more.
func (c *Cluster) Streams(kind byte) *Streams {
	if kind == kindMemberlist || kind == kindFrames {
		panic(fmt.Sprintf("cluster: stream kind %q is the cluster's own", kind))
	}
	s := &Streams{c: c, kind: kind, queue: make(chan net.Conn, mostUnaccepted), done: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.streams[kind] = s
	return s
}

// take queues an accepted connection.
func (s *Streams) take(p *peerConn) {
	select {
	case <-s.done:
	default:
		select {
		case s.queue <- p:
			return
		default:
		}
	}
	p.NetConn().Close()
}

// Accept waits for the next connection. After Close, or when the node goes down, it returns net.ErrClosed.
func (s *Streams) Accept() (net.Conn, error) {
	select {
	case conn := <-s.queue:
		return conn, nil
	case <-s.done:
	case <-s.c.life.Done():
	}
	return nil, net.ErrClosed
}

// Close ends Accept. The port and the connections that were accepted stay as they are.
func (s *Streams) Close() error {
	s.once.Do(func() {
		close(s.done)
		s.c.mu.Lock()
		if s.c.streams[s.kind] == s {
			delete(s.c.streams, s.kind)
		}
		s.c.mu.Unlock()
		for {
			select {
			case conn := <-s.queue:
				conn.Close()
			default:
				return
			}
		}
	})
	return nil
}

// Addr is this node's id.
func (s *Streams) Addr() net.Addr { return nodeAddr(s.c.id.ID) }

// Dial connects to the node with the given id, wherever it is now.
func (s *Streams) Dial(id string, timeout time.Duration) (net.Conn, error) {
	addr, ok := s.c.Address(id)
	if !ok {
		return nil, fmt.Errorf("dial node %s: %w", id, ErrNoMember)
	}
	ctx, cancel := context.WithTimeout(s.c.life, timeout)
	defer cancel()
	conn, err := s.c.dialler.dial(ctx, addr, s.kind, id)
	if err != nil {
		return nil, fmt.Errorf("dial node %s: %w", id, err)
	}
	return conn, nil
}

// nodeAddr is a node's id as an address.
type nodeAddr string

func (nodeAddr) Network() string  { return "cohort" }
func (a nodeAddr) String() string { return string(a) }
