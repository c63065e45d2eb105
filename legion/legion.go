// Package legion knows who is here and who is lord of each legion.
//
// Sealed announcements say who is here, with which valor, and whom each takes for the best. They only suggest. Who is
// lord is decided by a lease in the control group, and the holder ends what it runs before that lease can be granted
// to another: docs/lease.md has the promise and the rules, cited here as R1, R2 and so on. What decides stands apart
// from what does: elect, granter and holder are functions of their arguments, the moment among them, and a simulation
// runs these same functions with clocks that drift, pauses, cuts and crashes.
//
// A Legion is one legion on one node. Run owns all goroutines and touches the machines; everything else may be called
// from anywhere.
package legion

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cohortd/cohort/cachefsm/lord"
	"github.com/cohortd/cohort/cachefsm/op"
	"github.com/cohortd/cohort/clock"
)

// Control is the group in which leases are agreed.
type Control interface {
	// Do has a command agreed. via names another voter to go through; "" is the leader as known. It does not outlive ctx.
	Do(ctx context.Context, cmd []byte, via string) (op.Result, error)
	// Leading says whether this node leads and has applied an entry of its own term.
	Leading() bool
	// Applied is closed after the next applied entry; a new channel each time.
	Applied() <-chan struct{}
}

// Gossip carries announcements to all others. Spread must not block; a newer message of the same key replaces it.
type Gossip interface {
	Spread(key string, msg []byte)
}

// Peer is a node of the cluster.
type Peer struct {
	ID, Name string
	Boot     uint64
	Alive    bool
	Voter    bool // of the control group
}

// Peers are the nodes of the cluster, this one included or not.
type Peers interface {
	Peers() []Peer
	Changed() <-chan struct{} // closed at the next change; a new channel each time
}

// Charge is what a guardian is to run for one epoch.
type Charge struct {
	Legion, Node           string
	Epoch                  uint64
	Numbers                lord.Numbers
	Since                  clock.Reading // the lease ends at Since + Numbers.Lease
	LordHooks, UnlordHooks []string
	HookTimeout            time.Duration
	Ticket                 []byte // to release the epoch when this process is dead
}

// Guard starts what one epoch runs, in a process of its own that ends it at the deadline.
type Guard interface {
	Start(c Charge) (Ward, error)
}

// Ward is everything one epoch runs. No method blocks.
type Ward interface {
	Extend(since clock.Reading) // a newer renewal was confirmed: the lease counts from since
	Stop(grace time.Duration)   // planned: unlord hooks, TERM, KILL after grace
	Abort()                     // forced: TERM, KILL after crash-grace, never later than the kill time
	Kill()                      // KILL all of it now
	Ended() <-chan struct{}     // closed when it began to end for good, whoever began it
	Down() <-chan struct{}      // closed when everything is reaped
	Outcome() Outcome           // after Down
}

// Outcome is how a ward's end went.
type Outcome struct {
	HookFailed bool // a lord hook failed: another node should try
	Undone     bool // every lord hook that ran was undone, so that another may begin
}

// Deps is what a Legion needs from the rest of the node.
type Deps struct {
	ID, Name  string // uuid, and the name people know
	Boot      uint64 // counter << 32 | random, the counter grows with each start
	Clock     clock.Clock
	Control   Control
	State     func(legion string) lord.State
	Gossip    Gossip
	Peers     Peers
	Guard     Guard  // nil: lordship runs nothing
	TicketKey []byte // from the cluster's secret
	// Swept says that whatever older boots of this node had run is gone, and undone. Then an epoch that such a boot still
	// holds is released at once (R31); otherwise it has to run out.
	Swept bool
	// Fetch asks a node's HandleScroll for a long scroll; nil: long scrolls stay unknown.
	Fetch func(ctx context.Context, node string, request []byte) ([]byte, error)
	// Hook runs one of the node's own hook commands; nil runs /bin/sh.
	Hook func(ctx context.Context, command string, env []string) error
	Log  *slog.Logger
}

// Legion is one legion on this node. New makes one.
type Legion struct {
	cfg     Config
	deps    Deps
	id      rawID
	log     *slog.Logger
	hooks   *hooks
	scrolls [8]byte // the legion id that our scroll requests carry

	mu        sync.Mutex // guards what follows
	roll      *roll
	sealer    *sealer
	own       []byte // our newest announcement, sealed
	valor     int64
	draining  bool
	drained   clock.Reading // since when
	stepped   bool
	steppedAt clock.Reading
	events    []event
	changed   chan struct{}

	poke  chan struct{}
	held  atomic.Pointer[lease]
	view  atomic.Pointer[View]
	reign atomic.Pointer[reign]
	stats counters

	run running // touched by Run's goroutine only
}

// running is what Run's goroutine owns.
type running struct {
	work      context.Context // ends when everything has ended
	wg        sync.WaitGroup
	holder    *holder
	granter   *granter
	ward      Ward
	quitting  bool
	said      announcement
	saidAt    clock.Reading
	spoke     bool
	proposing bool
	failed    bool // the last proposal came to nothing, at failedAt
	failedAt  clock.Reading
	joined    bool            // the join hooks were run
	present   map[string]bool // live members at the last turn, but for this node
	fetching  bool
	fetchedAt clock.Reading
	ended     bool // quitting, and nothing is held any more since endedAt
	endedAt   clock.Reading
	abandoned chan struct{} // closed when Run stops to wait for wards
}

