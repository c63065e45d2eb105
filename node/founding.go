package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cohortd/cohort/cachefsm"
	"github.com/cohortd/cohort/cluster"
)

// foundingFile notes whom this node founds a cluster with, before it does. Only the founder has one, and
// only until both groups exist: founding twice with the same voters is founding once.
const foundingFile = "founding.json"

// newClusters makes a new cluster out of nodes that have none, once enough of them see each other, and
// tells the others how far this node is with it, until it is in one. A cluster that exists is never begun
// again: the data directory decides.
func (n *Node) newClusters(ctx context.Context, ready func()) error {
	ready()
	if err := n.finishFounding(); err != nil {
		return err
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		var changed <-chan struct{}
		if n.cluster != nil {
			changed = n.cluster.Changed()
		}
		settled, err := n.foundOrJoin(ctx)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if settled {
			<-ctx.Done()
			return nil
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// foundOrJoin takes one step. It says true once this node is in a cluster and the others know.
func (n *Node) foundOrJoin(ctx context.Context) (settled bool, err error) {
	if err := n.identify(ctx); err != nil {
		return false, err
	}
	fresh := n.fresh()
	settled = !fresh && n.id.ClusterID != ""
	if n.cluster == nil {
		if fresh {
			return false, n.found([]string{n.id.ID})
		}
		return settled, nil
	}
	self, all := n.candidates(fresh)
	if m := n.cluster.Self().Meta; m.Fresh != fresh || m.ClusterID != n.id.ClusterID || m.Sees != self.Sees {
		n.cluster.SetMeta(func(m *cluster.Meta) { m.Fresh, m.ClusterID, m.Sees = fresh, n.id.ClusterID, self.Sees })
	}
	if voters, ok := cachefsm.ShouldBootstrap(self, all, n.cfg.Cluster.Expect); ok {
		n.log.Info("founding the cluster", "voters", n.names(voters))
		return false, n.found(voters)
	}
	return settled, nil
}

// fresh says that this node is in no cluster: it has no log and nobody has counted it in.
func (n *Node) fresh() bool {
	voters, others := n.control.Members()
	return n.id.ClusterID == "" && !n.control.HasState() && len(voters)+len(others) == 0
}

// identify keeps the id of the cluster: the leader has one agreed, and whoever applies it notes it for good.
func (n *Node) identify(ctx context.Context) error {
	agreed := n.control.ClusterID()
	if _, leads := n.control.Leading(); agreed == "" && leads {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		var err error
		if agreed, err = n.control.Identify(ctx, newUUID()); err != nil {
			return nil //nolint:nilerr // the next leader asks again
		}
	}
	if agreed == "" || agreed == n.id.ClusterID {
		return nil
	}
	n.log.Info("in the cluster", "cluster", agreed)
	return n.id.SetClusterID(agreed)
}

// candidates are the live nodes in the words of the decision who begins a cluster.
func (n *Node) candidates(fresh bool) (self cachefsm.Candidate, all []cachefsm.Candidate) {
	alive := n.alive()
	sees := cachefsm.MemberSet(slices.Collect(maps.Keys(alive)))
	for _, m := range alive {
		c := cachefsm.Candidate{
			ID: m.ID, Expect: m.Meta.Expect, Fresh: m.Meta.Fresh, ClusterID: m.Meta.ClusterID, Client: m.Meta.Client, Sees: m.Meta.Sees,
		}
		if m.ID == n.id.ID {
			c.Fresh, c.ClusterID, c.Sees = fresh, n.id.ClusterID, sees
			self = c
		}
		all = append(all, c)
	}
	return self, all
}

// found begins both groups with the given voters.
func (n *Node) found(voters []string) error {
	slices.Sort(voters)
	if !n.deps.Memory {
		b, err := json.Marshal(voters)
		if err != nil {
			return err
		}
		if err := writeSynced(filepath.Join(n.cfg.Data, foundingFile), b); err != nil {
			return fmt.Errorf("note the founding of the cluster: %w", err)
		}
	}
	return n.bootstrapGroups(voters)
}

// finishFounding does what a founder that was interrupted had left to do, unless the others have begun
// without it: then it joins them like anybody else.
func (n *Node) finishFounding() error {
	if n.deps.Memory {
		return nil
	}
	path := filepath.Join(n.cfg.Data, foundingFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if n.id.ClusterID == "" && !n.control.HasState() && n.othersHaveCluster() {
		return os.Remove(path)
	}
	var voters []string
	if err := json.Unmarshal(b, &voters); err != nil {
		return fmt.Errorf("read %s: %w", foundingFile, err)
	}
	return n.bootstrapGroups(voters)
}

func (n *Node) othersHaveCluster() bool {
	for id, m := range n.alive() {
		if id != n.id.ID && m.Meta.ClusterID != "" {
			return true
		}
	}
	return false
}

func (n *Node) bootstrapGroups(voters []string) error {
	for _, g := range []*cachefsm.Group{n.control, n.cache} {
		if err := g.Bootstrap(voters); err != nil {
			return fmt.Errorf("found the cluster: %w", err)
		}
	}
	if n.deps.Memory {
		return nil
	}
	if err := os.Remove(filepath.Join(n.cfg.Data, foundingFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// writeSynced writes a file that is whole or not there, whatever happens.
func writeSynced(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
