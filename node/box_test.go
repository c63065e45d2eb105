package node

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/cohortd/cohort/clock"
	"github.com/cohortd/cohort/cluster"
	"github.com/cohortd/cohort/config"
	"github.com/cohortd/cohort/e2e/memnet"
	"github.com/cohortd/cohort/legion"
)

// box is one machine. It can be switched off and on, and keeps its disk if it has one.
type box struct {
	w       *world
	name    string
	ip      string
	cfg     *config.Config
	id      string // as long as there is no disk
	counter uint32
	clock   *kernel
	host    *memnet.Host
	gate    *gate

	mu    sync.Mutex
	node  *Node // nil: off, or its process is dead
	guard *guard
	end   context.CancelFunc
	done  chan struct{}
	err   error // of the run, once done is closed
	deaf  bool  // announcements do not reach its legions
}

// option changes a machine before its first start.
type option func(*box)

func valor(v int64) option { return func(b *box) { b.cfg.Legions[0].Valor = v } }

func legionSecret(s string) option { return func(b *box) { b.cfg.Legions[0].Secret = s } }

// withDisk gives a machine an empty disk, in memory where that is possible: syncing takes no virtual time, but
// real time.
func withDisk(b *box) {
	dir, err := os.MkdirTemp("/dev/shm", "cohort-test-")
	if err != nil {
		b.cfg.Data = b.w.t.TempDir()
		return
	}
	b.cfg.Data = dir
	b.w.disks = append(b.w.disks, dir)
}

// start switches a machine on, or runs the node again after its process died.
func (b *box) start() {
	b.w.t.Helper()
	if b.done != nil {
		<-b.done
		b.guard.sweep()
	}
	if b.host == nil {
		b.host = b.w.net.Host(b.name, b.ip)
	}
	b.counter++
	cfg := *b.cfg
	cfg.Cluster.Bind, cfg.Cluster.Join = b.ip+":7400", b.w.joinList()
	b.guard = &guard{b: b}
	deps := Deps{
		Log: b.w.log, Network: b.host, Clock: b.gate, Keys: testKeys(), Guard: b.guard, Memory: cfg.Data == "",
	}
	if deps.Memory {
		deps.ID = cluster.NewIdentity(b.id, b.counter)
	}
	n, err := New(&cfg, deps)
	if err != nil {
		b.w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	b.end, b.done, b.err = cancel, make(chan struct{}), nil
	if err := n.open(); err != nil {
		b.w.t.Fatalf("%s: %v", b.name, err)
	}
	n.cluster.SetGossip(tap{gossip{n}, b})
	b.mu.Lock()
	b.id, b.node = n.id.ID, n
	b.mu.Unlock()
	done := b.done
	b.w.runs.Go(func() {
		defer close(done)
		defer n.close()
		b.err = runParts(ctx, n.log, n.parts(), func() {})
	})
}

// tap is where announcements arrive, on whatever way they came.
type tap struct {
	gossip
	b *box
}

func (t tap) Merge(msg []byte) (string, bool) {
	t.b.mu.Lock()
	deaf := t.b.deaf
	t.b.mu.Unlock()
	if deaf {
		return "", false
	}
	return t.gossip.Merge(msg)
}

// running is the machine's node; nil when its process is dead.
func (b *box) running() *Node {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.node
}

// died takes the node out of everything the test looks at.
func (b *box) died() *Node {
	b.resume()
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.node
	b.node = nil
	return n
}

// kernel is a machine's clocks, which run at a rate of their own. memnet.Clock would do but for its roundness:
// read every nanosecond, a slow one stands still.
type kernel struct {
	began  time.Time
	offset time.Duration
	rate   float64
}

func (k *kernel) Now() clock.Reading {
	d := k.offset + time.Duration(float64(time.Since(k.began))*k.rate)
	return clock.Reading{Boot: d, Mono: d, Raw: d}
}

// gate is a machine's clock as its node reads it. While the node is paused its reading does not return: what
// decides about leases reads the clock after everything else.
type gate struct {
	*kernel
	mu   sync.Mutex
	shut chan struct{} // nil: open
}

func (g *gate) Now() clock.Reading {
	if shut := g.isShut(); shut != nil {
		<-shut
	}
	return g.kernel.Now()
}

func (g *gate) isShut() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shut
}

// pause stops whatever in the node counts time. Its guardians go on.
func (b *box) pause() {
	b.gate.mu.Lock()
	defer b.gate.mu.Unlock()
	if b.gate.shut == nil {
		b.gate.shut = make(chan struct{})
	}
}

func (b *box) resume() {
	b.gate.mu.Lock()
	defer b.gate.mu.Unlock()
	if b.gate.shut != nil {
		close(b.gate.shut)
		b.gate.shut = nil
	}
}

// stop ends a node in good order.
func (b *box) stop() {
	if b.running() == nil {
		return
	}
	b.end()
	<-b.done
	b.died()
	if b.err != nil {
		b.w.t.Errorf("%s: Run = %v, want no error", b.name, b.err)
	}
}

// kill is kill -9 of the node's process: its guardians go on alone, from the same machine.
func (b *box) kill() {
	n := b.died()
	if n == nil {
		return
	}
	voters := n.voterAddresses()
	b.w.net.Kill(b.name)
	b.host = b.w.net.Host(b.name, b.ip)
	b.guard.orphan(b.host, voters)
	b.end()
}

// crash is the loss of the machine: nobody hears anything of it any more. Heal before it starts again.
func (b *box) crash() {
	if b.died() == nil {
		return
	}
	b.w.net.Isolate(b.name)
	b.w.net.Kill(b.name)
	b.host = nil
	b.guard.vanish()
	b.end()
}

// unplug frees a machine that is off from its address.
func (b *box) unplug() {
	b.w.net.Kill(b.name)
	b.host = nil
}

// blue is the node's legion.
func (b *box) blue() *legion.Legion {
	if n := b.running(); n != nil {
		return n.legion("blue")
	}
	return nil
}

// isLord is what the node says of itself; a paused one says nothing.
func (b *box) isLord() bool {
	l := b.blue()
	return l != nil && b.gate.isShut() == nil && l.IsLord()
}

// epoch is the newest the machine knows.
func (b *box) epoch() uint64 { return b.running().lords.State("blue").Epoch }