// reign is a context that lasts as long as one lordship.
type reign struct {
	ctx    context.Context
	cancel context.CancelFunc
	epoch  uint64
}

// New makes a legion of this node. cfg should have passed Check.
func New(cfg Config, deps Deps) (*Legion, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.checkFields(); err != nil {
		return nil, err
	}
	id, err := parseID(deps.ID)
	if err != nil {
		return nil, err
	}
	keys := []legionKeys{newLegionKeys(cfg.Secret, cfg.Name)}
	if cfg.OldSecret != "" {
		keys = append(keys, newLegionKeys(cfg.OldSecret, cfg.Name))
	}
	l := &Legion{
		cfg: cfg, deps: deps, id: id, log: deps.Log.With("legion", cfg.Name), scrolls: keys[0].id,
		roll: newRoll(id, keys...), sealer: newSealer(keys[0], id, deps.Boot),
		valor: cfg.Valor, changed: make(chan struct{}), poke: make(chan struct{}, 1),
	}
	l.hooks = newHooks(cfg.HookTimeout, deps.Hook, l.hookFailed)
	l.view.Store(&View{Legion: cfg.Name, Self: deps.ID, Quorum: cfg.Quorum})
	return l, nil
}

// Name is the legion's name.
func (l *Legion) Name() string { return l.cfg.Name }

// Merge takes an announcement from anywhere. The key is empty if it is not one of this legion's that could be opened;
// news says that it should be handed on.
func (l *Legion) Merge(msg []byte) (key string, news bool) {
	now := l.deps.Clock.Now()
	l.mu.Lock()
	who, news := l.roll.merge(msg, now)
	l.mu.Unlock()
	if who == (rawID{}) {
		return "", false
	}
	if news {
		l.stats.heard.Add(1)
		l.wake()
	}
	return l.key(who), news
}

func (l *Legion) key(who rawID) string { return "legion/" + l.cfg.Name + "/" + who.String() }

// State is the newest announcement of every node, this one included, for push/pull.
func (l *Legion) State() [][]byte {
	now := l.deps.Clock.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.roll.state(now, l.cfg.Announce)
	if l.own != nil {
		out = append(out, l.own)
	}
	return out
}

// IsLord says whether this node is lord at this very moment. It is computed from the clock at each call (R10).
func (l *Legion) IsLord() bool { return l.held.Load().valid(l.deps.Clock.Now()) > 0 }

// Lordship is a context that ends with this node's lordship, and its epoch; ok is false when it is not lord. What acts as
// lord in this process takes the context (R12).
func (l *Legion) Lordship() (ctx context.Context, epoch uint64, ok bool) {
	r := l.reign.Load()
	if r == nil || !l.IsLord() || r.ctx.Err() != nil {
		return nil, 0, false
	}
	return r.ctx, r.epoch, true
}

// AssertLord is nil if this node is lord of this very epoch now.
func (l *Legion) AssertLord(epoch uint64) error {
	h := l.held.Load()
	if h.valid(l.deps.Clock.Now()) <= 0 || h.epoch != epoch {
		return fmt.Errorf("legion %s, epoch %d: %w", l.cfg.Name, epoch, ErrNotLord)
	}
	return nil
}

var (
	// ErrNotLord says that this node does not rule now.
	ErrNotLord = errors.New("legion: not the lord")
	// ErrNoHeir says that no other node could rule instead.
	ErrNoHeir = errors.New("legion: nobody else can rule")
)

// Drain begins or ends draining: a draining node gives lordship up and takes none.
func (l *Legion) Drain(on bool) {
	now := l.deps.Clock.Now()
	l.mu.Lock()
	if on && !l.draining {
		l.drained = now
	}
	l.draining = on
	l.mu.Unlock()
	l.wake()
}

// SetValor changes this node's valor; 0 makes it an arbiter.
func (l *Legion) SetValor(valor int64) {
	l.mu.Lock()
	l.valor = min(max(valor, 0), maxValor)
	l.stepped = false
	l.mu.Unlock()
	l.wake()
}

// stepHold is how long a node that stepped down does not come back, unless its valor is set or nobody else can rule.
const stepHold = 30 * time.Second

// StepDown hands lordship over to the next best and waits until this node has stopped. For stepHold this node then rules
// only if nobody else can.
func (l *Legion) StepDown(ctx context.Context) error {
	v := l.View()
	if !l.IsLord() {
		return ErrNotLord
	}
	if v.heir == "" {
		return ErrNoHeir
	}
	now := l.deps.Clock.Now()
	l.mu.Lock()
	l.stepped, l.steppedAt = true, now
	l.mu.Unlock()
	l.wake()
	for {
		changed := l.Changed()
		if n := l.View(); n.Lord != l.deps.ID || n.Epoch != v.Epoch {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("legion %s: step down: %w", l.cfg.Name, ctx.Err())
		}
	}
}

// View is how things stand; it never changes, a newer one replaces it.
func (l *Legion) View() *View { return l.view.Load() }

// Changed is closed when the next View differs in more than times.
func (l *Legion) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

func (l *Legion) wake() {
	select {
	case l.poke <- struct{}{}:
	default:
	}
}

// event is something that happened elsewhere, told to Run's goroutine.
type event func(now clock.Reading)

func (l *Legion) post(e event) {
	l.mu.Lock()
	l.events = append(l.events, e)
	l.mu.Unlock()
	l.wake()
}
