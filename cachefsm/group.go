// Package cachefsm keeps tables that all nodes agree on: one raft group for each Table.
//
// Callers' ops are packed: while one batch is under way the next gathers, and what gathered becomes one
// entry of the log. Other nodes send their batches to the leader, which appends them undecoded. Every op
// carries a client and a number, so that a retry after a lost answer or a lost leader is applied once.
// Fresh reads cost no entry: the leader asks the voters whether its term is still the newest and answers
// from its table.
//
// Run owns all goroutines and returns when they are gone. What Do answered is on the disks of a majority.
// What it did not answer may have been applied or not, and the error says which of the two are possible.
package cachefsm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/cohortd/cohort/cachefsm/op"
	"github.com/cohortd/cohort/clock"
)

// Links carries frames to other nodes and brings back what they answer.
type Links interface {
	Call(ctx context.Context, to string, kind uint8, payload []byte) ([]byte, error)
}

// Streams carries raft's own connections. Addresses are node ids; Dial finds out where a node is now.
type Streams interface {
	net.Listener
	Dial(id string, timeout time.Duration) (net.Conn, error)
}

// Kinds are the kinds of frames under which other nodes reach this group's handlers.
type Kinds struct{ Apply, Read, Term uint8 }

// Options are what a group is made of.
type Options struct {
	Name    string        // for messages: control or cache
	ID      string        // this node
	Boot    uint64        // never the same twice for one ID
	Dir     string        // everything that must outlive a restart; empty: memory, for tests in a bubble
	WAL     bool          // keep the log in raft-wal instead of bolt
	Timeout time.Duration // heartbeat, election and leader lease; 0 is 1 s
	Table   Table

	Streams Streams // nil: a cluster of one
	Links   Links   // nil: a cluster of one
	Kinds   Kinds
	Peers   Peers         // who could be a member; nil: nobody is added or removed
	Reap    time.Duration // how long a dead voter keeps its seat; 0 is 24 h

	Clock     clock.Clock            // nil: the machine's
	WallStart func() time.Time       // asked once in a cluster's life; nil: time.Now
	Log       *slog.Logger           // nil: none
	Called    func(id string) string // what people call a node; nil: its id

	BatchOps      int // most ops of a batch; 0 is 4096
	BatchBytes    int // most bytes of a batch; 0 is 256 KiB
	SnapshotEvery int // entries between snapshots; 0 is 2048

	faults func(*disk) // for tests: puts a disk that fails in the way
}

func (o *Options) setDefaults() {
	def(&o.Timeout, time.Second)
	def(&o.Reap, 24*time.Hour)
	def(&o.BatchOps, 4096)
	def(&o.BatchBytes, 256<<10)
	def(&o.SnapshotEvery, 2048)
	o.BatchOps = min(o.BatchOps, window/2) // all of a batch must be known again when it is retried
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.WallStart == nil {
		o.WallStart = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Called == nil {
		o.Called = func(id string) string { return id }
	}
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Group is one raft group, as this node takes part in it.
type Group struct {
	o       Options
	log     *slog.Logger
	machine *machine
	disk    *disk
	layer   *layer // nil: a cluster of one
	trans   raft.Transport
	raft    *raft.Raft

	hadState bool
	seq      atomic.Uint64
	client   string
	writes   *lane
	reads    *lane
	view     atomic.Pointer[view]
	poked    chan struct{}
	wrote    time.Time      // last entry appended here; only the lane of writes touches it
	calls    sync.WaitGroup // what may outlive its caller's wait, but not Run

	ticks, rounds, late atomic.Uint64
	closeOnce           sync.Once
	closeErr            error
}

// Open loads the state and starts raft. Without state the group waits to be bootstrapped or added. Run
// must follow, or Close.
func Open(o Options) (*Group, error) {
	o.setDefaults()
	g := &Group{o: o, log: o.Log.With("group", o.Name), machine: newMachine(o.Table), poked: make(chan struct{}, 1)}
	g.client = string(binary.BigEndian.AppendUint64([]byte(o.ID), o.Boot))
	g.view.Store(&view{changed: make(chan struct{})})
	g.writes = &lane{
		g: g, q: newQueue(o.BatchOps, o.BatchBytes), kind: o.Kinds.Apply, lead: g.appendEntry, due: g.tickDue,
		client: g.client, number: func(n int) uint64 { return g.seq.Add(uint64(n)) - uint64(n) + 1 },
	}
	g.reads = &lane{
		g: g, q: newQueue(o.BatchOps, o.BatchBytes), kind: o.Kinds.Read, lead: g.answerReads,
		due: func() time.Duration { return 0 }, number: func(int) uint64 { return 1 },
	}
	if len(g.client) > maxClient || o.ID == "" {
		return nil, fmt.Errorf("open group %s: a node's id has 1 to %d bytes, not %d", o.Name, maxClient-8, len(o.ID))
	}
	if err := g.startRaft(); err != nil {
		return nil, fmt.Errorf("open group %s: %w", o.Name, err)
	}
	return g, nil
}

// Run takes part in the group until ctx ends or its disk fails. A leader that is told to end hands
// leadership over first.
func (g *Group) Run(ctx context.Context, ready func()) error {
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var parts sync.WaitGroup
	parts.Go(func() { g.watch(inner) })
	parts.Go(func() { g.writes.run(inner) })
	parts.Go(func() { g.reads.run(inner) })
	if g.o.Peers != nil {
		parts.Go(func() { g.reconcile(inner) })
	}
	ready()
	var err error
	select {
	case <-ctx.Done():
		g.handOver()
	case <-g.disk.failed:
		err = g.disk.cause()
	}
	cancel()
	err = errors.Join(err, g.Close())
	parts.Wait()
	g.calls.Wait()
	return err
}

// handOver gives leadership to another voter, if there is one. It waits no longer than an election.
func (g *Group) handOver() {
	voters, _ := g.Members()
	if _, ok := g.Leading(); !ok || len(voters) < 2 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), g.o.Timeout)
	defer cancel()
	if err := g.TransferTo(ctx, ""); err != nil {
		g.log.Debug("leadership not handed over", "err", err)
	}
}

