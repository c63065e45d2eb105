package legion

import (
	"container/heap"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/cohortd/cohort/cachefsm/lord"
	"github.com/cohortd/cohort/cachefsm/op"
)

// The simulation runs this package's own holder and granter and the table of cachefsm/lord over a model of the log, of
// clocks, of guardians and of all that may go wrong, and knows the true time. It is one goroutine per seed and the same
// seed gives the same run.

var (
	simSeeds = flag.Int("sim.seeds", 150, "seeds of the lease simulation")
	simFirst = flag.Int("sim.first", 1, "first seed of the lease simulation")
	simTrace = flag.Bool("sim.trace", false, "print what happens")
)

const (
	simFaults = 60 * time.Second // faults until then
	simEnd    = simFaults + 80*time.Second
	simElect  = 2 * time.Second // longest election
)

// breakage takes one rule away, to see that the checker notices.
type breakage struct {
	lordOnSight    bool // R7: the grant alone makes the lord
	newestCounts   bool // R8: an answer counts for the newest request
	bootFree       bool // R2, R30: a restarted main is the same boot, and sweeps nothing
	noSweep        bool // R30: a restarted main leaves what it finds
	ownNumbers     bool // R4: the holder goes by its own ini
	ticketEach     bool // R17: the first daemon's end sends the ticket
	hookInMain     bool // R12: a lord hook outlives main
	oneKiller      bool // R13: only the guardian kills
	bothStop       bool // outside of the promise: main and guardian stopped together
	expireAnything bool // R3d: no look at the renewal
	shortWait      bool // R5, W: the granter waits for L/2
}

type sim struct {
	t      *testing.T
	r      *rand.Rand
	broken breakage
	now    time.Duration
	queue  events
	count  int
	nodes  []*simNode
	log    simLog
	cuts   map[[2]int]int // how many faults cut this way now

	alive     map[uint64]int // daemons and hook effects by epoch
	bad       []string
	backAt    time.Duration // lord and daemons back after the faults
	lastLord  uint64
	changes   int // of the lord in the quiet time
	lastEpoch uint64
	looked    int // entries whose grants were looked at
}

type simEvent struct {
	at  time.Duration
	seq int
	do  func()
}

type events []simEvent

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(simEvent)) }
func (e *events) Pop() any {
	old := *e
	last := old[len(old)-1]
	*e = old[:len(old)-1]
	return last
}

func (s *sim) after(d time.Duration, do func()) {
	s.count++
	heap.Push(&s.queue, simEvent{s.now + max(d, 0), s.count, do})
}

func (s *sim) between(a, b time.Duration) time.Duration {
	return a + time.Duration(s.r.Int64N(int64(b-a)+1))
}

// delay is a message's way: short mostly, up to 40 s rarely.
func (s *sim) delay() time.Duration {
	if (s.broken.newestCounts || s.broken.expireAnything) && s.r.IntN(5) == 0 {
		return s.between(100*time.Millisecond, 5*time.Second) // rare in the field, so made frequent
	}
	switch s.r.IntN(200) {
	case 0:
		return s.between(time.Second, 40*time.Second)
	case 1, 2, 3:
		return s.between(100*time.Millisecond, 3*time.Second)
	}
	return s.between(500*time.Microsecond, 10*time.Millisecond)
}

// deliver brings a message from one node to another, unless the way is cut; now and then twice.
func (s *sim) deliver(from, to *simNode, do func()) {
	times := 1
	if s.r.IntN(33) == 0 {
		times = 2
	}
	for range times {
		s.after(s.delay(), func() {
			if s.open(from, to) {
				do()
			}
		})
	}
}

func (s *sim) open(from, to *simNode) bool { return from == to || s.cuts[[2]int{from.n, to.n}] == 0 }

func (s *sim) tracef(format string, args ...any) {
	if *simTrace {
		s.t.Logf("%9.3f "+format, append([]any{s.now.Seconds()}, args...)...)
	}
}

func (s *sim) violate(format string, args ...any) {
	what := fmt.Sprintf("%.3f s: ", s.now.Seconds()) + fmt.Sprintf(format, args...)
	s.tracef("VIOLATION %s", what)
	if len(s.bad) < 10 {
		s.bad = append(s.bad, what)
	}
}

