package node

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"time"

	"github.com/cohortd/cohort/cachefsm"
	"github.com/cohortd/cohort/cachefsm/cache"
	"github.com/cohortd/cohort/cachefsm/lord"
	"github.com/cohortd/cohort/cachefsm/op"
	"github.com/cohortd/cohort/cluster"
	"github.com/cohortd/cohort/legion"
	"github.com/cohortd/cohort/router"
	routercache "github.com/cohortd/cohort/router/cache"
)

// What tells frames and streams of the one port apart. Numbers are on the wire: never reused.
const (
	controlFrames cluster.FrameKind = 16 // and the next two: apply, read, term
	cacheFrames   cluster.FrameKind = 20
	scrollFrame   cluster.FrameKind = 24

	controlStream byte = 'c'
	cacheStream   byte = 'k'
)

// protocol is what nodes of this version speak; a node works with those one below and one above.
const protocol = 1

// defaultControlTimeout is shorter than the cache group's: the control group is idle, and a lord waits for it.
const defaultControlTimeout = 500 * time.Millisecond

func (n *Node) openCluster() error {
	meta := cluster.Meta{Client: n.cfg.Cluster.Client, Expect: n.cfg.Cluster.Expect, ClusterID: n.id.ClusterID, Protocol: protocol}
	c, err := cluster.Open(n.cfg.Cluster, n.id, n.keys, meta, n.deps.Network, n.log.With("part", "cluster"))
	if err != nil {
		return err
	}
	n.cluster = c
	c.SetGossip(gossip{n})
	c.HandlePlain(n.takeTicket)
	return nil
}

func (n *Node) openGroups() (err error) {
	n.lords, n.items = lord.New(), cache.New()
	n.control, err = n.openGroup("control", cmp.Or(n.cfg.Raft.ControlTimeout, defaultControlTimeout), n.lords, controlStream, controlFrames)
	if err != nil {
		return err
	}
	n.cache, err = n.openGroup("cache", n.cfg.Raft.CacheTimeout, n.items, cacheStream, cacheFrames)
	if err != nil {
		return err
	}
	n.caches.group = n.cache
	n.openTickets()
	return nil
}

func (n *Node) openGroup(name string, timeout time.Duration, table cachefsm.Table, stream byte, frames cluster.FrameKind) (*cachefsm.Group, error) {
	o := cachefsm.Options{
		Name: name, ID: n.id.ID, Boot: n.id.Boot(), WAL: n.cfg.Raft.WAL, Timeout: timeout, Table: table, Clock: n.deps.Clock,
		Kinds: cachefsm.Kinds{Apply: uint8(frames), Read: uint8(frames) + 1, Term: uint8(frames) + 2},
		Log:   n.log, Called: n.name,
	}
	if !n.deps.Memory {
		o.Dir = filepath.Join(n.cfg.Data, name)
	}
	if n.cluster != nil {
		o.Streams, o.Links, o.Peers = n.cluster.Streams(stream), links{n.cluster}, peers{n}
	}
	g, err := cachefsm.Open(o)
	if err != nil {
		return nil, fmt.Errorf("open the %s group: %w", name, err)
	}
	if n.cluster != nil {
		n.cluster.Handle(frames, g.HandleApply)
		n.cluster.Handle(frames+1, g.HandleRead)
		n.cluster.Handle(frames+2, g.HandleTerm)
	}
	return g, nil
}

// links fits the cluster's frames to what a group sends.
type links struct{ *cluster.Cluster }

func (l links) Call(ctx context.Context, to string, kind uint8, payload []byte) ([]byte, error) {
	return l.Cluster.Call(ctx, to, cluster.FrameKind(kind), payload)
}

// peers are the cluster's members in the words of the groups.
type peers struct{ n *Node }

func (p peers) Changed() <-chan struct{} { return p.n.cluster.Changed() }

func (p peers) Peers() []cachefsm.Peer {
	var out []cachefsm.Peer
	for _, m := range p.n.cluster.Members() {
		out = append(out, cachefsm.Peer{ID: m.ID, Name: m.Name, Alive: m.Alive, Client: m.Meta.Client})
	}
	return out
}

// legionPeers are the same in the words of the legions.
type legionPeers struct{ n *Node }

func (p legionPeers) Changed() <-chan struct{} {
	if p.n.cluster == nil {
		return nil
	}
	return p.n.cluster.Changed()
}

