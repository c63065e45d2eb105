package node

import (
	"maps"
	"slices"
	"sync"

	"github.com/cohortd/cohort/daemons"
	"github.com/cohortd/cohort/legion"
)

// guards fits guardian processes to what a legion asks for: a ward for each epoch, with the daemons that the
// ini gives the legion.
type guards struct {
	node *Node

	mu      sync.Mutex
	running map[*daemons.Guardian]struct{}
}

func newGuards(n *Node) *guards {
	return &guards{node: n, running: map[*daemons.Guardian]struct{}{}}
}

// Start starts the guardian of one epoch.
func (g *guards) Start(c legion.Charge) (legion.Ward, error) {
	n := g.node
	charge := daemons.Charge{
		Legion: c.Legion, Epoch: c.Epoch, Node: n.cfg.Node, Boot: n.id.Boot(), Since: c.Since,
		LordHooks: c.LordHooks, UnlordHooks: c.UnlordHooks, HookTimeout: c.HookTimeout,
		Timing: daemons.Timing{
			Lease: c.Numbers.Lease, Soft: c.Numbers.Soft, Kill: c.Numbers.Kill, Grace: c.Numbers.Grace,
			StopGrace: c.Numbers.StopGrace, Wait: c.Numbers.Wait(),
		},
		Ticket: c.Ticket, Voters: n.voterAddresses(), StateDir: n.guardianDir(),
	}
	for _, d := range n.cfg.Daemons {
		if d.Legion == c.Legion {
			charge.Daemons = append(charge.Daemons, d)
		}
	}
	guardian, err := daemons.Start(charge, n.deps.Binary, n.log.With("legion", c.Legion, "epoch", c.Epoch))
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	g.running[guardian] = struct{}{}
	g.mu.Unlock()
	go func() { // ends with the guardian, which the legion waits for
		<-guardian.Down()
		g.mu.Lock()
		delete(g.running, guardian)
		g.mu.Unlock()
	}()
	return ward{guardian}, nil
}

// tellVoters has every guardian know where the voters are now: when this process is dead nobody else can.
func (g *guards) tellVoters() {
	addrs := g.node.voterAddresses()
	for _, guardian := range g.all() {
		guardian.SetVoters(addrs)
	}
}

func (g *guards) all() []*daemons.Guardian {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Collect(maps.Keys(g.running))
}

// ward is a guardian in the words of a legion.
type ward struct{ *daemons.Guardian }

func (w ward) Outcome() legion.Outcome {
	o := w.Guardian.Outcome()
	return legion.Outcome{HookFailed: o.HookFailed, Undone: o.Undone}
}
