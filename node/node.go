// Package node introduces the parts to each other: it is the only package that knows them all. Each file
// here fits one part's needs with another's abilities and decides as little as it can.
package node

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cohortd/cohort/api"
	"github.com/cohortd/cohort/cachefsm"
	"github.com/cohortd/cohort/cachefsm/cache"
	"github.com/cohortd/cohort/cachefsm/lord"
	"github.com/cohortd/cohort/clock"
	"github.com/cohortd/cohort/cluster"
	"github.com/cohortd/cohort/config"
	"github.com/cohortd/cohort/daemons"
	"github.com/cohortd/cohort/gateway"
	"github.com/cohortd/cohort/legion"
	"github.com/cohortd/cohort/router"
)

// Deps is what the world gives to a node. The zero value is the real world.
type Deps struct {
	Log     *slog.Logger
	Version string
	Network cluster.Network   // nil: the machine's, with the admin socket in the data directory
	Clock   clock.Clock       // nil: the kernel's clocks
	Keys    *cluster.Keys     // nil: derived from the secret, which takes a moment
	Guard   legion.Guard      // nil: guardian processes
	Binary  string            // what a guardian runs; empty: this program
	ID      *cluster.Identity // nil: the one in the data directory
	Memory  bool              // keep nothing on disk: for clusters inside a test
}

// Node is one node. It does nothing until Run.
type Node struct {
	cfg   *config.Config
	deps  Deps
	log   *slog.Logger
	began time.Time

	id      *cluster.Identity
	keys    *cluster.Keys
	cluster *cluster.Cluster // nil: a cluster of one
	control *cachefsm.Group
	cache   *cachefsm.Group
	lords   *lord.Table
	items   *cache.Table
	caches  *caches
	legions []*legion.Legion
	tickets *legion.Tickets
	guards  *guards
	own     *daemons.Supervisor
	router  *router.Router
	gateway *gateway.Gateway

	draining atomic.Bool
}

// New checks what can be checked without touching anything, and prepares a node.
func New(cfg *config.Config, deps Deps) (*Node, error) {
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if deps.Clock == nil {
		deps.Clock = clock.System{}
	}
	n := &Node{cfg: cfg, deps: deps, log: deps.Log.With("node", cfg.Node), began: time.Now()}
	n.caches = newCaches(cfg.Caches, deps.Clock, n.log)
	var err error
	if n.router, err = router.Compile(cfg.Rules, n.menu(), n.log.With("part", "rules")); err != nil {
		return nil, err
	}
	for _, text := range n.router.Notices() {
		n.log.Info("notice", "text", text)
	}
	n.gateway = gateway.New(cfg.Gateway, n.router, n.log.With("part", "gateway"))
	return n, nil
}

// Check says what New would, and nothing else happens. The notices are "file:line: text" of what the rules
// name that has no effect.
func Check(cfg *config.Config) (notices []string, err error) {
	n, err := New(cfg, Deps{})
	if err != nil {
		return nil, err
	}
	return n.router.Notices(), nil
}

// HTTP lists the addresses the gateway listens on.
func (n *Node) HTTP() []string {
	out := []string{}
	for _, l := range n.cfg.Gateway.Listen {
		out = append(out, l.Addr)
	}
	return out
}

// Handler answers requests as the gateway does, by the rules. Nobody may use it before Run has called up.
func (n *Node) Handler() http.Handler { return n.router }

// Run runs the node until ctx ends, and hands over what it leads before it returns. up is called once
// everything has started; it does not wait for a quorum.
func (n *Node) Run(ctx context.Context, up func()) error {
	if err := n.open(); err != nil {
		return err
	}
	defer n.close()
	return runParts(ctx, n.log, n.parts(), up)
}

// open takes the data directory and builds every part, without starting any.
func (n *Node) open() (err error) {
	if n.id, err = n.openIdentity(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			n.close()
		}
	}()
	if n.keys = n.deps.Keys; n.keys == nil {
		if n.keys, err = cluster.DeriveKeys(n.cfg.Cluster.Secret, n.cfg.Cluster.OldSecret, n.cfg.Cluster.Name); err != nil {
			return err
		}
	}
	if n.cfg.Cluster.Bind != "" {
		if err = n.openCluster(); err != nil {
			return err
		}
	}
	if err = n.openGroups(); err != nil {
		return err
	}
	if slices.ContainsFunc(n.cfg.Daemons, func(d daemons.Daemon) bool { return d.Legion == "" }) {
		n.own = daemons.NewSupervisor(n.cfg.Daemons, n.cfg.Node, n.id.Boot(), n.guardianDir(), n.deps.Binary, n.log)
	}
	return n.openLegions()
}

func (n *Node) openIdentity() (*cluster.Identity, error) {
	if n.deps.ID != nil {
		return n.deps.ID, nil
	}
	return cluster.OpenIdentity(n.cfg.Data)
}

// close gives back what open took. A part that ran has closed what is its own.
func (n *Node) close() {
	if n.cluster != nil {
		if err := n.cluster.Close(); err != nil {
			n.log.Warn("port not closed", "err", err)
		}
	}
	for _, g := range []*cachefsm.Group{n.control, n.cache} {
		if g != nil {
			if err := g.Close(); err != nil {
				n.log.Warn("log not closed", "err", err)
			}
		}
	}
	if n.id != nil {
		if err := n.id.Close(); err != nil {
			n.log.Warn("data directory not released", "err", err)
		}
	}
}

// parts is everything that lives, in the order it starts; it stops in reverse, so a lord's daemons are gone
// before its lease is given back, and the lease before the node says farewell.
func (n *Node) parts() []part {
	var parts []part
	if n.deps.Guard == nil && !n.deps.Memory { // else no guardian process was ever noted here
		parts = append(parts, part{"sweep", n.sweep})
	}
	if n.deps.Network == nil {
		parts = append(parts, part{"admin socket", n.serveAdmin})
	}
	if n.cluster != nil {
		parts = append(parts, part{"cluster", n.cluster.Run})
	}
	parts = append(parts,
		part{"control group", n.control.Run},
		part{"cache group", n.cache.Run},
		part{"new clusters", n.newClusters},
		part{"caches", n.caches.run},
	)
	for _, l := range n.legions {
		parts = append(parts, part{"legion " + l.Name(), l.Run})
	}
	parts = append(parts, part{"balance", n.balance})
	if n.own != nil {
		parts = append(parts, part{"daemons", n.own.Run})
	}
	if len(n.cfg.Gateway.Listen) > 0 {
		parts = append(parts, part{"gateway", n.gateway.Run})
	}
	return parts
}

func (n *Node) serveAdmin(ctx context.Context, ready func()) error {
	l, err := api.Listen(n.cfg.Data)
	if err != nil {
		return err
	}
	ready()
	return api.Serve(ctx, l, admin{n})
}

// sweep ends what an earlier boot of this node left running, before anything of this boot may start.
func (n *Node) sweep(ctx context.Context, ready func()) error {
	swept, err := daemons.Sweep(ctx, n.guardianDir(), n.deps.Binary, n.log)
	if err != nil {
		return fmt.Errorf("end what an earlier run left: %w", err)
	}
	for _, s := range swept {
		n.log.Info("ended what an earlier run left", "legion", s.Legion, "epoch", s.Epoch, "undone", s.Undone)
	}
	ready()
	<-ctx.Done()
	return nil
}

func (n *Node) guardianDir() string { return filepath.Join(n.cfg.Data, "guardians") }