func (p legionPeers) Peers() []legion.Peer {
	n := p.n
	voters, _ := n.control.Members()
	var out []legion.Peer
	for id, m := range n.alive() {
		out = append(out, legion.Peer{ID: id, Name: m.Name, Boot: m.Boot, Alive: true, Voter: slices.Contains(voters, id)})
	}
	slices.SortFunc(out, func(a, b legion.Peer) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// alive are the members that can be reached as far as is known, this node included, by id.
func (n *Node) alive() map[string]cluster.Member {
	out := map[string]cluster.Member{}
	if n.cluster == nil {
		out[n.id.ID] = cluster.Member{ID: n.id.ID, Name: n.cfg.Node, Boot: n.id.Boot(), Alive: true}
		return out
	}
	for _, m := range n.cluster.Members() {
		if m.Alive {
			out[m.ID] = m
		}
	}
	return out
}

// name is what people call a node; its id when it is not known.
func (n *Node) name(id string) string {
	if id == n.id.ID {
		return n.cfg.Node
	}
	if n.cluster != nil {
		for _, m := range n.cluster.Members() {
			if m.ID == id {
				return m.Name
			}
		}
	}
	return id
}

// gossip hands what the cluster carries to the legion it belongs to. Only the legion can tell: whoever
// cannot open a message does not know it.
type gossip struct{ n *Node }

func (g gossip) Merge(msg []byte) (key string, news bool) {
	for _, l := range g.n.legions {
		if key, news := l.Merge(msg); key != "" {
			return key, news
		}
	}
	return "", false
}

func (g gossip) State() [][]byte {
	var out [][]byte
	for _, l := range g.n.legions {
		out = append(out, l.State()...)
	}
	return out
}

// nobody is the gossip of a cluster of one.
type nobody struct{}

func (nobody) Spread(string, []byte) {}

// control is the control group in the words of one legion.
type control struct {
	*cachefsm.Group
	node   *Node
	legion string
}

// Leading says whether this node should have grants agreed: it leads, or the leader is not in the legion
// and cannot read its announcements, and this node is the first of those who can. Two who believe so at
// once do no harm: each command is guarded, and nobody waits less than the whole lease.
//
// Who hears too few for a quorum must not judge a lord that others vote for: a node that comes back from a
// cut, or that has another secret.
func (c control) Leading() bool {
	_, leads := c.Group.Leading()
	l := c.node.legion(c.legion)
	if l == nil {
		return leads
	}
	self, v := c.node.id.ID, l.View()
	if leads {
		_, known := v.Member(v.Lord)
		return known || v.Lord == "" || v.Quorate()
	}
	leader := c.Leader()
	at, alive := c.node.alive()[leader]
	if m, ok := v.Member(leader); !alive || ok && m.Boot == at.Boot {
		return false
	}
	if !v.Quorate() {
		return v.Lord == self
	}
	for _, m := range v.Members { // sorted by id
		if m.Alive && m.Fresh {
			return m.ID == self
		}
	}
	return false
}

func (c control) Do(ctx context.Context, cmd []byte, via string) (op.Result, error) {
	if via == "" {
		return c.Group.Do(ctx, cmd)
	}
	return c.DoVia(ctx, via, cmd)
}

// legion finds a legion of this node; nil if it is in none of that name.
func (n *Node) legion(name string) *legion.Legion {
	for _, l := range n.legions {
		if l.Name() == name {
			return l
		}
	}
	return nil
}

func (n *Node) openLegions() error {
	n.guards = newGuards(n)
	var guard legion.Guard = n.guards
	if n.deps.Guard != nil {
		guard = n.deps.Guard
	}
	for _, cfg := range n.cfg.Legions {
		d := legion.Deps{
			ID: n.id.ID, Name: n.cfg.Node, Boot: n.id.Boot(), Clock: n.deps.Clock,
			Control: control{n.control, n, cfg.Name}, State: n.lords.State, Gossip: nobody{}, Peers: legionPeers{n}, Guard: guard,
			TicketKey: n.keys.Derive(ticketInfo), Swept: true, Log: n.log, // Run sweeps before any legion runs
		}
		if n.cluster != nil {
			d.Gossip = n.cluster
			d.Fetch = func(ctx context.Context, node string, request []byte) ([]byte, error) {
				return n.cluster.Call(ctx, node, scrollFrame, request)
			}
		}
		l, err := legion.New(cfg, d)
		if err != nil {
			return err
		}
		n.legions = append(n.legions, l)
	}
	if n.cluster != nil {
		n.cluster.Handle(scrollFrame, n.giveScroll)
	}
	return nil
}

// voterAddresses is where the voters of the control group are now: where a dead node's guardian sends its
// release ticket.
func (n *Node) voterAddresses() []string {
	if n.cluster == nil {
		return nil
	}
	voters, _ := n.control.Members()
	var out []string
	for _, id := range voters {
		if addr, ok := n.cluster.Address(id); ok && id != n.id.ID {
			out = append(out, addr)
		}
	}
	return out
}

// menu is everything a rule can name.
func (n *Node) menu() router.Menu {
	var specs []routercache.Spec
	for _, s := range n.cfg.Caches {
		specs = append(specs, routercache.Spec{Name: s.Name, Open: s.Open, Node: s.Node})
	}
	return router.Core().With(routercache.Menu(n.caches, specs)).With(n.legionMenu())
}

// addrOf is the port others use, for messages.
func (n *Node) addrOf() string {
	if n.cluster == nil {
		return ""
	}
	return n.cluster.Self().Addr
}

var _ net.Listener = (*cluster.Streams)(nil)
