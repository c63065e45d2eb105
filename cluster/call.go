package cluster

import (
	"context"
	"errors"
	"fmt"
)

var (
	// ErrClosed says that this node's cluster part has ended, or has not begun.
	ErrClosed = errors.New("cluster: closed")
	// ErrNoMember says that no node with this id is known.
	ErrNoMember = errors.New("cluster: no such member")
)

var errNoHandler = errors.New("cluster: nobody answers frames of this kind")

// Handle says who answers frames of a kind. Call it before Run. Kinds from 0xF0 on are taken.
func (c *Cluster) Handle(kind FrameKind, h func(ctx context.Context, from string, payload []byte) ([]byte, error)) {
	if kind >= firstOwnKind {
		panic(fmt.Sprintf("cluster: frame kind %#x is the cluster's own", kind))
	}
	c.handlers[kind] = h
}

// Call asks another node, or this one, and waits for the answer until ctx ends; the answer is the caller's.
//
// A *RemoteError is the handler's own. After ErrLost or the end of ctx it is not known whether the handler
// ran. With every other error it did not: the frame was never sent.
func (c *Cluster) Call(ctx context.Context, to string, kind FrameKind, payload []byte) ([]byte, error) {
	if to == c.id.ID {
		return c.callSelf(ctx, kind, payload)
	}
	if len(payload) > LongestFrame {
		return nil, ErrTooLong
	}
	l := c.link(to)
	if l == nil {
		return nil, fmt.Errorf("call node %s: %w", to, ErrNoMember)
	}
	up, err := l.get(ctx)
	if err != nil {
		return nil, err
	}
	return up.call(ctx, kind, payload)
}

// callSelf spares the way through the network; the handler gets a payload of its own, as from there.
func (c *Cluster) callSelf(ctx context.Context, kind FrameKind, payload []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	h := c.handlers[kind]
	if h == nil {
		return nil, &RemoteError{Text: errNoHandler.Error()}
	}
	answer, err := h(ctx, c.id.ID, append([]byte(nil), payload...))
	if err != nil {
		return nil, &RemoteError{Text: err.Error()}
	}
	return answer, nil
}

// Send tells another node something, without knowing whether it arrives. It never waits: while a connection
// is being made a few frames wait for it, and what finds no room is dropped and counted. The payload is
// copied.
func (c *Cluster) Send(to string, kind FrameKind, payload []byte) {
	if l := c.link(to); l != nil && len(payload) <= LongestFrame {
		l.send(kind, payload)
		return
	}
	c.counters.sendsDropped.Add(1)
}

// link is the way to a member; nil for this node and for those that are not known.
func (c *Cluster) link(id string) *link {
	c.linksMu.RLock()
	l := c.links[id]
	c.linksMu.RUnlock()
	if l != nil || id == c.id.ID {
		return l
	}
	for _, m := range c.Members() {
		if m.ID == id {
			return c.addLink(m)
		}
	}
	return nil
}

func (c *Cluster) addLink(m Member) *link {
	c.linksMu.Lock()
	defer c.linksMu.Unlock()
	l := c.links[m.ID]
	if l == nil {
		l = &link{c: c, id: m.ID}
		c.links[m.ID] = l
		l.follow(m)
	}
	return l
}

// followMembers brings the links in line with the members.
func (c *Cluster) followMembers() {
	known := map[string]bool{}
	for _, m := range c.Members() {
		if m.ID != c.id.ID {
			known[m.ID] = true
			c.addLink(m).follow(m)
		}
	}
	c.linksMu.Lock()
	defer c.linksMu.Unlock()
	for id, l := range c.links {
		if !known[id] {
			l.close()
			delete(c.links, id)
		}
	}
}

func (c *Cluster) eachLink(f func(*link)) {
	c.linksMu.RLock()
	defer c.linksMu.RUnlock()
	for _, l := range c.links {
		f(l)
	}
}