// born and gone keep the life spans of all that acts for an epoch.
func (s *sim) born(what string, epoch uint64) {
	for other, n := range s.alive {
		if n > 0 && other != epoch {
			s.violate("%s of epoch %d begins while something of epoch %d lives", what, epoch, other)
		}
	}
	s.alive[epoch]++
}

func (s *sim) gone(epoch uint64) { s.alive[epoch]-- }

func newSim(t *testing.T, seed uint64, nodes int, broken breakage) *sim {
	s := &sim{
		t: t, r: rand.New(rand.NewPCG(seed, 7)), broken: broken,
		cuts: map[[2]int]int{}, alive: map[uint64]int{},
	}
	s.log.s = s
	for i := range nodes {
		s.nodes = append(s.nodes, newSimNode(s, i))
	}
	for _, n := range s.nodes {
		n.boot(s.between(0, 300*time.Millisecond))
	}
	s.log.elect()
	s.after(s.between(time.Second, 4*time.Second), s.fault)
	s.after(simFaults, s.calm)
	return s
}

func (s *sim) run() {
	for len(s.queue) > 0 {
		e := heap.Pop(&s.queue).(simEvent)
		if e.at > simEnd {
			break
		}
		s.now = e.at
		e.do()
		s.check()
	}
	s.judge()
}

// check is I1, and notes when the lord is back.
func (s *sim) check() {
	var lords []*simNode
	for _, n := range s.nodes {
		if n.up && n.holder.lease().valid(n.read()) > 0 {
			lords = append(lords, n)
		}
	}
	if len(lords) > 1 {
		s.violate("%s and %s are valid lords, epochs %d and %d", lords[0].id[:1], lords[1].id[:1], lords[0].holder.epoch, lords[1].holder.epoch)
	}
	if s.now <= simFaults || len(lords) != 1 {
		return
	}
	epoch := lords[0].holder.epoch
	if s.backAt == 0 && s.alive[epoch] >= 2 {
		s.backAt = s.now
	}
	if s.lastLord != epoch {
		s.lastLord = epoch
		if s.now > simFaults+25*time.Second {
			s.changes++
		}
	}
}

// judge looks at what should be true at the end.
func (s *sim) judge() {
	limit := lord.Defaults().Wait() + simElect + time.Second
	if s.backAt == 0 {
		s.violate("no lord with daemons after the faults")
	} else if d := s.backAt - simFaults; d > limit {
		s.violate("lord and daemons back %v after the faults, want %v at most", d, limit)
	}
	if s.changes > 0 {
		s.violate("%d lord changes in the quiet time", s.changes)
	}
	for _, n := range s.nodes {
		if last := s.nodes[len(s.nodes)-1]; n.holder.lease() != nil && n != last {
			s.violate("%s rules at the end, want %s", n.id[:1], last.id[:1])
		}
	}
}

// granted is I3: epochs grow with the log.
func (s *sim) granted(index int, cmd []byte, r op.Result) {
	const grantKind = 1
	if index <= s.looked {
		return
	}
	s.looked = index
	if cmd[1] != grantKind || r.Code != op.OK {
		return
	}
	if uint64(r.Num) <= s.lastEpoch {
		s.violate("epoch %d is granted after %d", r.Num, s.lastEpoch)
	}
	s.lastEpoch = uint64(r.Num)
}

// calm ends all faults.
func (s *sim) calm() {
	clear(s.cuts)
	for _, n := range s.nodes {
		n.pausedUntil, n.draining, n.hookFails = min(n.pausedUntil, s.now), false, false
		n.valor = int64(n.n+1) * 10
		n.resume()
		if w := n.guardian; w != nil {
			w.stalledUntil = min(w.stalledUntil, s.now)
			w.resume()
		}
		if !n.up && !n.booting {
			n.boot(0)
		}
	}
}

