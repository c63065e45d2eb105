package cachefsm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"
	"go.etcd.io/bbolt"
)

// startRaft opens the stores and starts raft on them.
func (g *Group) startRaft() (err error) {
	logger := newRaftLog(g.log)
	if g.disk, err = openDisk(g.o.Dir, g.o.WAL, logger); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = g.disk.close() // the first error is the one to tell
		}
	}()
	g.disk.log = g.log
	if g.o.faults != nil {
		g.o.faults(g.disk)
	}
	if g.hadState, err = raft.HasExistingState(g.disk.logs, g.disk.stable, g.disk.snapshots); err != nil {
		return err
	}
	if g.o.Streams == nil {
		_, g.trans = raft.NewInmemTransport(raft.ServerAddress(g.o.ID))
	} else {
		g.layer = newLayer(g.o.ID, g.o.Streams, g.o.Timeout)
		g.trans = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Stream: g.layer, MaxPool: 3, Timeout: 4 * g.o.Timeout, Logger: logger,
			// No pipelines: one that a follower answers with a failure can lock up for good, while heartbeats go
			// on and nobody notices (hashicorp/raft issue 612). One batch is in flight anyway.
			MaxRPCsInFlight: 1,
		})
	}
	// The cache keeps entries alive, and each may be hundreds of kilobytes: enough for followers that keep up.
	cached, err := raft.NewLogCache(32, g.disk)
	if err != nil {
		return err
	}
	g.raft, err = raft.NewRaft(g.raftConfig(logger), g.machine, cached, g.disk, g.disk.snapshots, g.trans)
	if err != nil {
		g.closeTransport()
		return fmt.Errorf("start raft: %w", err)
	}
	g.disk.armed.Store(true)
	g.raft.RegisterObserver(raft.NewObserver(nil, false, g.observe))
	return nil
}

func (g *Group) raftConfig(logger *raftLog) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(g.o.ID)
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = g.o.Timeout, g.o.Timeout, g.o.Timeout
	// Followers learn of a commit with the next message, or after this long.
	c.CommitTimeout = min(max(g.o.Timeout/25, 5*time.Millisecond), 50*time.Millisecond)
	c.SnapshotThreshold = uint64(g.o.SnapshotEvery)
	c.TrailingLogs = uint64(max(g.o.SnapshotEvery/2, 1))
	c.SnapshotInterval = 5 * time.Second
	c.ShutdownOnRemove = false // it may be added again
	c.Logger = logger
	return c
}

// observe runs inside raft: it only pokes watch, and never asks for the observation to be delivered.
func (g *Group) observe(o *raft.Observation) bool {
	switch o.Data.(type) {
	case raft.FailedHeartbeatObservation:
		g.late.Add(1)
	case raft.LeaderObservation, raft.RaftState:
		select {
		case g.poked <- struct{}{}:
		default:
		}
	}
	return false
}

// Close ends raft and closes its files. Run does it by itself.
func (g *Group) Close() error {
	g.closeOnce.Do(func() {
		ended := g.raft.Shutdown()
		g.closeTransport() // before waiting: raft's routines may hang in a read from a peer that is cut off
		if err := ended.Error(); err != nil {
			g.closeErr = fmt.Errorf("stop raft: %w", err)
		}
		if err := g.disk.close(); err != nil {
			g.closeErr = errors.Join(g.closeErr, fmt.Errorf("close group %s: %w", g.o.Name, err))
		}
	})
	return g.closeErr
}

func (g *Group) closeTransport() {
	if t, ok := g.trans.(raft.WithClose); ok {
		_ = t.Close() // nothing is lost with it
	}
	if g.layer != nil {
		g.layer.wait()
	}
}

// Bootstrap starts a group that has never been, with these voters. Where there is state it does nothing.
func (g *Group) Bootstrap(voters []string) error {
	var c raft.Configuration
	for _, id := range voters {
		c.Servers = append(c.Servers, server(id))
	}
	err := g.raft.BootstrapCluster(c).Error()
	if errors.Is(err, raft.ErrCantBootstrap) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("bootstrap group %s: %w", g.o.Name, err)
	}
	return nil
}

// server is a voter: addresses are ids, so where a node was does not matter.
func server(id string) raft.Server {
	return raft.Server{Suffrage: raft.Voter, ID: raft.ServerID(id), Address: raft.ServerAddress(id)}
}

// Members are the group's voters and the others, who only follow.
func (g *Group) Members() (voters, others []string) {
	for _, s := range g.raft.GetConfiguration().Configuration().Servers {
		if s.Suffrage == raft.Voter {
			voters = append(voters, string(s.ID))
		} else {
			others = append(others, string(s.ID))
		}
	}
	return voters, others
}

// open opens or makes the files of a group. Term and vote are always kept in bolt.
func (d *disk) open(dir string, useWAL bool, logger *raftLog) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	boltLog, walDir := filepath.Join(dir, "log.db"), filepath.Join(dir, "wal")
	if err := onlyOneLog(useWAL, boltLog, walDir); err != nil {
		return err
	}
	term, err := openBolt(filepath.Join(dir, "term.db"))
	if err != nil {
		return err
	}
	d.stable, d.files = term, append(d.files, term)
	if useWAL {
		if err := os.MkdirAll(walDir, 0o700); err != nil {
			return err
		}
		meta := &metadb.BoltMetaDB{} // ours, because the log does not close its own
		w, err := wal.Open(walDir, wal.WithLogger(logger), wal.WithMetaStore(meta))
		if err != nil {
			return errors.Join(fmt.Errorf("open %s: %w", walDir, err), meta.Close())
		}
		d.logs, d.files, d.monotonic = w, append(d.files, w, meta), true
	} else {
		b, err := openBolt(boltLog)
		if err != nil {
			return err
		}
		d.logs, d.files = b, append(d.files, b)
	}
	if d.snapshots, err = raft.NewFileSnapshotStoreWithLogger(dir, 2, logger); err != nil {
		return fmt.Errorf("open snapshots in %s: %w", dir, err)
	}
	return syncDir(dir)
}

// onlyOneLog refuses to leave entries behind in the other kind of log.
func onlyOneLog(useWAL bool, boltLog, walDir string) error {
	other, want := boltLog, "bolt"
	if !useWAL {
		other, want = walDir, "wal"
	}
	if _, err := os.Stat(other); err == nil {
		return fmt.Errorf("%s holds this node's log: set raft-log = %s, or move its whole data directory away to let it join as a new node", other, want)
	}
	return nil
}

func openBolt(path string) (*raftboltdb.BoltStore, error) {
	b, err := raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: &bbolt.Options{
		Timeout:      time.Second, // somebody else has it open: say so instead of waiting
		FreelistType: bbolt.FreelistMapType,
	}})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return b, nil
}

// syncDir makes the names of new files outlive a power loss; their contents are synced by their owners.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
