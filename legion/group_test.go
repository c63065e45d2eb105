package legion

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/cohortd/cohort/cachefsm/op"
)

var errCut = errors.New("nobody answers")

func (n *node) control() *control { return &control{n: n, boot: n.counter} }

// control is one boot's door to the group and to gossip: what a dead main says goes nowhere.
type control struct {
	n    *node
	boot uint64
}

func (c *control) gone() bool {
	c.n.w.mu.Lock()
	defer c.n.w.mu.Unlock()
	return c.n.dead || c.n.counter != c.boot
}

func (c *control) Leading() bool { return !c.gone() && c.n.w.group.leads(c.n.id) }

func (c *control) Applied() <-chan struct{} {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	return c.n.news
}

func (c *control) Do(ctx context.Context, cmd []byte, via string) (op.Result, error) {
	n := c.n
	n.w.mu.Lock()
	filter, answers := n.filter, n.answers
	n.w.mu.Unlock()
	if filter != nil && !filter(cmd) {
		<-ctx.Done()
		return op.Result{}, ctx.Err()
	}
	for {
		if c.gone() {
			return op.Result{}, errCut
		}
		r, ok := n.w.group.propose(n.id, via, cmd)
		if ok {
			wait := 2 * time.Millisecond
			if answers != nil {
				if d := answers(cmd, r); d >= 0 {
					wait = d
				} else {
					wait = time.Hour
				}
			}
			select {
			case <-time.After(wait):
				return r, nil
			case <-ctx.Done():
				return op.Result{}, ctx.Err()
			}
		}
		if via != "" {
			return op.Result{}, errCut
		}
		select {
		case <-ctx.Done():
			return op.Result{}, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (c *control) Spread(_ string, msg []byte) {
	n := c.n
	if c.gone() {
		return
	}
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	if n.muted {
		return
	}
	for _, o := range n.w.nodes {
		if o == n || o.dead || n.w.cuts[[2]string{n.id, o.id}] {
			continue
		}
		to := o.legion
		time.AfterFunc(2*time.Millisecond, func() { to.Merge(msg) })
	}
}

// group is the model of the control group: one list of entries, a leader, replicas that apply late.
type group struct {
	w       *world
	mu      sync.Mutex
	entries [][]byte
	leader  string
	known   string        // the last one
	elect   time.Duration // how long an election takes; 1 s if zero
	term    int
}

func (g *group) leaderNow() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.leader
}

// leaderKnown is what a follower takes for the leader: for a while after its death still the old one.
func (g *group) leaderKnown() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.known
}

func (g *group) leads(id string) bool { return g.leaderNow() == id }

// propose has an entry agreed, if the way is open and the leader has a majority.
func (g *group) propose(from, via string, cmd []byte) (op.Result, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	leader := g.leader
	way := []string{from, leader}
	if via != "" {
		way = []string{from, via, leader}
	}
	if leader == "" {
		return op.Result{}, false
	}
	for i := range len(way) - 1 {
		if way[i] != way[i+1] && (!g.w.open(way[i], way[i+1]) || !g.w.open(way[i+1], way[i])) {
			return op.Result{}, false
		}
	}
	voters, reached := 0, 0
	for _, n := range g.w.list() {
		if n.client {
			continue
		}
		voters++
		if !n.isDead() && (n.id == leader || g.w.open(leader, n.id) && g.w.open(n.id, leader)) {
			reached++
		}
	}
	if 2*reached <= voters {
		return op.Result{}, false
	}
	g.entries = append(g.entries, cmd)
	var r op.Result
	for _, n := range g.w.list() {
		if n.id == leader {
			r = n.catchUp(g.entries)
		} else if !n.isDead() {
			n.applyLater(g)
		}
	}
	return r, true
}

func (n *node) isDead() bool {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	return n.dead
}

// late makes entries arrive here this much later.
func (n *node) late(d time.Duration) {
	n.mu.Lock()
	n.delay = d
	n.mu.Unlock()
}

func (n *node) applyLater(g *group) {
	n.mu.Lock()
	d := n.delay
	n.mu.Unlock()
	time.AfterFunc(max(d, time.Millisecond), func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		// An entry that is due may not overtake: with a delay, only what is old enough is applied.
		leader := g.leader
		if n.isDead() || leader != "" && leader != n.id && !g.w.open(leader, n.id) {
			return
		}
		n.catchUp(g.entries)
	})
}

// catchUp applies what is missing and answers the result of the last.
func (n *node) catchUp(entries [][]byte) (r op.Result) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.applied >= len(entries) {
		return r
	}
	for n.applied < len(entries) {
		n.applied++
		r = n.table.Apply(uint64(n.applied), 0, entries[n.applied-1])
	}
	close(n.news)
	n.news = make(chan struct{})
	return r
}

// lost starts an election if the leader is gone.
func (g *group) lost(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.leader != id {
		return
	}
	g.vote(id)
}

// wanted starts an election if nobody leads.
func (g *group) wanted() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.leader == "" {
		g.vote("")
	}
}

func (g *group) vote(not string) {
	g.leader = ""
	g.term++
	term, wait := g.term, g.elect
	if wait == 0 {
		wait = time.Second
	}
	time.AfterFunc(wait, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.term != term {
			return
		}
		for _, n := range g.w.list() {
			if !n.isDead() && !n.client && n.id != not {
				g.take(n)
				return
			}
		}
	})
}

// take makes n the leader; it has every entry.
func (g *group) take(n *node) {
	g.term++
	g.leader, g.known = n.id, n.id
	n.catchUp(g.entries)
	for _, o := range g.w.list() {
		if !o.isDead() {
			o.applyLater(g)
		}
	}
}

func (g *group) campaign(id string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := g.w.nodes[id]
	if n.isDead() {
		return errCut
	}
	g.take(n)
	return nil
}

// log is everything agreed so far.
func (g *group) log() [][]byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.entries)
}

// slow makes elections take this long.
func (g *group) slow(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.elect = d
}

// transfer moves leadership to another node.
func (g *group) transfer(n *node) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.take(n)
}
