package cachefsm

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/cohortd/cohort/cachefsm/cache"
	"github.com/cohortd/cohort/cachefsm/op"
)

// A history is what clients asked and were told, with times. porcupine looks for an order in which one
// register a key could have told them the same.
type asked struct {
	key  string
	kind string // add, get or put
	arg  int64
}

type told struct {
	value   int64
	unknown bool // no answer: it may have happened at any time since, or never
}

var register = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		keys := map[string][]porcupine.Operation{}
		for _, o := range history {
			key := o.Input.(asked).key
			keys[key] = append(keys[key], o)
		}
		var parts [][]porcupine.Operation
		for _, part := range keys {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return int64(0) },
	Step: func(state, input, output any) (bool, any) {
		v, in, out := state.(int64), input.(asked), output.(told)
		switch in.kind {
		case "get":
			return out.value == v, v
		case "put":
			return true, in.arg
		}
		v += in.arg
		return out.unknown || out.value == v, v
	},
}

// history runs clients on all nodes while nodes are cut off, leaders change and answers are lost. stale
// makes reads local: a history that must not be accepted.
func history(t *testing.T, seed uint64, stale bool) []porcupine.Operation {
	const keys, clients, opsEach = 4, 8, 40
	random := rand.New(rand.NewPCG(seed, 1))
	r := cluster(t, 3, nil)
	var mu sync.Mutex
	var all []porcupine.Operation
	began := time.Now()
	var running sync.WaitGroup
	for client := range clients {
		m := r.nodes[fmt.Sprintf("n%d", client%3+1)]
		random := rand.New(rand.NewPCG(seed, uint64(client)+100))
		running.Go(func() {
			for range opsEach {
				in := asked{key: fmt.Sprint("k", random.IntN(keys)), kind: []string{"add", "get", "get", "put"}[random.IntN(4)], arg: random.Int64N(1000)}
				call := time.Since(began)
				out, happened := ask(t, m, in, !stale)
				back := time.Since(began)
				if out.unknown {
					back = time.Hour
				}
				if happened {
					mu.Lock()
					all = append(all, porcupine.Operation{ClientId: client, Input: in, Call: int64(call), Output: out, Return: int64(back)})
					mu.Unlock()
				}
				time.Sleep(time.Duration(random.IntN(100)+1) * time.Millisecond)
			}
		})
	}
	ids := []string{"n1", "n2", "n3"}
	for range 6 {
		time.Sleep(time.Duration(random.IntN(600)) * time.Millisecond)
		victim := ids[random.IntN(3)]
		switch random.IntN(3) {
		case 0:
			r.w.cutOff(victim)
		case 1:
			r.w.cutOneWay(victim, ids[random.IntN(3)])
		case 2:
			if led := r.leader(); led != nil {
				_ = led.g.TransferTo(r.ctx(time.Second), victim)
			}
		}
		time.Sleep(time.Duration(random.IntN(2500)) * time.Millisecond)
		r.w.heal()
	}
	running.Wait()
	r.stop()
	return all
}

// ask runs one op of a history. Whatever was surely not applied is left out.
func ask(t *testing.T, m *member, in asked, fresh bool) (out told, happened bool) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	var res op.Result
	var err error
	switch in.kind {
	case "get":
		res, err = m.g.Read(ctx, cache.Get("c", in.key), fresh)
		return told{value: res.Num}, err == nil
	case "put":
		res, err = m.g.Do(ctx, cache.Num("c", in.key, in.arg, 0))
	default:
		res, err = m.g.Do(ctx, cache.Math("c", in.key, cache.Inc, in.arg, 0))
	}
	if err != nil {
		return told{unknown: true}, errors.Is(err, ErrUnknown)
	}
	return told{value: res.Num}, true
}

func TestHistoriesAreLinearizable(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			var h []porcupine.Operation
			synctest.Test(t, func(t *testing.T) { h = history(t, seed, false) })
			if got := porcupine.CheckOperationsTimeout(register, h, time.Minute); got != porcupine.Ok {
				t.Errorf("history of %d operations: %s", len(h), got)
			}
		})
	}
}

// A checker that finds nothing proves nothing: with local reads there must be stale ones among the same histories.
func TestCheckerFindsStaleReads(t *testing.T) {
	for seed := range uint64(40) {
		var h []porcupine.Operation
		synctest.Test(t, func(t *testing.T) { h = history(t, seed, true) })
		if porcupine.CheckOperationsTimeout(register, h, time.Minute) == porcupine.Illegal {
			return
		}
	}
	t.Error("no history with local reads was found to be stale")
}