// Do runs an op: batched, forwarded to the leader, applied once however often it is sent. It ends with ctx;
// the error then says whether the op may still be applied (ErrUnknown) and whether there is a leader
// (ErrNoLeader).
func (g *Group) Do(ctx context.Context, o []byte) (op.Result, error) {
	r, err := g.writes.do(ctx, o)
	if err == nil && r.Code == op.Stale {
		return op.Result{}, fmt.Errorf("%w: the table does not remember it any more", ErrUnknown)
	}
	return r, err
}

// DoVia tries once to run an op through another voter, which passes it on to the leader: for those whose
// own way to the leader is cut. "" is the leader as known. Another try is another op.
func (g *Group) DoVia(ctx context.Context, via string, o []byte) (op.Result, error) {
	if len(o) > op.MaxOp {
		return op.Result{Code: op.TooBig}, nil
	}
	body := op.Bytes(make([]byte, headRoom, headRoom+len(o)+4), o)
	return g.through(ctx, via, withHead(body, g.client, g.seq.Add(1), 1))
}

// Identify proposes an id for the cluster and returns the one that is agreed: the first that was proposed.
func (g *Group) Identify(ctx context.Context, proposal string) (string, error) {
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		body := op.Bytes(make([]byte, headRoom, headRoom+len(proposal)+4), proposal)
		r, err := g.through(ctx, "", withHead(body, "", 1, 1))
		if err == nil && r.Code != op.OK {
			return "", fmt.Errorf("cachefsm: cluster id %q: %v", proposal, r.Code)
		}
		if err == nil {
			return string(r.Bytes), nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return "", g.gaveUp(ctx.Err(), false)
		}
	}
}

// ClusterID is the id that Identify agreed on, or "" if this node does not know of one.
func (g *Group) ClusterID() string { return g.machine.clusterID() }

// through sends a chunk of one op and returns its result.
func (g *Group) through(ctx context.Context, via string, payload []byte) (op.Result, error) {
	to := g.Leader()
	if via != "" && via != g.o.ID {
		to, payload[0] = via, flagRelay
	}
	var b []byte
	var err error
	switch {
	case to == "":
		return op.Result{}, ErrNoLeader
	case to == g.o.ID:
		b, err = g.writes.handle(ctx, payload)
	case g.o.Links == nil:
		return op.Result{}, fmt.Errorf("%w: %s is not here", ErrNoLeader, to)
	default:
		b, err = g.o.Links.Call(ctx, to, g.o.Kinds.Apply, payload)
	}
	if err != nil {
		return op.Result{}, g.gaveUp(err, true)
	}
	a, err := parseAnswer(b, 1)
	switch {
	case err != nil:
		return op.Result{}, fmt.Errorf("%w: %w", ErrUnknown, err)
	case a.status == statusNotLeader:
		return op.Result{}, fmt.Errorf("%w: %s does not lead", ErrNoLeader, to)
	case a.status != statusOK || a.results[0].Code == op.Stale:
		return op.Result{}, ErrUnknown
	}
	return a.results[0], nil
}

// Read runs an op that changes nothing. Fresh: it sees everything that was answered before Read was called,
// anywhere, and needs a majority. Otherwise it reads this node's table, which may be behind.
func (g *Group) Read(ctx context.Context, o []byte, fresh bool) (op.Result, error) {
	if !fresh || g.alone() {
		return g.machine.read(o), nil
	}
	return g.reads.do(ctx, o)
}

// Applied is closed after the next entry that is applied here. Ask for it before looking at the table.
func (g *Group) Applied() <-chan struct{} { return g.machine.applied() }

// HasState says whether Open found state of an earlier run.
func (g *Group) HasState() bool { return g.hadState }

// HandleApply answers frames of kind Kinds.Apply.
func (g *Group) HandleApply(ctx context.Context, _ string, payload []byte) ([]byte, error) {
	return g.writes.handle(ctx, payload)
}

// HandleRead answers frames of kind Kinds.Read.
func (g *Group) HandleRead(ctx context.Context, _ string, payload []byte) ([]byte, error) {
	return g.reads.handle(ctx, payload)
}
