package cluster

import (
	"context"

	"github.com/hashicorp/memberlist"
)

// Gossip is who understands the announcements that the cluster carries and cannot read itself. Its methods
// are called from several goroutines and must not wait for anything of the cluster.
type Gossip interface {
	// Merge takes an announcement, which may be old, repeated or nonsense, and owns it. key says whom it
	// supersedes; news that it was not known: then this node passes it on.
	Merge(msg []byte) (key string, news bool)
	// State is the newest announcement of each sender, own ones included.
	State() [][]byte
}

// longestPacketed is the longest announcement that goes by packet. Longer ones go over frame connections
// and with state exchanges only.
const longestPacketed = 1200

// SetGossip says who understands announcements. Call it before Run.
func (c *Cluster) SetGossip(g Gossip) { c.gossip = g }

// Spread makes an announcement reach all members: at once over the frame connections, by gossip through
// others where a connection is down, and with the next state exchange (10 s) for whoever missed it. It
// supersedes what was spread under the same key. It never waits.
func (c *Cluster) Spread(key string, msg []byte) {
	c.enqueue(key, msg)
	for _, m := range c.Members() {
		if m.Alive && m.ID != c.id.ID {
			c.Send(m.ID, kindGossip, msg)
		}
	}
}

func (c *Cluster) enqueue(key string, msg []byte) {
	if len(msg) <= longestPacketed {
		c.queue.QueueBroadcast(announcement{key, append([]byte(nil), msg...)})
	}
}

// gossipArrived merges what came, on whatever way. memberlist does not pass user messages on, so each node
// passes news on itself; its own come back to it and are no news.
func (c *Cluster) gossipArrived(msg []byte) {
	if c.gossip == nil {
		return
	}
	c.counters.gossipIn.Add(1)
	if key, news := c.gossip.Merge(msg); news {
		c.counters.gossipNews.Add(1)
		c.enqueue(key, msg)
	}
}

func (c *Cluster) gossipFrame(_ context.Context, _ string, payload []byte) ([]byte, error) {
	c.gossipArrived(payload)
	return nil, nil
}

func (c *Cluster) gossipState() [][]byte {
	if c.gossip == nil {
		return nil
	}
	return c.gossip.State()
}

// announcement is a broadcast of memberlist's queue.
type announcement struct {
	key string
	msg []byte
}

var _ memberlist.NamedBroadcast = announcement{}

func (a announcement) Name() string    { return a.key }
func (a announcement) Message() []byte { return a.msg }
func (a announcement) Finished()       {}

func (a announcement) Invalidates(b memberlist.Broadcast) bool {
	other, ok := b.(memberlist.NamedBroadcast)
	return ok && other.Name() == a.key
}