// fault does something bad, half of the time to the holder, and plans the next.
func (s *sim) fault() {
	if s.now >= simFaults-time.Second {
		return
	}
	s.after(s.between(200*time.Millisecond, 3500*time.Millisecond), s.fault)
	n := s.nodes[s.r.IntN(len(s.nodes))]
	if s.r.IntN(2) == 0 {
		for _, m := range s.nodes {
			if m.up && m.holder.phase != idle {
				n = m
			}
		}
	}
	other := s.nodes[s.r.IntN(len(s.nodes))]
	switch s.r.IntN(14) {
	case 0, 1:
		n.pause(s.between(50*time.Millisecond, 20*time.Second))
	case 2:
		n.stall(s.between(0, lord.Defaults().Stall))
	case 3:
		n.stopGuardian(s.between(time.Second, 20*time.Second))
	case 4, 5:
		n.kill(s.between(50*time.Millisecond, 4*time.Second))
	case 6:
		n.crash(s.between(500*time.Millisecond, 8*time.Second))
	case 7:
		s.cut(n, other)
	case 8:
		s.cut(n, other)
		s.cut(other, n)
	case 9:
		for _, m := range s.nodes {
			s.cut(n, m)
			s.cut(m, n)
		}
	case 10:
		s.log.lose()
	case 11:
		n.reinstall()
	case 12:
		n.hookFails = s.r.IntN(2) == 0
		n.draining = s.r.IntN(3) == 0
	case 13:
		n.valor = int64(s.r.IntN(50))
		other.draining = false
	}
}

func (s *sim) cut(from, to *simNode) {
	if from == to {
		return
	}
	way := [2]int{from.n, to.n}
	s.cuts[way]++
	s.after(s.between(300*time.Millisecond, 12*time.Second), func() {
		if s.now < simFaults {
			s.cuts[way]--
		}
	})
}

// simulate runs seeds on all processors and reports the bad ones.
func simulate(t *testing.T, first, seeds, nodes int, broken breakage) (bad map[uint64][]string, worst time.Duration) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	bad = map[uint64][]string{}
	next := make(chan uint64)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for seed := range next {
				s := newSim(t, seed, nodes, broken)
				s.run()
				mu.Lock()
				if len(s.bad) > 0 {
					bad[seed] = s.bad
				}
				worst = max(worst, s.backAt-simFaults)
				mu.Unlock()
			}
		})
	}
	for i := range seeds {
		next <- uint64(first + i)
	}
	close(next)
	wg.Wait()
	return bad, worst
}

// Schedule 28: every fault, many seeds.
func TestSimulation(t *testing.T) {
	for _, nodes := range []int{3, 5} {
		seeds := *simSeeds
		if nodes == 5 {
			seeds /= 3
		}
		if testing.Short() || underRace {
			seeds /= 10
		}
		bad, worst := simulate(t, *simFirst, seeds, nodes, breakage{})
		t.Logf("%d nodes: %d seeds, lord and daemons back after at most %v", nodes, seeds, worst)
		for seed, what := range bad {
			t.Errorf("%d nodes, seed %d: %v", nodes, seed, what)
		}
	}
}

// A checker that finds nothing proves nothing: each rule taken away must show.
func TestSimulationFindsBrokenRules(t *testing.T) {
	for name, tt := range map[string]struct {
		broken breakage
		seeds  int
	}{
		"lord on sight of the grant":     {breakage{lordOnSight: true}, 600},
		"answer counts for the newest":   {breakage{newestCounts: true}, 600},
		"boot not bound":                 {breakage{bootFree: true}, 40},
		"no sweep":                       {breakage{noSweep: true}, 40},
		"lease from its own ini":         {breakage{ownNumbers: true}, 60},
		"ticket for each daemon":         {breakage{ticketEach: true}, 40},
		"hooks in main":                  {breakage{hookInMain: true}, 40},
		"one killer":                     {breakage{oneKiller: true}, 100},
		"main and guardian both stopped": {breakage{bothStop: true}, 60},
		"expire without the renewal":     {breakage{expireAnything: true}, 1500},
		"granter waits half":             {breakage{shortWait: true}, 60},
	} {
		if (testing.Short() || underRace) && tt.seeds > 100 {
			continue // takes many seeds
		}
		t.Run(name, func(t *testing.T) {
			for first := 1; first <= tt.seeds; first += 20 {
				if bad, _ := simulate(t, first, 20, 3, tt.broken); len(bad) > 0 {
					t.Logf("seen in %d of seeds %d to %d", len(bad), first, first+19)
					return
				}
			}
			t.Errorf("not seen in %d seeds", tt.seeds)
		})
	}
}
