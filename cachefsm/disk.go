package cachefsm

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// disk is raft's log, term and vote, watched. After the first write that failed nothing is known about what
// the disk holds, and nothing is tried again on it: the group ends, and a restart finds out. What raft was
// told to be written before stays acknowledged, what failed is never acknowledged.
type disk struct {
	logs      raft.LogStore
	stable    raft.StableStore
	snapshots raft.SnapshotStore
	files     []io.Closer
	monotonic bool
	log       *slog.Logger

	armed  atomic.Bool // raft runs: the routines that call are its own
	once   sync.Once
	failed chan struct{}
	err    error
}

func openDisk(dir string, useWAL bool, logger *raftLog) (*disk, error) {
	d := &disk{failed: make(chan struct{})}
	if dir == "" {
		memory := raft.NewInmemStore()
		d.logs, d.stable, d.snapshots = memory, memory, raft.NewInmemSnapshotStore()
		return d, nil
	}
	if err := d.open(dir, useWAL, logger); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

func (d *disk) close() error {
	var errs []error
	for _, f := range d.files {
		errs = append(errs, f.Close())
	}
	d.files = nil
	return errors.Join(errs...)
}

func (d *disk) fail(doing string, err error) error {
	if err == nil || !d.armed.Load() {
		return err
	}
	d.once.Do(func() {
		d.err = fmt.Errorf("%s: %w", doing, err)
		close(d.failed)
		d.log.Error("disk failed, leaving the group; free or repair it and restart", "doing", doing, "err", err)
	})
	return err
}

func (d *disk) isFailed() bool {
	select {
	case <-d.failed:
		return true
	default:
		return false
	}
}

// cause is why the disk failed; only for those who saw that it did.
func (d *disk) cause() error { return d.err }

// broken is true once a write has failed: the disk may have come back, its contents are in doubt.
func (d *disk) broken() error {
	if d.isFailed() {
		return d.err
	}
	return nil
}

// FirstIndex and the others are raft.LogStore.
func (d *disk) FirstIndex() (uint64, error) { return d.logs.FirstIndex() }

// LastIndex is the index of the last entry.
func (d *disk) LastIndex() (uint64, error) { return d.logs.LastIndex() }

// GetLog reads an entry. raft panics where it cannot go on without one; here its routine ends instead, and
// with it the group.
func (d *disk) GetLog(index uint64, l *raft.Log) error {
	err := d.logs.GetLog(index, l)
	if err != nil && !errors.Is(err, raft.ErrLogNotFound) && d.armed.Load() {
		d.fail("read the log", err)
		runtime.Goexit()
	}
	return err
}

// StoreLog appends one entry.
func (d *disk) StoreLog(l *raft.Log) error { return d.StoreLogs([]*raft.Log{l}) }

// StoreLogs appends entries and returns when they are synced. A leader that cannot steps down.
func (d *disk) StoreLogs(ls []*raft.Log) error {
	if err := d.broken(); err != nil {
		return err
	}
	return d.fail("append to the log", d.logs.StoreLogs(ls))
}

// DeleteRange takes away entries that are in a snapshot, or that a newer leader overrides.
func (d *disk) DeleteRange(from, to uint64) error {
	if err := d.broken(); err != nil {
		return err
	}
	return d.fail("shorten the log", d.logs.DeleteRange(from, to))
}

// IsMonotonic says that the log must not have gaps: raft then clears it before it installs a snapshot.
func (d *disk) IsMonotonic() bool { return d.monotonic }

// Set stores a vote.
func (d *disk) Set(key, val []byte) error {
	if err := d.broken(); err != nil {
		return err
	}
	return d.fail("store the vote", d.stable.Set(key, val))
}

// Get is a stored vote.
func (d *disk) Get(key []byte) ([]byte, error) { return d.stable.Get(key) }

// SetUint64 stores a term. raft panics if it cannot; here its routine ends instead, before anything depends
// on the term, and with it the group.
func (d *disk) SetUint64(key []byte, val uint64) error {
	err := d.broken()
	if err == nil {
		err = d.fail("store the term", d.stable.SetUint64(key, val))
	}
	if err != nil && d.armed.Load() {
		runtime.Goexit()
	}
	return err
}

// GetUint64 is a stored term.
func (d *disk) GetUint64(key []byte) (uint64, error) { return d.stable.GetUint64(key) }
