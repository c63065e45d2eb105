package cluster

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"
)

const (
	// joinEvery is how often the addresses to join are looked up and tried again: a cluster that was cut in
	// two for long finds together by this alone.
	joinEvery = 10 * time.Second
	// joinAlone is the same while no other member is known.
	joinAlone = 1 * time.Second
	// firstJoin is how long the start waits for the first round.
	firstJoin = 3 * time.Second
	// mostLost is how many dead members are tried beside cluster-join.
	mostLost = 16
)

// joins remembers how the last dial to each address ended, which memberlist's own errors do not tell.
type joins struct {
	mu   sync.Mutex
	errs map[string]error
	told map[string]outcome // whether it could be joined, as the log says
}

func (j *joins) note(addr string, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.errs == nil {
		j.errs = map[string]error{}
	}
	if _, asked := j.errs[addr]; asked {
		j.errs[addr] = err
	}
}

// ask makes note remember an address.
func (j *joins) ask(addr string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.errs == nil {
		j.errs = map[string]error{}
	}
	j.errs[addr] = nil
}

func (j *joins) take(addr string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	err := j.errs[addr]
	delete(j.errs, addr)
	return err
}

// joinRounds joins again and again. The end of the first round closes first; an error that no repetition
// mends goes to c.fatal.
func (c *Cluster) joinRounds(first chan<- struct{}) {
	for {
		err := c.joinRound()
		if first != nil {
			close(first)
			first = nil
		}
		if err != nil {
			c.end(err)
			return
		}
		wait := joinEvery
		if c.aloneNow() {
			wait = joinAlone
		}
		if !c.pause(wait) {
			return
		}
	}
}

func (c *Cluster) aloneNow() bool {
	for _, m := range c.Members() {
		if m.Alive && m.ID != c.id.ID {
			return false
		}
	}
	return true
}

// joinRound tries every address that no living member is known at. It fails when all of them answered as
// nodes of another cluster and nobody else is here: then this node cannot ever get in.
func (c *Cluster) joinRound() error {
	ctx, cancel := context.WithTimeout(c.life, joinEvery)
	defer cancel()
	addrs, open := c.addressesToJoin(ctx)
	results := make([]error, len(addrs))
	var wg sync.WaitGroup
	for i, addr := range addrs {
		wg.Go(func() { results[i] = c.joinOne(addr) })
	}
	wg.Wait()
	var foreign *ForeignError
	for _, err := range results {
		if !errors.As(err, &foreign) {
			open = true
		}
	}
	if len(addrs) == 0 || open || c.life.Err() != nil || !c.aloneNow() {
		return nil
	}
	return foreign
}

// addressesToJoin looks up who should be asked now. open says that some name could not be looked up, or is
// already in.
func (c *Cluster) addressesToJoin(ctx context.Context) (addrs []string, open bool) {
	taken := map[string]bool{c.self.String(): true, c.bound.String(): true}
	for _, m := range c.Members() {
		if m.Alive {
			taken[m.Addr] = true
		}
	}
	add := func(addr string) {
		if !taken[addr] {
			taken[addr] = true
			addrs = append(addrs, addr)
		}
	}
	for _, name := range c.cfg.Join {
		found, err := c.ask.resolve(ctx, name)
		if err != nil {
			open = true
			c.joins.tell(c, name, err)
			continue
		}
		for _, a := range found {
			add(a.String())
		}
	}
	return addrs, c.addLost(add) || open
}

// addLost tries members that were lost, too: after a long cut memberlist has forgotten them.
func (c *Cluster) addLost(add func(string)) bool {
	lost := 0
	for _, m := range c.Members() {
		if !m.Alive && lost < mostLost {
			add(m.Addr)
			lost++
		}
	}
	return lost > 0
}

func (c *Cluster) joinOne(addr string) error {
	c.joins.ask(addr)
	_, err := c.list.Join([]string{addr})
	if dialled := c.joins.take(addr); dialled != nil {
		err = dialled
	}
	c.joins.tell(c, addr, err)
	return err
}

// outcome is what was last seen of an address to join.
type outcome int

const (
	starting outcome = iota + 1 // refused, for the first time
	failed
	reached
)

// tell logs whether an address could be joined, when that is not what it said before.
func (j *joins) tell(c *Cluster, addr string, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.told == nil {
		j.told = map[string]outcome{}
	}
	was, now := j.told[addr], failed
	switch {
	case err == nil:
		now = reached
	case was == 0 && errors.Is(err, syscall.ECONNREFUSED):
		now = starting // nodes that start together see this of each other: told only if it stays so
	}
	j.told[addr] = now
	if was == now || now == starting || c.life.Err() != nil {
		return
	}
	var foreign *ForeignError
	switch {
	case err == nil:
		c.log.Info("joined", "addr", addr)
	case errors.As(err, &foreign) || errors.Is(err, ErrSecret):
		c.log.Warn("join refused", "addr", addr, "err", err)
	default:
		c.log.Info("not joined yet", "addr", addr, "err", err)
	}
}
